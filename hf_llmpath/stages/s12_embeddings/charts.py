"""Draws the map of words, their nearest neighbors, the objectives' scores, and one word in several senses."""

from collections.abc import Collection
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ...charts.picture import INK, RULE, SOFT, TINT, Picture, line, rect, save_all, series, svg, text
from ...charts.plots import Line, bar_chart, line_chart
from ...runs import RunFolder

OBJECTIVES = {"skipgram": "skip-gram", "cbow": "CBOW", "glove": "GloVe"}
MEASURES = {
    "kind_precision": "neighbors of the same kind",
    "wordsim353": "agreement with people, WordSim-353",
    "men": "agreement with people, MEN",
    "simlex999": "agreement with people, SimLex-999",
    "analogy_accuracy": "analogies answered",
}
DETAILS = {
    "PCA": "The plane in which the vectors differ most.",
    "t-SNE": "Neighbors stay neighbors; the distance between groups means nothing.",
}
LETTER, LINE = 7.5, 15  # pixels that a letter and a line of a label take


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    words = folder.figure_data("map")
    known = {
        "map": word_map(words, "PCA"),
        "neighbors": neighbor_table(_neighbors(folder)),
        "objectives": _objectives(folder),
    }
    if "t-SNE" in words["maps"]:
        known["tsne"] = word_map(words, "t-SNE")
    if "sense_accuracy" in folder.metrics:
        known["senses"] = _senses(folder.figure_data("senses"))
    return known


def _neighbors(folder: RunFolder) -> dict[str, list[tuple[str, float]]]:
    try:
        return folder.figure_data("neighbors")
    except FileNotFoundError:  # runs of version 0.1
        return folder.figure_data("neighbours")


class _WordMap(Picture):
    """Draws a map twice: its labels are laid out once for wide pages and once for phones."""

    def _drawing(self, small: bool) -> str:
        drawings = f'<div class="lp-wide">{self.svg(800)}</div><div class="lp-narrow">{self.svg(350)}</div>'
        return f'<div class="lp-drawing" role="img" aria-label="{escape(self.alternative)}">{drawings}</div>'


def word_map(data: dict[str, Any], kind: str, marked: Collection[str] = (), note: str = "") -> Picture:
    """Draws words at the positions of their vectors in the plane, colored by kind.

    Args:
        data: `words`, `kinds` (which may be empty), `maps` (name -> points `(words, 2)`), and `analogy`
            (pairs of words, connected by lines on a map by PCA).
        kind: the name of the map.
        marked: the words to emphasize; the others turn gray.
        note: a sentence to put before the description of the map.
    """
    points, words = np.asarray(data["maps"][kind]), data["words"]  # points: (words, 2)
    kinds = [name for name in dict.fromkeys(data["kinds"]) if name]
    colors = {name: series(index) for index, name in enumerate(kinds)}
    marked = [word for word in words if word in marked]
    # Parallel lines mean something under a linear projection only, not under t-SNE.
    pairs = data["analogy"] if kind == "PCA" and not marked else []

    def draw_map(width: int) -> str:
        height = 520 if width > 400 else 760
        labels = [f"{word}  " if word in marked else word for word in words]  # bold ones are wider
        positions = spread_labels(points, labels, LETTER / width, LINE / height)
        # (words, 2); the vertical axis of an SVG points down.
        pixels = dict(zip(words, (positions * [width, -height] + [0, height]).tolist(), strict=True))
        body = "".join(line(*pixels[one], *pixels[other], RULE, 1.5) for one, other in pairs)
        on_top = ""  # marked words come last in the drawing and cover the others
        for word, kind_of_word in zip(words, data["kinds"], strict=True):
            x, y = pixels[word]
            color = SOFT if marked and word not in marked else colors.get(kind_of_word, INK)
            if word not in marked:
                body += text(x, y + 4, word, 12, color, "middle")
                continue
            wide = LETTER * len(word) + 12
            box = rect(x - wide / 2, y - 9, wide, 18, TINT, 'rx="4"')
            on_top += f'<g class="on">{box}{text(x, y + 4, word, 12, color, "middle", "bold")}</g>'
        return svg(body + on_top, width, height)

    alternative = f"A map of {len(words)} words." + (f" Marked: {', '.join(marked)}." if marked else "")
    detail = f"{note} {DETAILS[kind]}".strip()
    if pairs:
        detail += " Lines lead from a villager to the trade."
    return _WordMap(f"Words by {kind} of their vectors", draw_map, detail, alternative, colors, width=900)


def spread_labels(points: np.ndarray, labels: list[str], letter: float, line: float) -> np.ndarray:
    """Moves points apart, as little as needed to read the labels that are centered on them.

    Args:
        points: `(n, 2)` in any range.
        labels: one for each point.
        letter, line: width of a letter and height of a line, as shares of the drawing.

    Returns:
        `(n, 2)` in the unit square.
    """
    # (n, 2) between 0.05 and 0.95; the small constant keeps equal coordinates from dividing by 0.
    positions = 0.05 + 0.9 * (points - points.min(0)) / (np.ptp(points, axis=0) + 1e-9)
    half = np.array([len(label) for label in labels]) * letter / 2  # (n,): half the width of each label
    needed = half[:, None] + half[None, :], line  # between two labels, along x and along y: (n, n) each
    # (n, n): 1 where the row's label comes after the column's
    order = np.sign(np.arange(len(labels))[:, None] - np.arange(len(labels))[None])
    # (n, 2): how near to an edge the center of a label may come
    edge = np.stack([half, np.full(len(labels), line / 2)], axis=1).clip(max=0.5)
    for _ in range(300):  # a bound, because a crowded map may have no solution
        gap = positions[:, None] - positions[None, :]  # (n, n, 2)
        overlap = [size - np.abs(gap[..., axis]) for axis, size in enumerate(needed)]  # two of (n, n)
        both = (overlap[0] > 0) & (overlap[1] > 0)  # (n, n): labels collide if they overlap along both axes
        np.fill_diagonal(both, False)
        if not both.any():
            break
        # Move along the axis with the smaller overlap; of two labels at one point, the later one goes up.
        sideways = both & (overlap[0] < overlap[1])
        sign = np.sign(np.where(gap == 0, order[..., None], gap))  # (n, n, 2)
        # Each label adds up its moves away from all others: (n, n) -> (n,) along each axis.
        steps = [
            np.where(mask, size * sign[..., axis], 0).sum(1)
            for axis, (mask, size) in enumerate(((sideways, overlap[0]), (both & ~sideways, overlap[1])))
        ]
        # (n, 2); a quarter of the overlap at a time keeps crowded labels from overshooting.
        positions = (positions + 0.25 * np.stack(steps, axis=1)).clip(edge, 1 - edge)
    return positions


def neighbor_table(rows: dict[str, list[tuple[str, float]]]) -> Picture:
    """Draws each word with its nearest words; the higher the cosine, the stronger the color of the cell."""

    def draw_table(width: int) -> str:
        cells, left = "", 80
        for row, (word, near) in enumerate(rows.items()):
            wide, top = (width - left) / len(near), 30 * row
            cells += text(left - 10, top + 18, word, 12.5, INK, "end", "bold")
            for column, (other, cosine) in enumerate(near):
                x, strength = left + column * wide, min(1.0, max(0.0, cosine))
                opacity = f'rx="3" fill-opacity="{0.08 + 0.45 * strength:.2f}"'
                cells += rect(x, top, wide - 4, 26, series(1), opacity)
                cells += text(x + wide / 2, top + 17, f"{other} {cosine:.2f}", 12, INK, "middle")
        return svg(cells, width, 30 * len(rows))

    alternative = "; ".join(f"{word}: {', '.join(other for other, _ in near)}" for word, near in rows.items())
    return Picture("The nearest words, by cosine", draw_table, "", alternative, width=820)


def _objectives(folder: RunFolder) -> Picture:
    """Draws the objectives' scores by the first measure that the run has, with its baselines."""
    metrics, first = folder.metrics, folder.report["settings"]["objectives"][0]
    measure = next((name for name in MEASURES if name in metrics), "words_per_second")
    scores = {OBJECTIVES[first]: metrics[measure]}
    scores |= {
        title: metrics[f"{name}/{measure}"]
        for name, title in OBJECTIVES.items()
        if f"{name}/{measure}" in metrics
    }
    if measure == "kind_precision":
        scores["PPMI of counts"] = metrics["ppmi/kind_precision"]
    baseline = folder.report["baselines"].get(measure)  # 0 for judgments, where a line says nothing
    title = f"Word vectors: {MEASURES.get(measure, 'words per second')}"
    levels = {"vectors of plain counts": baseline} if baseline else None
    return bar_chart(scores, title, measure.replace("_", " "), levels=levels)


def _senses(data: dict[str, Any]) -> Picture:
    """Draws the contextual vectors of one word in the plane, colored by sense."""
    points, senses = np.asarray(data["points"]), np.asarray(data["senses"])
    lines = {
        # (occurrences, 2) -> (2, occurrences of the sense)
        sense: Line(*points[senses == sense].T.tolist(), points=True, width=0)
        for sense in dict.fromkeys(data["senses"])
    }
    return line_chart(
        lines,
        f"“{data['word']}” in its senses: a contextual vector for each occurrence",
        "first principal component",
        "second",
        f"A static vector is one point for all {len(senses)} occurrences.",
    )
