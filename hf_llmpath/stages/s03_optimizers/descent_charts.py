"""Descents: paths on a contour map, losses against steps and seconds, and what the learning rate does."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...charts.style import COLORS, INK, MUTED, subplots
from ...charts.surface import headline
from .surfaces import Surface

_CELLS = 240
_LEVELS = 14


def contour_paths(
    panels: Sequence[tuple[Surface, Mapping[str, Sequence[Sequence[float]]]]],
    names: Mapping[str, str],
    title: str,
) -> Figure:
    """Paths `(x, y)` on the contour map of their surface, one panel per surface; a dot every ten steps.

    Args:
        panels: surfaces, each with the paths by optimizer.
        names: optimizer -> name for people, here and below.
    """
    figure, axes = subplots(len(panels), 1, width=8.4, height=0.9 + 3.1 * len(panels), squeeze=False)
    for axis, (surface, paths) in zip(axes[:, 0], panels, strict=True):
        _contours(axis, surface)
        for color, (name, path) in zip(COLORS, paths.items(), strict=False):
            x, y = np.array(path).T
            axis.plot(
                x, y, color=color, linewidth=1.3, label=names[name], marker="o", markevery=10, markersize=2.6
            )
        axis.plot(*paths_start(paths), marker="s", color=INK, markersize=5, linestyle="none")
        for minimum in surface.minima:
            axis.plot(
                *minimum, marker="*", color=INK, markersize=11, markeredgecolor="white", linestyle="none"
            )
        left, right, bottom, top = surface.box
        axis.set(xlim=(left, right), ylim=(bottom, top))
        axis.set_title(f"{surface.title}: {surface.formula}", fontsize=9.5)
        axis.grid(visible=False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    headline(figure, title)
    return figure


def paths_start(paths: Mapping[str, Sequence[Sequence[float]]]) -> Sequence[float]:
    """Where all of them begin."""
    return next(iter(paths.values()))[0]


def _contours(axis: Axes, surface: Surface) -> None:
    """Levels that are evenly spaced in the logarithm, so that flat ground and steep walls both show."""
    left, right, bottom, top = surface.box
    across, up = np.linspace(left, right, _CELLS), np.linspace(bottom, top, _CELLS)
    losses = surface.loss(np.stack(np.meshgrid(across, up), axis=-1))
    levels = np.geomspace(max(losses.max() * 1e-4, 1e-3), losses.max(), _LEVELS)
    axis.contourf(
        across, up, np.maximum(losses, levels[0]), levels=levels, cmap="Blues", norm="log", alpha=0.28
    )
    axis.contour(across, up, losses, levels=levels, colors=[MUTED], linewidths=0.4, alpha=0.6)


def race_curves(
    courses: Mapping[str, Mapping[str, Sequence[float]]], names: Mapping[str, str], target: float, title: str
) -> Figure:
    """Loss against `step` and against `seconds`, side by side, with the target."""
    figure, axes = subplots(1, 2, width=9.6, height=3.6, sharey=True)
    for axis, along in zip(axes, ("step", "seconds"), strict=True):
        for color, (name, course) in zip(COLORS, courses.items(), strict=False):
            axis.plot(course[along], course["loss"], color=color, label=names[name], linewidth=1.4)
        axis.axhline(target, color=MUTED, linestyle="--", linewidth=1)
        axis.set(xlabel=along, yscale="log")
        axis.set_xlim(left=0)
    axes[0].set_ylabel(f"training loss (dashed: target, {target:g})")
    axes[1].legend(ncols=2)
    headline(figure, title)
    return figure


def rate_curves(
    table: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], titles: Mapping[str, str], title: str
) -> Figure:
    """Steps to the target against the learning rate, one panel per problem; a star at the best rate.

    Args:
        table: problem -> optimizer -> `rates`, `steps` and `reached` by rate and seed, `best`.
        titles: problem -> name for people.
    """
    columns = 2
    rows = -(-len(table) // columns)
    figure, axes = subplots(rows, columns, width=9.6, height=0.7 + 2.9 * rows, squeeze=False)
    for axis in axes.flat[len(table) :]:
        axis.axis("off")
    for axis, (problem, rows_of) in zip(axes.flat, table.items(), strict=False):
        arrived = any(np.all(row["reached"], axis=1).any() for row in rows_of.values())
        for color, (name, row) in zip(COLORS, rows_of.items(), strict=False):
            all_there = np.array(row["reached"]).all(axis=1)
            steps = np.where(all_there, np.mean(row["steps"], axis=1), np.nan)
            axis.plot(
                row["rates"], steps, color=color, label=names[name], linewidth=1.3, marker="o", markersize=2.4
            )
            best = row["best"]
            axis.plot(
                row["rates"][best], steps[best], marker="*", color=color, markersize=10, linestyle="none"
            )
        axis.set(
            xscale="log",
            yscale="log" if arrived else "linear",
            xlabel="learning rate",
            ylabel="steps to the target",
        )
        if not arrived:
            axis.annotate(
                "nobody arrived from all starts",
                (0.5, 0.5),
                xycoords="axes fraction",
                ha="center",
                color=MUTED,
            )
        axis.set_title(titles[problem], fontsize=9.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6)
    headline(figure, title)
    return figure


def step_bars(
    table: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], titles: Mapping[str, str], title: str
) -> Figure:
    """Steps at the best rate, mean and deviation over seeds, one panel per problem; the fewest in full color."""
    figure, axes = subplots(1, len(table), width=11, height=2.9, sharey=True, squeeze=False)
    for axis, (problem, rows) in zip(axes[0], table.items(), strict=True):
        at_best = {name: np.array(row["steps"][row["best"]], dtype=float) for name, row in rows.items()}
        means = [steps.mean() for steps in at_best.values()]
        deviations = [steps.std(ddof=1) if len(steps) > 1 else 0.0 for steps in at_best.values()]
        colors = [COLORS[place] for place in range(len(means))]
        bars = axis.barh(
            [names[name] for name in at_best], means, xerr=deviations, color=colors, height=0.6, ecolor=INK
        )
        for bar, mean, deviation, row in zip(bars, means, deviations, rows.values(), strict=True):
            missed = "" if np.all(row["reached"][row["best"]]) else " *"
            bar.set_alpha(1.0 if mean == min(means) else 0.55)
            place = (mean + deviation, bar.get_y() + bar.get_height() / 2)
            axis.annotate(
                f"{mean:,.0f}{missed}",
                place,
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.25)
        axis.set_title(titles[problem], fontsize=9.5)
        axis.set_xlabel(
            "steps"
            if all(np.all(row["reached"][row["best"]]) for row in rows.values())
            else "steps (* not from all starts)"
        )
    axes[0, 0].invert_yaxis()  # the axis is shared
    headline(figure, title)
    return figure
