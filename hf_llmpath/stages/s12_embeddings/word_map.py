"""Words in the plane, words near words, and one word in several senses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...charts.style import COLORS, INK, MUTED, subplots


def spread_labels(points: np.ndarray, labels: Sequence[str], letter: float, line: float) -> np.ndarray:
    """Points in the unit square, moved apart as little as lets one read the labels that are centered on them.

    Args:
        points: `(n, 2)`, scaled to the unit square here.
        labels: of each point.
        letter, line: width of a letter and height of a line, as shares of the picture.

    Returns:
        `(n, 2)` in the unit square.
    """
    low = points.min(0)
    places = 0.05 + 0.9 * (points - low) / (np.ptp(points, axis=0) + 1e-9)
    width = np.array([len(label) for label in labels]) * letter
    apart = (width[:, None] + width[None, :]) / 2, np.full((len(labels), len(labels)), line)
    for _ in range(300):
        gap = places[:, None] - places[None, :]
        overlap = [size - np.abs(gap[..., axis]) for axis, size in enumerate(apart)]
        both = (overlap[0] > 0) & (overlap[1] > 0)
        np.fill_diagonal(both, False)
        if not both.any():
            break
        # Along the axis in which less is needed; of two in one place the later one goes up.
        sideways = both & (overlap[0] < overlap[1])
        sign = np.where(
            gap == 0, np.sign(np.arange(len(labels))[:, None] - np.arange(len(labels))[None])[..., None], gap
        )
        step = [
            np.where(mask, size * np.sign(sign[..., axis]), 0).sum(1)
            for axis, (mask, size) in enumerate(((sideways, overlap[0]), (both & ~sideways, overlap[1])))
        ]
        places = (places + 0.25 * np.stack(step, axis=1)).clip(0.03, 0.97)
    return places


def word_map(data: Mapping[str, Any], kind: str, title: str, arrows: bool = True) -> Figure:
    """Words where their vectors lie in the plane, colored by kind, with arrows between the pairs of an
    analogy.

    Args:
        data: `words`, `kinds` (may be empty), `maps` (name -> points `(words, 2)`), `analogy` (pairs of
            words).
        kind: which of the maps.
    """
    figure, axis = subplots(width=8.4, height=6.2)
    points = spread_labels(np.asarray(data["maps"][kind]), data["words"], letter=0.0088, line=0.021)
    kinds = [name for name in dict.fromkeys(data["kinds"]) if name]
    color = {name: COLORS[place % len(COLORS)] for place, name in enumerate(kinds)}
    place_of = {word: point for word, point in zip(data["words"], points, strict=True)}
    for one, other in data["analogy"] if arrows else ():
        axis.annotate(
            "",
            place_of[other],
            place_of[one],
            arrowprops={"arrowstyle": "->", "color": MUTED, "alpha": 0.45, "linewidth": 0.8},
        )
    for word, of, (x, y) in zip(data["words"], data["kinds"], points, strict=True):
        axis.text(x, y, word, color=color.get(of, INK), fontsize=7, ha="center", va="center")
    for name in kinds:
        axis.plot([], [], "s", color=color[name], label=name)
    axis.set(title=title, xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    if kinds:
        figure.legend(loc="outside lower center", ncols=len(kinds), handletextpad=0.1)
    return figure


def nearest_words(rows: Mapping[str, Sequence[tuple[str, float]]], title: str) -> Figure:
    """A table: every word with those nearest to it, the more saturated the nearer."""
    figure, axis = subplots(height=0.7 + 0.36 * len(rows))
    width = max(len(near) for near in rows.values())
    for row, (word, near) in enumerate(rows.items()):
        axis.text(-0.1, row, word, ha="right", va="center", weight="bold", color=INK)
        for column, (other, cosine) in enumerate(near):
            shade = (0.0, 0.447, 0.698, 0.08 + 0.45 * max(0.0, min(1.0, cosine)))
            axis.barh(row, 0.94, 0.8, left=column + 0.03, color=shade)
            axis.text(
                column + 0.5, row, f"{other}  {cosine:.2f}", ha="center", va="center", fontsize=8, color=INK
            )
    axis.set(title=title, xlim=(-1.1, width), ylim=(len(rows) - 0.4, -0.6), xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def sense_scatter(data: Mapping[str, Any], title: str) -> Figure:
    """Left the static vector, one point for all occurrences; right the contextual vectors, colored by sense.

    Args:
        data: `points` `(occurrences, 2)`, `senses`.
    """
    figure, (static, contextual) = subplots(columns=2, width=8.4, height=3.8, width_ratios=(1, 2))
    points, senses = np.asarray(data["points"]), np.asarray(data["senses"])
    static.plot([0], [0], "o", color=INK, markersize=9)
    static.set(title="static: one vector", xticks=[], yticks=[], xlim=(-1, 1), ylim=(-1, 1))
    static.annotate(f"all {len(senses)}", (0, 0), xytext=(9, 6), textcoords="offset points", fontsize=8)
    for color, sense in zip(COLORS, dict.fromkeys(data["senses"]), strict=False):
        chosen = points[senses == sense]
        contextual.plot(chosen[:, 0], chosen[:, 1], "o", color=color, label=sense, markersize=5, alpha=0.7)
    contextual.set(title="contextual: a vector for every occurrence", xticks=[], yticks=[])
    contextual.legend(loc="best")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold", color=INK)
    return figure
