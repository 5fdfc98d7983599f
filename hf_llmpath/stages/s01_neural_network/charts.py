"""Draws a neuron, the activation functions, XOR, decision surfaces, hidden units, and weights."""

from pathlib import Path
from typing import Any

import numpy as np

from ...charts.decision_surface import decision_surfaces, network_diagram, neuron, unit_surfaces
from ...charts.picture import Picture, panels, save_all
from ...charts.plots import Line, bar_chart, line_chart
from ...runs import RunFolder
from ...scratch import ACTIVATIONS

ACTIVATION_NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU", "gelu": "GELU"}
DETAILED = "spirals"  # the shape whose hidden units get a picture


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    surfaces, xor = folder.figure_data("surfaces"), folder.figure_data("xor")
    settings = folder.report["settings"]
    single, answers = xor["right"]["0"], np.array(xor["single_layer"]["probability"])
    # A single layer has the lowest mean loss on XOR if it answers 0.5 everywhere, and the title then says so.
    flat = f"{answers.mean():.2f} everywhere; " if np.ptp(answers) < 0.02 else ""
    units, right = settings["xor_hidden_size"], 4 * surfaces["xor"]["accuracy"]  # of four points
    xor_surfaces = {
        f"single layer: {flat}best of {len(single)} seeds: {max(single)} of 4": xor["single_layer"],
        f"{units} hidden units: {right:.0f} of 4": surfaces["xor"],
    }
    shapes = {f"{name}: {data['accuracy']:.1%}": data for name, data in surfaces.items() if name != "xor"}
    solved = {_size(units): sum(count == 4 for count in right) for units, right in xor["right"].items()}
    losses = {_size(units): (range(1, len(y) + 1), y) for units, y in xor["curve"].items()}
    return {
        "neuron": _neuron(surfaces["xor"]),
        "activations": _activations(),
        "xor": decision_surfaces(xor_surfaces, "XOR: one straight line is not enough"),
        "network": network_diagram(
            surfaces["xor"], "The network that learned XOR: weights are edges, each unit shows its answer"
        ),
        "shapes": decision_surfaces(shapes, "The same network on other points, with its test accuracy"),
        "units": unit_surfaces(
            surfaces[DETAILED]["units"][0], f"The first hidden units of the network for the {DETAILED}"
        ),
        "xor_by_units": bar_chart(
            solved,
            "XOR by number of hidden units",
            f"networks that got all four points, of {settings['xor_seeds']}",
        ),
        "xor_loss": line_chart(
            losses, "Loss while learning XOR, first seed", "step", "binary cross-entropy, nats"
        ),
    }


def _activations() -> Picture:
    """Draws each activation function and its derivative, computed by the layer's two passes."""
    x, charts = np.linspace(-4, 4, 161), {}
    for name, kind in ACTIVATIONS.items():
        layer = kind()
        # With dL/dy = 1, the backward pass returns dL/dx = f′(x). Both are (points,).
        values, slopes = layer.forward(x), layer.backward(np.ones_like(x))
        lines = {"f(x)": Line(x, values), "f′(x)": Line(x, slopes, dashed=True)}
        charts[ACTIVATION_NAMES[name]] = line_chart(lines, ACTIVATION_NAMES[name], "x", y_range=(-1.1, 2.1))
    return panels(charts, "Activation functions and their derivatives", columns=4)


def _neuron(data: dict[str, Any]) -> Picture:
    """Draws the hidden unit with the largest outgoing weight, with the corner (1, 0) as its input."""
    unit = int(np.argmax(np.abs(data["weights"][1][0])))  # of (1, units) -> (units,)
    weights, bias = data["weights"][0][unit], data["biases"][0][unit]  # (2,), and a number
    inputs = {"x₁": 1.0, "x₂": 0.0}
    total = float(np.dot(list(inputs.values()), weights) + bias)  # w · x + b
    return neuron(inputs, weights, bias, "tanh", float(np.tanh(total)))


def _size(units: str) -> str:
    return {"0": "single layer", "1": "1 hidden unit"}.get(units, f"{units} hidden units")
