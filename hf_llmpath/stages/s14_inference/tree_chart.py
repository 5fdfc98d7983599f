"""A beam search as a tree: a column per step, a box per text that was kept, the likeliest on top."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from ...charts.style import COLORS, GRID, INK, MUTED, subplots, visible


def beam_tree(steps: Sequence[Sequence[dict[str, Any]]], prompt: str) -> Figure:
    """
    Args:
        steps: nodes as `inference.beam_tree.beam_tree` returns them.
        prompt: what the texts go on from.
    """
    rows = max(map(len, steps))
    figure, axis = subplots(width=max(7.2, 1.45 * (len(steps) + 1)), height=1.2 + 0.62 * rows)
    for depth, nodes in enumerate(steps):
        for place, node in enumerate(nodes):
            start = (depth - 1, node["parent"]) if depth else (-0.66, (rows - 1) / 2)
            color, width = (COLORS[1], 2.2) if node["best"] else (GRID, 1.2)
            axis.plot(
                [start[0], depth - 0.34],
                [start[1], place],
                color=color,
                linewidth=width,
                zorder=1 + node["best"],
            )
            word = visible(node["token"])
            axis.text(
                depth,
                place,
                f"{word[:14]}\n{node['log_probability']:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color=INK,
                bbox={
                    "boxstyle": "round,pad=0.3",
                    "facecolor": "#f3f4f6" if node["ended"] else "white",
                    "edgecolor": COLORS[1] if node["best"] else GRID,
                },
                zorder=3,
            )
    shown = prompt if len(prompt) <= 18 else "…" + prompt[-17:]
    axis.text(-0.7, (rows - 1) / 2, shown, ha="right", va="center", fontsize=8, color=MUTED)
    axis.set(xlim=(-1.9, len(steps) - 0.4), ylim=(rows - 0.4, -0.6), xticks=[], yticks=[])
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.set_title(
        "Beam search: log-probability of each text so far; gray: ended; orange: the way to the best"
    )
    return figure
