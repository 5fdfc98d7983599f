"""Surfaces over the plane: where a classifier draws its line, and what each of its units answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from .style import COLORS, INK, MUTED, subplots

CLASSES = (COLORS[0], COLORS[1])  # class 0 blue, class 1 vermilion, as everywhere where two classes are shown
DIVERGING = LinearSegmentedColormap.from_list("classes", [CLASSES[0], "#f6f7f9", CLASSES[1]])


def decision_surfaces(panels: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """Probability of class 1 over the plane, the line where it is one half, and the points, one panel per
    title.

    Args:
        panels: title -> `extent` [left, right, bottom, top], `probability` rows from bottom to top,
            points `x`, `labels`.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = subplots(rows, columns, width=1.2 + 2.9 * columns, height=0.5 + 2.9 * rows, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    picture = None
    for axis, (name, data) in zip(axes.flat, panels.items(), strict=False):
        picture = draw_surface(axis, data)
        axis.set_title(name, fontsize=9.5)
    bar = figure.colorbar(picture, ax=axes, pad=0.015, fraction=0.03, shrink=0.7, ticks=[0, 0.5, 1])
    bar.set_label("probability of class 1")
    bar.outline.set_visible(False)
    headline(figure, title)
    return figure


def draw_surface(axis: Axes, data: Mapping[str, Any], size: float | None = None):
    """One surface with its points on `axis`."""
    values, points = np.asarray(data["probability"]), np.asarray(data["x"])
    labels = np.asarray(data["labels"])
    extent = data["extent"]
    picture = axis.imshow(
        values,
        extent=extent,
        origin="lower",
        cmap=DIVERGING,
        vmin=0,
        vmax=1,
        alpha=0.55,
        interpolation="bilinear",
    )
    if values.min() < 0.5 < values.max():
        across = np.linspace(extent[0], extent[1], values.shape[1])
        up = np.linspace(extent[2], extent[3], values.shape[0])
        axis.contour(across, up, values, levels=[0.5], colors=[INK], linewidths=1.3)
    if values.max() - values.min() < 0.02:
        middle = (sum(extent[:2]) / 2, sum(extent[2:]) / 2)
        axis.text(*middle, f"{values.mean():.2f} everywhere", ha="center", va="center", color=MUTED)
    size = size or (90 if len(points) <= 8 else 11)
    for label, marker in ((0, "o"), (1, "^")):
        chosen = points[labels == label]
        axis.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=size,
            c=CLASSES[label],
            marker=marker,
            edgecolors="white",
            linewidths=0.5,
        )
    axis.grid(visible=False)
    axis.set(xlim=extent[:2], ylim=extent[2:])
    axis.tick_params(length=0)
    return picture


def unit_surfaces(units: Sequence[Any], extent: Sequence[float], title: str, most: int = 24) -> Figure:
    """What each unit of a hidden layer answers over the plane: each in its own range, zero in white."""
    shown = units[:most]
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = subplots(rows, columns, width=9.6, height=0.75 + 9.6 / columns * rows, squeeze=False)
    for place, axis in enumerate(axes.flat):
        axis.axis("off")
        if place < len(shown):
            values = np.asarray(shown[place])
            limit = max(float(np.abs(values).max()), 1e-9)
            axis.imshow(values, extent=extent, origin="lower", cmap=DIVERGING, vmin=-limit, vmax=limit)
            axis.set_title(f"unit {place + 1}", fontsize=8, color=MUTED, weight="normal")
    headline(figure, title)
    return figure


def headline(figure: Figure, title: str) -> None:
    """The title of a picture of several panels."""
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold", color=INK)
