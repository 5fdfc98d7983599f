"""Draws gradients and activations by layer, the training of deep networks, and the confusion matrix."""

import math
from pathlib import Path

from ...charts.matrix import confusion
from ...charts.picture import Picture, panels, save_all
from ...charts.plots import Line, histogram, line_chart
from ...charts.text import table
from ...runs import RunFolder
from . import ACTIVATIONS, DEEP, INITIALIZATIONS, shown

LINES = ("sigmoid_normal", "sigmoid_xavier", "tanh_xavier", "relu_normal", "relu_he", "relu_he_residual")


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    metrics, answers = folder.metrics, folder.figure_data("confusion")
    return {
        "gradient_norms": gradient_norms(folder, LINES),
        "gradient_ratios": _ratios(metrics),
        "activations": _activations(folder),
        "deep_training": _deep_training(folder),
        "confusion": confusion(answers["counts"], answers["classes"], f"Accuracy {metrics['accuracy']:.1%}"),
    }


def gradient_norms(folder: RunFolder, names: tuple[str, ...] | list[str]) -> Picture:
    """Draws the gradient norm by layer of the networks `names`, before training."""
    norms = folder.figure_data("gradient_norms")
    lines = {
        shown(name): Line(range(1, len(norms[name]) + 1), norms[name], points=True)
        for name in norms
        if name in names
    }
    return line_chart(
        lines,
        "Gradient norm by layer, before training",
        "hidden layer (1 reads the image)",
        "norm of the gradient at the weights",
        log_y=True,
    )


def _ratios(metrics: dict[str, float]) -> Picture:
    """Draws the ratio of the first layer's gradient norm to the last layer's, red if far from 1."""
    rows, fills = [], {}
    for row, activation in enumerate(ACTIVATIONS):
        ratios = [metrics[f"gradient_ratio/{activation}_{init}"] for init in INITIALIZATIONS]
        rows.append([shown(activation), *(f"{ratio:.2g}" for ratio in ratios)])
        for column, ratio in enumerate(ratios):
            # The distance from 1 in powers of ten; the floor keeps the logarithm of a zero ratio finite.
            decades = min(9.0, abs(math.log10(max(ratio, 1e-30))))
            fills[row, column] = f"rgba(190, 40, 40, {decades / 15:.2f})"
    headers = ["", *map(shown, INITIALIZATIONS)]
    return table(headers, rows, "Gradient norm, first layer / last layer", fills=fills)


def _activations(folder: RunFolder) -> Picture:
    """Draws the distribution of the outputs of some layers, with a row of panels per network."""
    charts = {}
    for name, layers in folder.figure_data("activations").items():
        depth = len(layers)
        for number in sorted({1, max(1, depth // 4), max(1, depth // 2), depth}):
            layer = layers[number - 1]
            title = f"{shown(name)}, layer {number}: deviation {layer['std']:.2g}"
            # Every output of a dead layer is the same, and its deviation is 0.
            edges = [edge / (layer["std"] or 1.0) for edge in layer["edges"]]
            charts[title] = histogram({"share": (edges, layer["shares"])}, title, "output / deviation")
    return panels(charts, "Activations before training", columns=4)


def _deep_training(folder: RunFolder) -> Picture:
    lines = {}
    for name in DEEP:
        rows = [row for row in folder.history if row["part"] == f"deep-{name}" and "loss" in row]
        lines[shown(name)] = ([row["step"] for row in rows], [row["loss"] for row in rows])
    depth = len(next(iter(folder.figure_data("gradient_norms").values())))
    return line_chart(lines, f"The same training with {depth} layers", "step", "training loss")
