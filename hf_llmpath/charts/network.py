"""Networks as drawings: neurons and their weights, and computation graphs with what flows forward and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from .style import COLORS, INK, MUTED, subplots
from .surface import CLASSES, DIVERGING, headline

POSITIVE, NEGATIVE = CLASSES[1], CLASSES[0]
FORWARD, BACK = "#166534", "#9f1239"  # values and gradients
BOX = {"boxstyle": "round,pad=0.25", "fc": "white", "ec": "none"}


def neuron(
    inputs: Mapping[str, float], weights: Sequence[float], bias: float, activation: str, output: float
) -> Figure:
    """One neuron with its numbers: inputs × weights, their sum, the activation, the output."""
    figure, axis = subplots(width=8.4, height=3.4)
    axis.axis("off")
    heights = np.linspace(1, -1, len(inputs) + 1)
    total = sum(x * w for x, w in zip(inputs.values(), weights, strict=True)) + bias
    sources = [*((name, f"{value:.3g}", w) for (name, value), w in zip(inputs.items(), weights, strict=True))]
    sources.append(("1", "", bias))
    for height, (name, value, weight) in zip(heights, sources, strict=True):
        axis.plot([0.28, 2.55], [height, 0], color=_color(weight), linewidth=_width(weight, 4), zorder=1)
        _node(axis, 0, height, f"{name}" + (f"\n{value}" if value else ""))
        label = f"b = {bias:+.2f}" if not value else f"w = {weight:+.2f}"
        axis.text(1.2, height * 0.53, label, ha="center", va="center", bbox=BOX)
    _node(axis, 2.9, 0, f"Σ\n{total:+.2f}", radius=0.36)
    _arrow(axis, (3.28, 0), (4.25, 0))
    axis.add_patch(FancyBboxPatch((4.3, -0.3), 1.1, 0.6, boxstyle="round,pad=0.05", fc="#f3f4f6", ec=MUTED))
    axis.text(4.85, 0, activation, ha="center", va="center", fontsize=11)
    _arrow(axis, (5.48, 0), (6.35, 0))
    _node(axis, 6.7, 0, f"y\n{output:+.2f}", radius=0.34)
    axis.text(2.9, -0.62, "weighted sum", ha="center", color=MUTED)
    axis.text(4.85, -0.62, "activation", ha="center", color=MUTED)
    axis.text(6.7, -0.62, "output", ha="center", color=MUTED)
    axis.set(xlim=(-0.5, 7.3), ylim=(-1.45, 1.45), aspect="equal")
    axis.set_title("One neuron of the trained network, with its numbers")
    return figure


def network_diagram(data: Mapping[str, Any], title: str, most: int = 12) -> Figure:
    """A trained network of one hidden layer on points in the plane: weights as edges, what each unit
    answers in its node.

    Args:
        data: `weights` of the layers as lists of rows, `units` of the hidden layer and `probability` over
            `extent`.
        most: units that are shown, of those in `units` the ones with the largest outgoing weights.
    """
    first, second = (np.asarray(weight) for weight in data["weights"][:2])
    known = np.abs(second[0, : len(data["units"][0])])
    chosen = np.sort(np.argsort(-known, kind="stable")[:most])
    height = max(3.4, 0.95 * len(chosen) + 0.9)
    figure, axis = subplots(width=8.4, height=height)
    axis.axis("off")
    across = np.linspace(-1, 1, 48)
    inputs = [np.broadcast_to(across, (48, 48)), np.broadcast_to(across[:, None], (48, 48))]
    rows = np.linspace(1, -1, len(chosen)) * 0.5 * (len(chosen) - 1)
    at = [np.array([0.7, -0.7]) if len(chosen) < 6 else np.array([1.4, -1.4]), rows, np.array([0.0])]
    columns = (0.0, 3.6, 7.2)
    largest = [np.abs(first[chosen]).max(), np.abs(second[:, chosen]).max()]
    for target, unit in zip(at[1], chosen, strict=True):
        for source, weight in zip(at[0], first[unit], strict=True):
            _edge(axis, (columns[0], source), (columns[1], target), weight / largest[0])
        _edge(axis, (columns[1], target), (columns[2], 0), second[0, unit] / largest[1])
    for name, height, values in zip(("x₁", "x₂"), at[0], inputs, strict=True):
        _tile(axis, columns[0], height, values, 1.0, name, side="left")
    for height, unit in zip(at[1], chosen, strict=True):
        values = np.asarray(data["units"][0][unit])
        _tile(axis, columns[1], height, values, float(np.abs(values).max()), f"{unit + 1}", side="left")
    _tile(
        axis, columns[2], 0, 2 * np.asarray(data["probability"]) - 1, 1.0, "output", half=0.75, side="below"
    )
    top = max(rows[0], 1.4) + 0.75
    for column, name in zip(columns, ("inputs", f"{len(second[0])} hidden units", "answer"), strict=True):
        axis.text(column, top, name, ha="center", color=MUTED)
    if len(chosen) < len(second[0]):
        axis.text(
            columns[1],
            -top + 0.1,
            f"the {len(chosen)} with the largest outgoing weights",
            ha="center",
            color=MUTED,
        )
    axis.set(xlim=(-1.1, 8.4), ylim=(-top - 0.1, top + 0.3), aspect="equal")
    axis.legend(
        handles=[
            Line2D([], [], color=POSITIVE, linewidth=3, label="positive weight"),
            Line2D([], [], color=NEGATIVE, linewidth=3, label="negative weight"),
        ],
        loc="lower right",
    )
    axis.set_title(title)
    return figure


def computation_graph(nodes: Sequence[Mapping[str, Any]], title: str, subtitle: str) -> Figure:
    """Values forward (above each node), gradients back (below), and on each edge the local derivative.

    Args:
        nodes: in an order in which inputs come first; each with `name`, `data`, `grad`, `inputs` (places
            in the list), `local` (one per input) and its place `column`, `row` on the picture.
    """
    columns = max(node["column"] for node in nodes) + 1
    rows = [node["row"] for node in nodes]
    figure, axis = subplots(width=max(9.6, 1.45 * columns), height=1.4 + 0.92 * (max(rows) - min(rows)))
    axis.axis("off")
    wide, tall = 1.9, 1.2
    at = [(node["column"] * wide, -node["row"] * tall) for node in nodes]
    for node, (x, y) in zip(nodes, at, strict=True):
        for before, local in zip(node["inputs"], node["local"], strict=True):
            x0, y0 = at[before]
            axis.plot([x0, x], [y0, y], color="#cbd5e1", linewidth=1.4, zorder=1)
            place = 0.68 if abs(y - y0) > tall else 0.5  # beside the crossings of the long edges
            axis.text(
                x0 + place * (x - x0),
                y0 + place * (y - y0),
                f"×{local:.3g}",
                ha="center",
                va="center",
                fontsize=7.5,
                color=COLORS[3],
                bbox=BOX | {"boxstyle": "round,pad=0.1"},
                zorder=2,
            )
    for node, (x, y) in zip(nodes, at, strict=True):
        operation = bool(node["inputs"])
        axis.add_patch(
            Circle((x, y), 0.27, fc="#f1f5f9" if operation else "#fef9c3", ec=MUTED, linewidth=0.9, zorder=3)
        )
        axis.text(x, y, node["name"], ha="center", va="center", fontsize=7.5, zorder=4, color=INK)
        axis.text(
            x, y + 0.33, f"{node['data']:.4g}", ha="center", va="bottom", fontsize=8, color=FORWARD, zorder=4
        )
        axis.text(
            x, y - 0.33, f"{node['grad']:+.4f}", ha="center", va="top", fontsize=8, color=BACK, zorder=4
        )
    axis.set(
        xlim=(-0.7, (columns - 1) * wide + 0.8),
        ylim=(-max(rows) * tall - 0.7, -min(rows) * tall + 0.7),
        aspect="equal",
    )
    axis.legend(
        handles=[
            Line2D([], [], color=FORWARD, linewidth=3, label="value (forward)"),
            Line2D([], [], color=BACK, linewidth=3, label="gradient (back)"),
            Line2D([], [], color=COLORS[3], linewidth=3, label="local derivative"),
        ],
        loc="upper right",
        ncols=3,
    )
    axis.set_title(subtitle, fontsize=9, weight="normal", color=MUTED)
    headline(figure, title)
    return figure


def _node(axis: Axes, x: float, y: float, text: str, radius: float = 0.3) -> None:
    axis.add_patch(Circle((x, y), radius, fc="white", ec=INK, linewidth=1.2, zorder=3))
    axis.text(x, y, text, ha="center", va="center", fontsize=8.5, zorder=4)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=INK, shrinkA=0, shrinkB=0)
    )


def _edge(axis: Axes, start: tuple[float, float], end: tuple[float, float], share: float) -> None:
    color, width = _color(share), 0.4 + 3.6 * abs(share)
    axis.plot([start[0], end[0]], [start[1], end[1]], color=color, linewidth=width, alpha=0.75, zorder=1)


def _tile(
    axis: Axes,
    x: float,
    y: float,
    values: np.ndarray,
    limit: float,
    name: str,
    half: float = 0.42,
    side: str = "left",
) -> None:
    """A small surface in place of a node."""
    limit = max(limit, 1e-9)
    extent = (x - half, x + half, y - half, y + half)
    axis.imshow(values, extent=extent, origin="lower", cmap=DIVERGING, vmin=-limit, vmax=limit, zorder=3)
    axis.plot(
        [x - half, x + half, x + half, x - half, x - half],
        [y - half, y - half, y + half, y + half, y - half],
        color=MUTED,
        linewidth=0.8,
        zorder=4,
    )
    if side == "left":
        axis.text(x - half - 0.1, y, name, ha="right", va="center", fontsize=8, bbox=BOX, zorder=4)
    else:
        axis.text(x, y - half - 0.12, name, ha="center", va="top", fontsize=8, color=MUTED)


def _color(weight: float) -> str:
    return POSITIVE if weight >= 0 else NEGATIVE


def _width(weight: float, largest: float) -> float:
    return 0.8 + 4 * min(1.0, abs(weight) / largest)
