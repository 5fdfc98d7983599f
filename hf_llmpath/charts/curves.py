"""Lines against steps, lags or time."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from .style import COLORS, MUTED, subplots


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
) -> Figure:
    """Named lines `(x, y)` on one axis, with named horizontal levels to compare with."""
    figure, axis = subplots()
    for name, (x, y) in lines.items():
        axis.plot(x, y, label=name)
    for name, level in (levels or {}).items():
        axis.axhline(level, color=MUTED, linestyle="--", linewidth=1)
        axis.annotate(
            name,
            (1, level),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
            color=MUTED,
        )
    if log:
        axis.set_yscale("log")
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if len(lines) > 1:
        axis.legend()
    return figure


def spread_curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: Sequence[float],
    x_names: Sequence[str],
    title: str,
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Named lines of means with their standard deviations as bands, `(means, deviations)` at `x`, on a
    logarithmic axis whose ticks are `x_names`."""
    figure, axis = subplots(height=4.0)
    for color, (name, (means, deviations)) in zip(COLORS, lines.items(), strict=False):
        low, high = ([m + sign * d for m, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
        axis.fill_between(x, low, high, color=color, alpha=0.16, linewidth=0)
        axis.plot(x, means, color=color, marker="o", markersize=4.5, label=name)
    axis.set_xscale("log")
    axis.set_xticks(x, x_names)
    axis.minorticks_off()
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.legend(loc="best")
    return figure


def forecast(
    values: Sequence[float],
    cut: int,
    predictions: Sequence[float],
    others: Mapping[str, Sequence[float]],
    title: str,
    shown: int,
) -> Figure:
    """A series with its held-out part, the model's forecasts of it, and other forecasts; the last `shown`
    values.
    """
    figure, axis = subplots(height=3.4)
    start = max(0, len(values) - shown)
    axis.axvspan(cut - 0.5, len(values) - 0.5, color="#f3f4f6", zorder=0)
    axis.plot(range(start, len(values)), values[start:], color="#111827", linewidth=1.4, label="truth")
    for color, (name, line) in zip(COLORS[1:], others.items(), strict=False):
        axis.plot(range(cut, len(values)), line, color=color, linewidth=1, linestyle=":", label=name)
    axis.plot(range(cut, len(values)), predictions, color=COLORS[0], label="model, one step ahead")
    axis.set(title=title, xlabel="month (gray: held out)", ylabel="value", xlim=(start, len(values) - 0.5))
    axis.legend(ncols=2, loc="upper left")
    return figure
