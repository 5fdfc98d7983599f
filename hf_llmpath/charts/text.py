"""Pictures over a text: rows of numbers above its characters, and the text itself in colors or as samples."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .style import INK, MUTED, subplots, visible


def heat_map(
    rows: Sequence[Sequence[float]],
    characters: Sequence[str],
    labels: Sequence[str],
    title: str,
    colors: str = "RdBu_r",
    low: float = -1.0,
    high: float = 1.0,
) -> Figure:
    """Units (rows) over the characters of a text (columns)."""
    values = np.asarray(rows)
    figure, axis = subplots(width=min(14.0, 1.6 + 0.125 * values.shape[1]), height=1.2 + 0.17 * len(values))
    picture = axis.imshow(values, aspect="auto", cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    axis.set_xticks(
        range(len(characters)), [visible(c) for c in characters], fontsize=6.5, family="DejaVu Sans Mono"
    )
    axis.set_yticks(range(len(labels)), labels, fontsize=7)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.set_title(title)
    figure.colorbar(picture, ax=axis, pad=0.01, fraction=0.02)
    return figure


def gate_strips(
    strips: Mapping[str, Sequence[Sequence[float]]], characters: Sequence[str], title: str
) -> Figure:
    """One heat map per gate, over the same text."""
    width = min(14.0, 1.6 + 0.125 * len(characters))
    figure, axes = subplots(
        len(strips), 1, width=width, height=0.7 + 1.25 * len(strips), sharex=True, squeeze=False
    )
    for axis, (name, rows) in zip(axes[:, 0], strips.items(), strict=True):
        signed = name in ("cell_candidate", "candidate", "cell_state")
        limit = max(1.0, float(np.abs(rows).max())) if name == "cell_state" else 1.0
        options = (
            {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
            if signed
            else {"cmap": "viridis", "vmin": 0, "vmax": 1}
        )
        picture = axis.imshow(np.asarray(rows), aspect="auto", interpolation="nearest", **options)
        axis.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center")
        axis.set_yticks([])
        axis.grid(visible=False)
        axis.tick_params(length=0)
        figure.colorbar(picture, ax=axis, pad=0.01, fraction=0.02)
    axes[-1, 0].set_xticks(
        range(len(characters)), [visible(c) for c in characters], fontsize=6.5, family="DejaVu Sans Mono"
    )
    axes[0, 0].set_title(title)
    return figure


def colored_text(characters: Sequence[str], values: Sequence[float], title: str, columns: int = 72) -> Figure:
    """The text itself, each character on the color of one unit's value (-1 blue, +1 red)."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    lines: list[list[tuple[str, float]]] = [[]]
    for character, value in zip(characters, values, strict=True):
        lines[-1].append((visible(character), value))
        if (
            character == "\n"
            or (len(lines[-1]) >= columns and character == " ")
            or len(lines[-1]) >= columns + 12
        ):
            lines.append([])
    lines = [line for line in lines if line]
    figure, axis = subplots(width=9.6, height=0.5 + 0.24 * len(lines))
    palette = colormaps["RdBu_r"]
    for row, line in enumerate(lines):
        for column, (character, value) in enumerate(line):
            axis.add_patch(
                Rectangle((column, row), 1, 1, color=palette(0.5 + 0.38 * float(value)), linewidth=0)
            )
            axis.text(
                column + 0.5,
                row + 0.68,
                character,
                ha="center",
                va="baseline",
                fontsize=8,
                family="DejaVu Sans Mono",
                color=INK,
            )
    axis.set(xlim=(0, columns + 12), ylim=(len(lines), 0), title=title)
    axis.axis("off")
    return figure


def samples(texts: Mapping[str, str], title: str) -> Figure:
    """Samples side by side, one column per name, wrapped."""
    columns = len(texts)
    longest = min(100, 138 // columns)  # characters of a line: what fits, and no more than an eye follows
    wrapped = {
        name: "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, longest) or [""])
        for name, text in texts.items()
    }
    height = 0.75 + 0.132 * max(5, *(text.count("\n") + 1 for text in wrapped.values()))
    figure, axes = subplots(1, columns, width=9.6, height=height, squeeze=False)
    for axis, (name, text) in zip(axes[0], wrapped.items(), strict=True):
        axis.axis("off")
        axis.set_title(name, color=MUTED, fontsize=9)
        axis.text(
            0,
            1,
            text.replace("$", r"\$"),
            va="top",
            family="DejaVu Sans Mono",
            fontsize=7.5,
            color=INK,
            transform=axis.transAxes,
        )
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure
