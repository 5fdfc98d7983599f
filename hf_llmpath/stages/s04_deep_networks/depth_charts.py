"""Pictures of deep networks: gradients and activations by layer, ratios as a table, and which classes are
confused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...charts.style import COLORS, INK, subplots


def norms_by_layer(lines: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Gradient norm of each layer, on a logarithmic axis."""
    figure, axis = subplots(width=8.4, height=4.2)
    for index, (name, norms) in enumerate(lines.items()):
        style = ("-", "--")[index >= len(COLORS)]
        axis.plot(range(1, len(norms) + 1), norms, style, marker=".", label=name)
    axis.set(
        title=title, xlabel="hidden layer (1 reads the image)", ylabel="norm of the gradient at the weights"
    )
    axis.set_yscale("log")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def ratio_table(rows: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Ratios by name of row and column, as numbers on colors: red where they vanish or explode."""
    names, columns = list(rows), list(next(iter(rows.values())))
    figure, axis = subplots(width=1.8 + 1.5 * len(columns), height=1.1 + 0.5 * len(names))
    powers = np.array(
        [[abs(np.log10(max(rows[name][column], 1e-30))) for column in columns] for name in names]
    )
    axis.imshow(np.clip(powers, 0, 9), cmap="RdYlGn_r", vmin=0, vmax=9, aspect="auto", alpha=0.75)
    for row, name in enumerate(names):
        for column, key in enumerate(columns):
            axis.text(column, row, f"{rows[name][key]:.2g}", ha="center", va="center", color=INK, fontsize=10)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(length=0, labelsize=9)
    axis.xaxis.tick_top()
    axis.grid(visible=False)
    axis.set_title(title, pad=22)
    return figure


def layer_histograms(
    nets: Mapping[str, Sequence[Mapping[str, Any]]], shown: Sequence[int], title: str
) -> Figure:
    """One row of panels per net, one panel per layer of `shown`: how its activations are distributed."""
    figure, axes = subplots(len(nets), len(shown), width=9.6, height=0.7 + 1.35 * len(nets), squeeze=False)
    for row, (color, (name, layers)) in enumerate(zip(COLORS, nets.items(), strict=False)):
        for column, number in enumerate(shown):
            axis, layer = axes[row, column], layers[number - 1]
            axis.stairs(layer["shares"], layer["edges"], fill=True, color=color)
            axis.set_yticks([])
            axis.grid(visible=False)
            axis.locator_params(axis="x", nbins=3)
            axis.tick_params(labelsize=7)
            axis.set_title(
                f"layer {number}, sd {layer['std']:.2g}" if row == 0 else f"sd {layer['std']:.2g}",
                fontsize=8,
                weight="normal",
                loc="center",
            )
        axes[row, 0].set_ylabel(name.replace(", ", "\n"), fontsize=8)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> Figure:
    """True classes (rows) against answers (columns)."""
    matrix = np.asarray(counts)
    side = min(10.0, 2.2 + 0.42 * len(classes))
    figure, axis = subplots(width=side + 0.8, height=side)
    shade = SymLogNorm(1, vmin=0, vmax=max(2, matrix.max()))
    axis.imshow(matrix, cmap="Blues", norm=shade)
    if len(classes) <= 20:
        for row, column in np.ndindex(*matrix.shape):
            if matrix[row, column]:
                light = shade(matrix[row, column]) > 0.55
                axis.text(
                    column,
                    row,
                    matrix[row, column],
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if light else INK,
                )
    axis.set_xticks(range(len(classes)), classes)
    axis.set_yticks(range(len(classes)), classes)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.set(title=title, xlabel="answer", ylabel="truth")
    return figure
