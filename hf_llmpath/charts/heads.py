"""Pictures of a Transformer's inside: every head of every layer, one head large, rollout, masks,
positional encodings.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .style import COLORS, INK, MUTED, subplots, visible

_PALETTE = "Blues"


def head_grid(
    weights: Sequence[Sequence[Sequence[Sequence[float]]]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> Figure:
    """All layers (downwards) × heads (to the right); weights `(layers, heads, rows, columns)`. Rows ask,
    columns are asked; the tokens stand at the edges where there is room."""
    values = np.asarray(weights)
    layers, heads = values.shape[:2]
    width, shape = 9.6, len(rows) / len(columns)
    side = (width - 0.9) / heads
    room = side * 72 / max(len(columns), 1)  # points for the name of a token
    named, size = room >= 4, min(6.5, 0.95 * room)
    figure, axes = subplots(
        layers, heads, width=width, height=0.8 + layers * (side * shape + 0.25), squeeze=False
    )
    for layer in range(layers):
        for head in range(heads):
            axis = axes[layer, head]
            axis.imshow(
                values[layer, head], cmap=_PALETTE, vmin=0, vmax=1, aspect="auto", interpolation="nearest"
            )
            axis.grid(visible=False)
            axis.tick_params(length=0, pad=1, labelcolor=INK)
            _name(
                axis,
                rows if head == 0 and named else [],
                columns if layer == layers - 1 and named else [],
                size,
            )
            axis.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8, weight="normal")
            for spine in axis.spines.values():
                spine.set_visible(True)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure


def attention_map(
    weights: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    xlabel: str = "is looked at",
    ylabel: str = "looks",
    highest: float = 1.0,
) -> Figure:
    """One head, or a rollout, large: rows ask, columns are asked. Readable up to 60 tokens."""
    values = np.asarray(weights)
    cell = 0.2 if len(columns) <= 36 else 0.16
    size = 8 if len(columns) <= 36 else 6.5
    figure, axis = subplots(
        width=max(4.6, 1.9 + cell * len(columns)), height=max(2.6, 1.5 + cell * len(rows))
    )
    picture = axis.imshow(values, cmap=_PALETTE, vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
    axis.grid(visible=False)
    axis.tick_params(length=0, pad=2, labelcolor=INK)
    _name(axis, rows, columns, size)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    bar = figure.colorbar(picture, ax=axis, pad=0.02, fraction=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return figure


def _name(axis, rows: Sequence[str], columns: Sequence[str], size: float) -> None:
    long = max((len(column) for column in columns), default=0) > 1
    turn = {"rotation": 90} if long else {}
    font = {"fontsize": size, "family": "DejaVu Sans Mono"}
    axis.set_xticks(range(len(columns)), [visible(column) for column in columns], **font, **turn)
    axis.set_yticks(range(len(rows)), [visible(row) for row in rows], **font)


def mask_panels(
    masks: Mapping[str, tuple[Sequence[Sequence[bool]], Sequence[str], Sequence[str]]], title: str
) -> Figure:
    """Masks side by side, `name -> (mask, rows, columns)`: filled where a row may look at a column."""
    longest = max(len(column) for _, _, columns in masks.values() for column in columns)
    height = 3.4 if longest == 1 else 3.6 + 0.07 * longest  # room for names that stand upright
    figure, axes = subplots(1, len(masks), width=9.6, height=height, squeeze=False)
    for axis, color, (name, (mask, rows, columns)) in zip(axes[0], COLORS, masks.items(), strict=False):
        values = np.asarray(mask, dtype=float)
        shades = np.ones((*values.shape, 3)) * 0.955
        shades[values > 0] = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        axis.imshow(shades, aspect="equal", interpolation="nearest")
        axis.set_xticks(np.arange(-0.5, values.shape[1]), minor=True)
        axis.set_yticks(np.arange(-0.5, values.shape[0]), minor=True)
        axis.grid(visible=False)
        axis.grid(which="minor", color="white", linewidth=1.5)
        axis.tick_params(which="both", length=0, pad=2)
        _name(axis, rows, columns, 8)
        axis.set_title(name, fontsize=9.5)
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure


def position_curves(
    table: Sequence[Sequence[float]], products: Mapping[str, Sequence[float]], title: str
) -> Figure:
    """Sinusoidal positions `(positions, width)` as a heat map and as curves, and below them how alike two
    positions are by their distance, one line per kind of encoding (`products`: from distance 0 up)."""
    values = np.asarray(table)
    figure, axes = subplots(1, 3, width=10.4, height=3.3)
    picture = axes[0].imshow(values.T, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    axes[0].set(title="every number", xlabel="position", ylabel="dimension")
    axes[0].grid(visible=False)
    figure.colorbar(picture, ax=axes[0], pad=0.02, fraction=0.04).outline.set_visible(False)
    for dimension in (0, 8, 16, 24):
        if dimension < values.shape[1]:
            axes[1].plot(values[:, dimension], label=f"dimension {dimension}", linewidth=1.5)
    axes[1].set(title="some dimensions", xlabel="position", ylim=(-1.1, 1.75))
    axes[1].legend(ncols=2, loc="upper center")
    for name, line in products.items():
        axes[2].plot(line, label=name)
    axes[2].axhline(0, color=MUTED, linewidth=0.8)
    axes[2].set(
        title="how alike two positions are", xlabel="distance", ylabel="cosine of the angle between them"
    )
    axes[2].legend()
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure
