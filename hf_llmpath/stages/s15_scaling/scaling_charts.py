"""Scaling laws: loss against size and compute on logarithmic axes."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from ...charts.style import COLORS, MUTED, subplots


def scaling_law(
    panels: Sequence[tuple[str, Sequence[float], Callable[[float], float], str]],
    losses: Sequence[float],
    title: str,
    ylabel: str,
) -> Figure:
    """Points and the line through all but the last of them, which it is carried on to.

    Args:
        panels: for each the label of its axis, x of every point, the law, and a name for it.
        losses: y of every point.
    """
    figure, axes = subplots(
        1, len(panels), width=3.9 * len(panels) + 0.6, height=3.7, sharey=True, squeeze=False
    )
    for axis, (label, x, law, name) in zip(axes[0], panels, strict=True):
        ends = np.geomspace(min(x) * 0.85, max(x) * 1.2, 50)
        fitted = ends <= max(x[:-1])
        axis.plot(ends[fitted], [law(value) for value in ends[fitted]], color=COLORS[0], label=name)
        axis.plot(
            ends[~fitted], [law(value) for value in ends[~fitted]], "--", color=COLORS[0], label="carried on"
        )
        axis.plot(x[:-1], losses[:-1], "o", color=COLORS[0], markersize=6, label="fitted to")
        axis.plot(x[-1:], losses[-1:], "D", color=COLORS[1], markersize=7, label="left out of the fit")
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.xaxis.set_minor_formatter(NullFormatter())
        _plain_ticks(axis, [*losses, law(max(x))])
    axes[0, 0].set_ylabel(ylabel)
    axes[0, 0].legend(loc="lower left")
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure


def _plain_ticks(axis: Axes, losses: Sequence[float]) -> None:
    """A logarithmic axis over less than a power of ten: plain numbers at even distances instead of powers."""
    marks = np.geomspace(min(losses) * 0.97, max(losses) * 1.03, 5)
    axis.yaxis.set_major_locator(FixedLocator([float(f"{mark:.3g}") for mark in marks]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def footprint_bars(rows: dict[str, dict[str, float]], title: str) -> Figure:
    """Peak memory and time of a step, side by side, one bar for each way of training."""
    figure, axes = subplots(1, 2, width=8.4, height=1.2 + 0.42 * len(rows), sharey=True)
    names = list(rows)
    for axis, (key, label) in zip(
        axes,
        (("peak_memory_mb", "peak memory of a step, MB"), ("milliseconds", "time of a step, ms")),
        strict=True,
    ):
        values = [rows[name][key] for name in names]
        axis.barh(names, values, color=COLORS[: len(names)], height=0.6)
        for place, value in enumerate(values):
            axis.annotate(
                f"{value:.0f}", (value, place), xytext=(4, 0), textcoords="offset points", va="center"
            )
        axis.set(xlabel=label)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.14)
    axes[0].invert_yaxis()
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure


def overlaid_curves(curves: dict[str, Sequence[float]], title: str, xlabel: str, ylabel: str) -> Figure:
    """Lines that lie on each other: each narrower than the one below, so that all can be seen."""
    figure, axis = subplots(height=3.4)
    for place, (color, (name, values)) in enumerate(zip(COLORS, curves.items(), strict=False)):
        width = 2 + 2.2 * (len(curves) - 1 - place)
        axis.plot(
            range(1, len(values) + 1),
            values,
            color=color,
            linewidth=width,
            label=name,
            solid_capstyle="round",
        )
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.legend()
    axis.tick_params(colors=MUTED)
    return figure
