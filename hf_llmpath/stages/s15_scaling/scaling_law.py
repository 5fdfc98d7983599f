"""Scaling laws: how the loss falls as models, data and compute grow, as a straight line in log-log axes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """L(x) = scale · x^(-exponent). Kaplan et al. 2020, arXiv:2001.08361, equation 1.1, with scale =
    x_c^exponent.

    Attributes:
        scale: L(1).
        exponent: how steep the line is; 0.1 means that ten times x takes the loss to 10^-0.1 = 79 % of
            what it was.
        r_squared: share of the variance of log L that the line explains, over the points that it was
            fitted to.
    """

    scale: float
    exponent: float
    r_squared: float = 1.0

    @classmethod
    def fit(cls, x: Sequence[float], loss: Sequence[float]) -> "PowerLaw":
        """The least-squares line through (log x, log loss).

        Raises:
            ValueError: fewer than two different x, or numbers that have no logarithm.
        """
        if len(set(x)) < 2:
            raise ValueError(f"a line needs at least two different sizes, not {sorted(set(x))}")
        if min(*x, *loss) <= 0:
            raise ValueError("a power law is for numbers above 0")
        log_x, log_loss = np.log(x), np.log(loss)
        slope, offset = np.polyfit(log_x, log_loss, 1)
        rest = log_loss - (slope * log_x + offset)
        spread = float(((log_loss - log_loss.mean()) ** 2).sum())
        return cls(
            float(np.exp(offset)), float(-slope), 1 - float((rest**2).sum()) / spread if spread else 1.0
        )

    def at(self, x: float) -> float:
        """L(x)."""
        return self.scale * x**-self.exponent
