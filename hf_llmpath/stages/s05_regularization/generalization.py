"""Training against test: curves side by side, the gap between them, and what a normalization does to
activations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...charts.style import COLORS, INK, MUTED, subplots


def side_by_side(
    courses: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
    wrong_labels: float = 0.0,
    columns: int = 4,
) -> Figure:
    """A panel per training with its error on the training and on the test images, all on the same axes.

    Args:
        courses: name -> `step`, `train_error` and `test_error` (shares), and `kept`, a step to mark, or none.
        wrong_labels: share of labels that are wrong, which nobody can foresee: a level to compare with.
    """
    rows = -(-len(courses) // columns)
    figure, axes = subplots(
        rows, columns, width=9.6, height=0.6 + 1.8 * rows, sharex=True, sharey=True, squeeze=False
    )
    for axis, (name, course) in zip(axes.flat, courses.items(), strict=False):
        train, test = (100 * np.array(course[part]) for part in ("train_error", "test_error"))
        axis.fill_between(course["step"], train, test, where=test >= train, color=GAP, linewidth=0)
        if wrong_labels:
            axis.axhline(100 * wrong_labels, color=MUTED, linestyle=":", linewidth=1)
        axis.plot(course["step"], train, color=COLORS[0], label="training images")
        axis.plot(course["step"], test, color=COLORS[1], label="test images")
        if course.get("kept") is not None:
            axis.axvline(course["kept"], color=MUTED, linestyle="--", linewidth=1)
            late = course["kept"] > max(max(other["step"]) for other in courses.values()) / 2
            side, shift = ("right", -3) if late else ("left", 3)
            place = {
                "xycoords": ("data", "axes fraction"),
                "textcoords": "offset points",
                "xytext": (shift, 0),
            }
            axis.annotate("kept", (course["kept"], 0.98), ha=side, va="top", fontsize=8, color=MUTED, **place)
        axis.set_title(name, fontsize=9)
    for axis in axes.flat[len(courses) :]:
        axis.axis("off")
    last = np.array([course["test_error"][-1] for course in courses.values()])
    axes[0, 0].set_ylim(0, 100 * min(1.0, 1.8 * last.max()))
    axes[0, 0].legend(loc="upper right")
    for axis in axes[:, 0]:
        axis.set_ylabel("wrong answers, %")
    for column in range(columns):
        below = [axis for axis in axes[:, column] if axis.axison]
        if below:
            below[-1].set_xlabel("step")
            below[-1].tick_params(labelbottom=True)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold", color=INK)
    return figure


GAP = "#fde8d7"


def gap_bars(rows: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """A bar per row from its training error to its test error, and beside it the error by the true labels.

    Args:
        rows: name -> `train_error`, `test_error`, `error` (shares), and `test_error_sd`, drawn as a
            whisker, or none.
    """
    figure, axis = subplots(height=1.5 + 0.36 * len(rows))
    for place, row in enumerate(rows.values()):
        label = (lambda text: text) if place == 0 else (lambda text: None)
        train, test = 100 * row["train_error"], 100 * row["test_error"]
        axis.barh(place, test - train, left=train, height=0.5, color=GAP, edgecolor=COLORS[1], linewidth=0.8)
        axis.plot(train, place, "o", color=COLORS[0], markersize=6, label=label("training images"))
        spread = 100 * (row.get("test_error_sd") or 0)
        axis.errorbar(
            test,
            place,
            xerr=spread or None,
            fmt="s",
            color=COLORS[1],
            markersize=6,
            capsize=3,
            label=label("test images, labeled alike"),
        )
        axis.plot(
            100 * row["error"],
            place,
            "D",
            color=COLORS[2],
            markersize=5,
            label=label("test images, true labels"),
        )
        axis.annotate(
            f"gap {test - train:.1f}",
            (max(test + spread, train), place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.set_yticks(range(len(rows)), list(rows))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.14)
    axis.set_xlim(left=-0.3)
    axis.set(title=title, xlabel="wrong answers, %")
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=3)
    return figure


def before_and_after(histograms: Mapping[str, Any], title: str) -> Figure:
    """Histograms of what each layer's activations read, before and after its normalization.

    Args:
        histograms: `centers` of the bins, and `layers`, each with `layer` (from 1), `before` and `after`
            (shares).
    """
    layers = histograms["layers"]
    figure, axes = subplots(1, len(layers), width=8.4, height=3.0, sharey=True, squeeze=False)
    centers = np.array(histograms["centers"])
    for axis, layer in zip(axes[0], layers, strict=True):
        for part, color in (("before", COLORS[0]), ("after", COLORS[1])):
            axis.fill_between(
                centers, 100 * np.array(layer[part]), color=color, alpha=0.25, linewidth=0, step="mid"
            )
            axis.step(
                centers, 100 * np.array(layer[part]), color=color, where="mid", linewidth=1.3, label=part
            )
        axis.set(title=f"layer {layer['layer']}", xlabel="value before the activation")
    axes[0, 0].set_ylabel("share of values, %")
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].legend(title="normalization", title_fontsize=8)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold", color=INK)
    return figure


def image_rows(rows: Mapping[str, np.ndarray], title: str) -> Figure:
    """Rows of small gray images, a name before each row; each `(count, height, width)`."""
    count = max(map(len, rows.values()))
    figure, axes = subplots(len(rows), count, width=8.4, height=0.55 + 0.82 * len(rows), squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold", color=INK)
    return figure
