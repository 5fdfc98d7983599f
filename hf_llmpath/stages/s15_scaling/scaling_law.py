"""Fits scaling laws: as models, data, or compute grow, the loss falls along a line on log-log axes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """Represents the power law L(x) = scale · x^(-exponent), where scale = x_c^exponent.

    Source: Kaplan et al. 2020, arXiv:2001.08361, equation 1.1.

    Attributes:
        scale: the loss at x = 1.
        exponent: the negative slope of the line; at 0.1, ten times x brings the loss to 10^-0.1 = 79%.
        r_squared: the share of the variance of log L that the line explains over the fitted points.
    """

    scale: float
    exponent: float
    r_squared: float = 1.0

    @classmethod
    def fit(cls, x: Sequence[float], loss: Sequence[float]) -> "PowerLaw":
        """Fits the least-squares line through (log x, log loss).

        Raises:
            ValueError: If there are fewer than two different values of x or a number has no logarithm.
        """
        if len(set(x)) < 2:
            raise ValueError(f"a line needs at least two different sizes, not {sorted(set(x))}")
        if min(*x, *loss) <= 0:
            raise ValueError("a power law needs numbers above 0")
        log_x, log_loss = np.log(x), np.log(loss)
        # log L = log scale − exponent · log x
        slope, offset = np.polyfit(log_x, log_loss, 1)
        residual = log_loss - (slope * log_x + offset)  # (points,)
        spread = float(((log_loss - log_loss.mean()) ** 2).sum())
        # R² = 1 − Σ residual² / Σ (log L − mean)²; a constant loss is explained completely.
        r_squared = 1 - float((residual**2).sum()) / spread if spread else 1.0
        return cls(float(np.exp(offset)), float(-slope), r_squared)

    def at(self, x: float) -> float:
        """Returns the loss L(x) that the law predicts."""
        return self.scale * x**-self.exponent
