"""Provides time series: an embedded one that a rule generates, and columns of local CSV files."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UserError

HELD_OUT = 0.2  # the last fifth in time


@dataclass(frozen=True)
class Series:
    """Holds evenly spaced values, oldest first.

    Attributes:
        name: the name of the series.
        values: the values, `(n,)` in float64.
        period: the number of steps after which the pattern repeats, for the seasonal naive forecast.
    """

    name: str
    values: np.ndarray
    period: int

    @property
    def cut(self) -> int:
        """The position of the first held-out value."""
        return len(self.values) - max(1, int(HELD_OUT * len(self.values)))


def tea_sales(seed: int = 0, months: int = 240) -> Series:
    """Generates the embedded series: monthly sales of a tea house.

    Sales grow, their seasonal swings grow with them, and good and bad spells come and go:
    `log y = trend + season + spell`. The spell is an autoregression of order 1, which the last month predicts
    in part. A learned forecast can use that; the seasonal naive forecast cannot.
    """
    random = np.random.default_rng(seed)
    time = np.arange(months)
    season = 0.35 * np.cos(2 * np.pi * time / 12) + 0.12 * np.sin(4 * np.pi * time / 12)
    spell = np.zeros(months)  # spell_t = 0.85 spell_{t-1} + noise
    for t in range(1, months):
        spell[t] = 0.85 * spell[t - 1] + 0.05 * random.standard_normal()
    return Series("tea_sales", np.exp(4.5 + 0.006 * time + season + spell), period=12)


def read_series(path: str, period: int) -> Series:
    """Reads the last numeric column of a CSV file with a header.

    Raises:
        UserError: If there is no such file, a value is not a number (the message gives its line), or the
            series has fewer than three periods.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"no series file '{path}'")
    values = []
    try:
        with file.open(encoding="utf-8", newline="") as text:
            for line, row in enumerate(csv.reader(text), start=1):
                if line == 1 or not row:  # the header, or an empty line
                    continue
                values.append(_finite(row[-1]))
                if values[-1] is None:
                    raise UserError(f"{path}, line {line}: '{row[-1]}' is not a number")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start})") from None
    if len(values) < 3 * period:
        raise UserError(f"{path} has {len(values)} values; a period of {period} needs at least {3 * period}")
    return Series(file.stem.replace("-", "_"), np.array(values), period)


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
