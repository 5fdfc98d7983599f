"""One neuron, the activations, XOR with and without a hidden layer, decision surfaces, units and weights,
and the loss.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.network import network_diagram, neuron
from ...charts.style import save, subplots
from ...charts.surface import decision_surfaces, headline, unit_surfaces
from ...runs import RunFolder
from ...scratch import ACTIVATIONS

ACTIVATION_NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU", "gelu": "GELU"}
DETAILED = "spirals"  # the shape whose units are all shown


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    surfaces, xor = folder.figure_data("surfaces"), folder.figure_data("xor")
    settings = folder.report["settings"]
    single = max(xor["right"]["0"])
    compared = {
        f"single layer (best of {len(xor['right']['0'])}: {single} of 4)": xor["single_layer"],
        f"{settings['xor_hidden_size']} hidden units: {surfaces['xor']['accuracy'] * 4:.0f} of 4": surfaces[
            "xor"
        ],
    }
    shapes = {f"{name}: {data['accuracy']:.1%}": data for name, data in surfaces.items() if name != "xor"}
    solved = {_units(units): sum(right == 4 for right in found) for units, found in xor["right"].items()}
    return [
        save(neuron(**_a_neuron(surfaces["xor"])), target / "neuron.png"),
        save(activation_curves(), target / "activations.png"),
        save(decision_surfaces(compared, "XOR: one straight line is not enough"), target / "xor.png"),
        save(
            network_diagram(
                surfaces["xor"], "The network that learned XOR: weights as edges, what each unit answers"
            ),
            target / "network.png",
        ),
        save(
            decision_surfaces(shapes, "The same network on other points (accuracy on points not learned)"),
            target / "shapes.png",
        ),
        save(
            unit_surfaces(
                surfaces[DETAILED]["units"][0],
                surfaces[DETAILED]["extent"],
                f"The first hidden units of the network that learned the {DETAILED}",
            ),
            target / "units.png",
        ),
        save(
            score_bars(
                solved,
                "XOR by hidden units",
                f"networks that got all four points, of {settings['xor_seeds']}",
            ),
            target / "xor_by_units.png",
        ),
        save(xor_losses(xor["curve"]), target / "xor_loss.png"),
    ]


def xor_losses(curve: dict[str, list[float]]) -> Figure:
    """Loss of the first seed at every step, by number of hidden units."""
    lines = {_units(units): (range(1, len(y) + 1), y) for units, y in curve.items()}
    figure = curves(lines, "Learning XOR, first seed", "step", "binary cross-entropy, nats")
    axis = figure.axes[0]
    axis.set_ylim(0, 1.3 * max(max(y) for y in curve.values()))
    axis.legend(ncols=3, loc="upper right")
    return figure


def activation_curves() -> Figure:
    """Each activation function and its derivative, by the layers' own forward and backward pass."""
    figure, axes = subplots(1, len(ACTIVATIONS), width=9.6, height=2.9, sharey=True)
    x = np.linspace(-4, 4, 401)
    for axis, (name, kind) in zip(axes, ACTIVATIONS.items(), strict=True):
        layer = kind()
        axis.plot(x, layer.forward(x), label="f(x)")
        axis.plot(x, layer.backward(np.ones_like(x)), linestyle="--", label="f′(x)")
        axis.set(title=ACTIVATION_NAMES[name], ylim=(-1.2, 2.2), xlabel="x")
    axes[0].legend(loc="upper left")
    headline(figure, "Activation functions and their derivatives")
    return figure


def _a_neuron(data: dict[str, Any]) -> dict[str, Any]:
    """The hidden unit with the largest outgoing weight, at the corner (1, 0)."""
    unit = int(np.argmax(np.abs(data["weights"][1][0])))
    weights, bias = data["weights"][0][unit], data["biases"][0][unit]
    inputs = {"x₁": 1.0, "x₂": 0.0}
    total = float(np.dot(list(inputs.values()), weights) + bias)
    return {
        "inputs": inputs,
        "weights": weights,
        "bias": bias,
        "activation": "tanh",
        "output": float(np.tanh(total)),
    }


def _units(units: str) -> str:
    return {"0": "single layer", "1": "1 hidden unit"}.get(units, f"{units} hidden units")
