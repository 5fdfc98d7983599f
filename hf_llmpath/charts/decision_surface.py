"""Pictures of the plane: the answer of a classifier, the answers of its units, and the network as a diagram.

Class 0 is blue and a circle, class 1 is amber and a triangle. Negative weights are blue, positive ones amber.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .picture import (
    BAR,
    INK,
    PAPER,
    SOFT,
    Picture,
    image,
    line,
    panels,
    rect,
    series,
    signed_png,
    size_of,
    svg,
    text,
)

CLASSES = (series(1), BAR)  # colors of class 0 and class 1
TILE, GAP, COLUMN = 38, 10, 92  # pixels: side of a unit's surface, gap to the next, from layer to layer
_CONTOUR_TOO_FLAT = 0.02  # a surface whose answers differ by less counts as constant and gets no contour


def plane_svg(
    answer: np.ndarray,
    extent: Sequence[float],
    points: Sequence[tuple[np.ndarray, np.ndarray, bool]] = (),
    size: float = 4,
    side: float = 320,
) -> str:
    """Draws the answers over the plane as colors, the line between the classes, and points.

    Args:
        answer: `(rows, columns)` from -1 (class 0) to 1 (class 1), the lowest row of the plane first.
        extent: left, right, bottom, top.
        points: for each group of points, their coordinates `(points, 2)`, their labels `(points,)`, and
            whether they are filled.
        size: radius of a point in pixels.
        side: width of the drawing in pixels.
    """
    left, right, bottom, top = extent
    height = side * (top - bottom) / (right - left)
    across = lambda x: side * (x - left) / (right - left)  # noqa: E731
    down = lambda y: height * (top - y) / (top - bottom)  # noqa: E731
    # [::-1]: an image begins with its top row. Half the color keeps the points readable.
    body = image(0, 0, side, height, signed_png(0.5 * answer[::-1]), smooth=True)
    body += f'<path d="{_zero_line(answer, side, height)}" fill="none" stroke="{INK}" stroke-width="1.3"/>'
    r, a, b = f"{size:.3g}", f"{1.15 * size:.3g}", f"{2.1 * size:.3g}"
    # SVG paths relative to the point: a circle for class 0, a triangle for class 1.
    shapes = (
        f"m-{r} 0a{r} {r} 0 1 0 {2 * size:.3g} 0a{r} {r} 0 1 0-{2 * size:.3g} 0",
        f"m0-{1.3 * size:.3g}l{a} {b}h-{2.3 * size:.3g}z",
    )
    for places, labels, filled in points:
        for label, shape in enumerate(shapes):
            # All points of a class are one path, which is much smaller than an element for each.
            route = "".join(
                f"M{across(x):.1f} {down(y):.1f}{shape}" for x, y in places[np.asarray(labels) == label]
            )
            paint = f'fill="{CLASSES[label]}" fill-opacity="0.85"'
            if not filled:
                paint = f'fill="none" stroke="{CLASSES[label]}" stroke-width="1.2"'
            body += f'<path d="{route}" {paint}/>' if route else ""
    return svg(body, side, height, "lp-plane")


def _zero_line(values: np.ndarray, width: float, height: float) -> str:
    """Finds the contour where the values change sign, by marching squares.

    Each cell that the contour crosses gives one segment, or two at a saddle point.

    Args:
        values: `(rows, columns)`, the lowest row first.
        width, height: size of the drawing in pixels.

    Returns:
        The commands of an SVG path; empty if the values hardly differ.
    """
    if values.max() - values.min() < _CONTOUR_TOO_FLAT:
        return ""
    rows, columns = values.shape
    # The corners of each cell, in order around it: (rows, columns) -> (4, rows - 1, columns - 1).
    corners = np.stack([values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]])
    # Cells with corners of both signs: (4, rows - 1, columns - 1) -> (rows - 1, columns - 1) -> (crossed, 2).
    crossed = np.argwhere((corners.max(axis=0) > 0) & (corners.min(axis=0) <= 0))
    offsets = ((0, 0), (0, 1), (1, 1), (1, 0))  # (row, column) of each corner
    route = []
    for row, column in crossed:
        ends = []
        for first in range(4):
            second = (first + 1) % 4
            a, b = corners[first, row, column], corners[second, row, column]
            if (a > 0) != (b > 0):
                share = a / (a - b)  # linear interpolation: a + share (b - a) = 0
                y, x = (
                    offsets[first][axis] + share * (offsets[second][axis] - offsets[first][axis])
                    for axis in (0, 1)
                )
                # From cells to pixels; row 0 is at the bottom, and y in an SVG points downward.
                x, y = width * (column + x) / (columns - 1), height * (1 - (row + y) / (rows - 1))
                ends.append(f"{x:.1f} {y:.1f}")
        route += [f"M{start}L{end}" for start, end in zip(ends[::2], ends[1::2], strict=True)]
    return "".join(route)


def decision_surface(data: Mapping[str, Any], caption: str) -> Picture:
    """Draws the answer of a classifier over the plane, and the points that it was tested on.

    Args:
        data: `extent` [left, right, bottom, top], `probability` of class 1 `(rows, columns)` in rows from
            bottom to top, and the points `x` `(points, 2)` with their `labels` `(points,)`.
    """
    answer = 2 * np.asarray(data["probability"]) - 1  # from 0 ... 1 to -1 ... 1
    points = np.asarray(data["x"]), np.asarray(data["labels"]), True
    size = 8 if len(points[0]) <= 8 else 3.2  # the four points of XOR may be large
    draw = lambda width: plane_svg(answer, data["extent"], [points], size, min(width, 420))  # noqa: E731
    right = np.mean(_nearest(answer, data["extent"], points[0]) == points[1])
    told = f"Circles and triangles are the two classes; {right:.0%} of them are on their side of the line."
    if np.ptp(answer) < _CONTOUR_TOO_FLAT:
        told = f"The answer is {np.mean(data['probability']):.2f} everywhere."
    return Picture(caption, draw, alternative=told)


def _nearest(answer: np.ndarray, extent: Sequence[float], points: np.ndarray) -> np.ndarray:
    """Returns the class `(points,)` that the answer `(rows, columns)` gives each point `(points, 2)`."""
    left, right, bottom, top = extent
    rows, columns = answer.shape
    # Index of the nearest row and column; a point outside of the plane takes the nearest edge. (points,)
    row = np.clip((points[:, 1] - bottom) / (top - bottom) * (rows - 1), 0, rows - 1).round().astype(int)
    column = np.clip((points[:, 0] - left) / (right - left) * (columns - 1), 0, columns - 1)
    return (answer[row, column.round().astype(int)] > 0).astype(int)


def decision_surfaces(data: Mapping[str, Mapping[str, Any]], caption: str, detail: str = "") -> Picture:
    """Draws a `decision_surface` for each name, side by side."""
    words = (
        detail or "Amber: class 1, a triangle. Blue: class 0, a circle. The line is where both are as likely."
    )
    return panels({name: decision_surface(surface, name) for name, surface in data.items()}, caption, words)


def unit_surfaces(units: Sequence[Any], caption: str, detail: str = "", most: int = 24) -> Picture:
    """Draws the answer of each unit of a hidden layer over the plane, each scaled to its own range.

    Args:
        units: answers `(units, rows, columns)`, the lowest row first.
        most: maximum number of units that are drawn.
    """
    tiles = [_normed(values) for values in units[:most]]
    columns = min(8, len(tiles))

    def draw(width: int) -> str:
        side, body = (width - 8 * (columns - 1)) / columns, ""
        for index, values in enumerate(tiles):
            x, y = index % columns * (side + 8), index // columns * (side + 22)
            body += text(x, y + 10, f"unit {index + 1}", 9.5, SOFT)
            body += image(x, y + 14, side, side, signed_png(values[::-1]), smooth=True)
        return svg(body, width, -(-len(tiles) // columns) * (side + 22))  # -(-a // b) rounds up

    return Picture(
        caption, draw, detail, f"The answers of {len(tiles)} hidden units over the plane.", width=960
    )


def _normed(values: Any) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    return array / max(float(np.abs(array).max()), 1e-9)  # a unit that always answers 0 stays at 0


def network_svg(
    columns: Sequence[Sequence[np.ndarray]],
    weights: Sequence[np.ndarray],
    headings: Sequence[str],
    names: Sequence[Sequence[str]] = (),
    strongest: float = 4.0,
    pitch: float = COLUMN,
) -> str:
    """Draws a network: one column of small surfaces per layer, and its weights as edges.

    Args:
        columns: for each layer, inputs first, the answers of its units over the plane, from -1 to 1, top row
            first. If the last layer is missing, a dot stands for its unit.
        weights: the weight matrix of each layer, `(units, units of the layer before)`.
        headings: texts above the columns.
        names: names of the units of each column.
        strongest: the absolute weight from which on an edge has its full thickness.
        pitch: distance from layer to layer in pixels.
    """
    tall = max(len(column) for column in columns)
    # The inputs have a column and no weights, so there is one column more unless the last layer is a dot.
    dot = len(columns) == len(weights)
    height = tall * (TILE + GAP) + 30
    width = pitch * (len(columns) - 1 + dot) + TILE + 12

    def corner(layer: int, row: int, count: int) -> tuple[float, float]:
        # The top left corner of a unit's surface; a layer of `count` units is centered vertically.
        return 6 + pitch * layer, 22 + (height - 30 - count * (TILE + GAP)) / 2 + row * (TILE + GAP)

    places = [
        [corner(layer, row, len(tiles)) for row in range(len(tiles))] for layer, tiles in enumerate(columns)
    ]
    end = 6 + pitch * len(columns) + TILE / 2, height / 2 + 7
    body = ""
    for layer, weight in enumerate(weights):
        targets = (
            [(x, y + TILE / 2) for x, y in places[layer + 1]]
            if layer + 1 < len(places)
            else [(end[0] - 9, end[1])]
        )
        for row, column in np.ndindex(*weight.shape):
            x, y = places[layer][column]
            body += _edge((x + TILE, y + TILE / 2), targets[row], float(weight[row, column]), strongest)
    for layer, (tiles, corners) in enumerate(zip(columns, places, strict=True)):
        for row, (values, (x, y)) in enumerate(zip(tiles, corners, strict=True)):
            body += image(x, y, TILE, TILE, signed_png(values), smooth=True)
            body += rect(x, y, TILE, TILE, "none", f'rx="3" stroke="{SOFT}"')
            if names:
                body += text(x + 3, y + 12, names[layer][row], 10, halo=True)
    if dot:
        body += f'<circle cx="{end[0]}" cy="{end[1]}" r="9" fill="{INK}"/>'
    for layer, heading in enumerate(headings):
        body += text(6 + pitch * layer + TILE / 2, 12, heading, 11, SOFT, "middle")
    return svg(body, width, height, "lp-network")


def _edge(start: tuple[float, float], end: tuple[float, float], weight: float, strongest: float) -> str:
    strength = min(abs(weight) / strongest, 1.0)
    half, down = (end[0] - start[0]) / 2, end[1] - start[1]
    route = f"M{start[0]:.0f} {start[1]:.0f}c{half:.0f} 0 {half:.0f} {down:.0f} {2 * half:.0f} {down:.0f}"
    return (
        f'<path d="{route}" fill="none" stroke="{CLASSES[weight >= 0]}" '
        f'stroke-width="{0.6 + 6 * strength:.1f}" opacity="{0.35 + 0.65 * strength:.2f}"/>'
    )


def input_tiles(cells: int = 48) -> list[np.ndarray]:
    """Returns the two inputs over the plane, `(cells, cells)` each, as `network_svg` shows them."""
    across = np.linspace(-1, 1, cells)
    return list(np.meshgrid(across, across[::-1]))  # x₁ grows to the right, x₂ from the bottom to the top


def network_diagram(data: Mapping[str, Any], caption: str, detail: str = "", most: int = 12) -> Picture:
    """Draws a trained network with one hidden layer: weights as edges, and each unit's answer in its node.

    Args:
        data: `weights` of the layers as lists of rows; `units`, the answers of the hidden units, and
            `probability`, both over `extent` in rows from bottom to top.
        most: maximum number of hidden units that are drawn; those with the largest outgoing weights are.
    """
    first, second = (np.asarray(weight) for weight in data["weights"][:2])  # (hidden, 2) and (1, hidden)
    # A run may have saved the answers of the first units only: (1, hidden) -> (units,).
    known = np.abs(second[0, : len(data["units"][0])])
    # The largest weights, then back in the order of the units. `stable` makes ties the same everywhere.
    chosen = np.sort(np.argsort(-known, kind="stable")[:most])
    hidden = [_normed(data["units"][0][unit])[::-1] for unit in chosen]
    columns = [input_tiles(), hidden, [2 * np.asarray(data["probability"])[::-1] - 1]]
    names = [["x₁", "x₂"], [str(unit + 1) for unit in chosen], [""]]
    weights = [first[chosen], second[:, chosen]]  # (chosen, 2) and (1, chosen)
    drawing = network_svg(
        columns, weights, ["inputs", f"{len(second[0])} hidden units", "answer"], names, pitch=300
    )
    if len(chosen) < len(second[0]):
        detail = f"{detail} The {len(chosen)} units with the largest outgoing weights are shown.".strip()
    told = (
        f"2 inputs, {len(second[0])} hidden units, 1 answer; the largest weight is {np.abs(first).max():.2f}."
    )
    key = {"positive weight": CLASSES[1], "negative weight": CLASSES[0]}
    return Picture(caption, lambda width: drawing, detail, told, key, width=int(size_of(drawing)[0]) + 32)


def neuron(
    inputs: Mapping[str, float], weights: Sequence[float], bias: float, activation: str, output: float
) -> Picture:
    """Draws one neuron with its numbers: inputs and weights, the weighted sum, the activation, the output.

    Args:
        inputs: name -> value.
        weights: one weight per input.
        bias: drawn as the weight of a further input that is always 1.
        activation: name of the activation function.
        output: the value of the activation function at the weighted sum.
    """
    # z = Σ w_i x_i + b
    total = sum(x * w for x, w in zip(inputs.values(), weights, strict=True)) + bias
    sources = [(name, f"{value:.3g}", w) for (name, value), w in zip(inputs.items(), weights, strict=True)]
    sources.append(("1", "", bias))
    step, middle = 90, 45 + 45 * (len(sources) - 1)

    def node(x: float, y: float, *lines: str) -> str:
        circle = f'<circle cx="{x}" cy="{y}" r="30" fill="{PAPER}" stroke="{INK}" stroke-width="1.2"/>'
        top = y + 5 - 8 * (len(lines) - 1)
        return circle + "".join(
            text(x, top + 16 * row, words, 13, INK, "middle") for row, words in enumerate(lines)
        )

    body = ""
    for row, (name, value, weight) in enumerate(sources):
        y = 40 + step * row
        width = 0.8 + 5 * min(1.0, abs(weight) / 4)
        body += line(40, y, 300, middle, CLASSES[weight >= 0], width)
        label = f"w = {weight:+.2f}" if value else f"b = {weight:+.2f}"
        x, height = 150, y + (middle - y) * 110 / 260
        body += rect(x - 38, height - 11, 76, 20, PAPER, 'rx="4"') + text(
            x, height + 4, label, 12.5, INK, "middle"
        )
        body += node(40, y, name, *([value] if value else []))
    for x in (335, 535):
        tip = x + 60
        body += line(x, middle, tip - 6, middle, INK, 1.3)
        body += f'<path d="M{tip - 9} {middle - 5}L{tip} {middle}L{tip - 9} {middle + 5}z" fill="{INK}"/>'
    body += node(305, middle, "Σ", f"{total:+.2f}") + node(628, middle, "y", f"{output:+.2f}")
    body += rect(397, middle - 24, 136, 48, PAPER, f'rx="8" stroke="{SOFT}"')
    body += text(465, middle + 5, activation, 14, INK, "middle")
    for x, words in ((305, "weighted sum"), (465, "activation"), (628, "output")):
        body += text(x, middle + 52, words, 12, SOFT, "middle")
    parts = " + ".join(f"{name} {value} × {weight:.2f}" for name, value, weight in sources[:-1])
    told = f"{parts} + {bias:.2f} = {total:.2f}; {activation} makes it {output:.2f}."
    height = 80 + step * (len(sources) - 1)
    caption = "One neuron of the trained network, with its numbers"
    return Picture(caption, lambda width: svg(body, 670, height), alternative=told)
