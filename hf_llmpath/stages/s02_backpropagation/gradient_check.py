"""Checks of a backward pass: against the definition of the derivative, (L(w + h) − L(w − h)) / 2h, and
against torch's autograd.

    python -m hf_llmpath.stages.s02_backpropagation.gradient_check
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...scratch import (
    GELU,
    BatchNorm,
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    Dense,
    Dropout,
    Layer,
    Loss,
    MeanSquaredError,
    Network,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)

# Smaller gradients are compared absolutely: rounding of the loss leaves about 1e-10 in a central difference.
SMALLEST = 1e-2
ROWS, INPUTS, WIDTH, OUTPUTS = 6, 3, 5, 4  # of the random networks

LAYERS: dict[str, Callable[[np.random.Generator], Layer]] = {
    "Dense": lambda rng: Dense(WIDTH, WIDTH, rng, dtype=np.float64),
    "Sigmoid": lambda rng: Sigmoid(),
    "Tanh": lambda rng: Tanh(),
    "ReLU": lambda rng: ReLU(),
    "GELU": lambda rng: GELU(),
    "Softmax": lambda rng: Softmax(),
    "Dropout": lambda rng: Dropout(0.4, rng),
    "BatchNorm": lambda rng: BatchNorm(WIDTH, dtype=np.float64),
}
LOSSES: dict[str, tuple[Callable[[], Loss], Callable[[], nn.Module]]] = {
    "MeanSquaredError": (MeanSquaredError, nn.MSELoss),
    "BinaryCrossEntropy": (BinaryCrossEntropy, nn.BCEWithLogitsLoss),
    "CategoricalCrossEntropy": (CategoricalCrossEntropy, nn.CrossEntropyLoss),
}


def central_difference(function: Callable[[], float], array: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Numerical gradient of `function()` with respect to the `array` it reads; its error falls as step²."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        below = function()
        array[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


def relative_error(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, divided by the largest number (or by `SMALLEST`)."""
    scale = max(np.abs(one).max(), np.abs(other).max(), SMALLEST)
    return float(np.abs(one - other).max() / scale)


def check_gradients(
    network: Network,
    loss: Loss,
    x: np.ndarray,
    target: np.ndarray,
    step: float = 1e-5,
    training: bool = False,
) -> dict[str, float]:
    """The relative error of every gradient of `network`, measured against central differences.

    The weights must be float64: in float32 the differences drown in rounding. Every evaluation works on a
    copy, which makes dropout draw the same mask again and leaves the statistics of batch normalization alone.

    Returns:
        Errors by the name of the parameter; `"input"` is the gradient with respect to x.

    Raises:
        ValueError: the network is not float64.
    """
    if network.dtype != np.float64:
        raise ValueError(f"gradients are checked in float64; the network is {network.dtype}")
    x = np.array(x, dtype=np.float64)

    def loss_value() -> float:
        return loss.forward(copy.deepcopy(network).forward(x, training), target)

    twin = copy.deepcopy(network)
    loss.forward(twin.forward(x, training), target)
    gradients = {"input": twin.backward(loss.backward())}
    gradients |= {name: gradient for name, _, gradient in twin.parameters()}
    arrays = {"input": x} | {name: array for name, array, _ in network.parameters()}
    return {
        name: relative_error(gradients[name], central_difference(loss_value, array, step))
        for name, array in arrays.items()
    }


def autograd_errors(
    network: Network, ours: Loss, theirs: nn.Module, x: np.ndarray, target: np.ndarray
) -> dict[str, float]:
    """The relative error of every gradient of `network` in training mode, measured against torch's autograd.

    Args:
        ours, theirs: the same loss, here and in torch.
    """
    ours.forward(network.forward(x, training=True), target)
    gradients = {"input": network.backward(ours.backward())}
    gradients |= {name: gradient for name, _, gradient in network.parameters()}
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value, _ in network.parameters()}
    leaves["input"] = y = torch.tensor(x, requires_grad=True)
    for index, layer in enumerate(network.layers):
        y = _in_torch(layer, y, {name: leaves[f"{index}.{name}"] for name in layer.params})
    theirs(y, torch.tensor(target)).backward()
    return {name: relative_error(gradients[name], leaf.grad.numpy()) for name, leaf in leaves.items()}


def _in_torch(layer: Layer, x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """The layer's forward pass, computed by torch."""
    match layer:
        case Dense():
            return F.linear(x, params["weight"], params["bias"])
        case BatchNorm():
            return F.batch_norm(x, None, None, params["weight"], params["bias"], training=True, eps=layer.eps)
        case Dropout():
            return x * torch.tensor(layer.mask)  # the same mask: both must drop the same features
        case Softmax():
            return x.softmax(dim=-1)
        case GELU():
            return F.gelu(x)
    return {Sigmoid: torch.sigmoid, Tanh: torch.tanh, ReLU: torch.relu}[type(layer)](x)


def gradient_errors(seed: int) -> list[dict[str, Any]]:
    """Checks each layer, between two dense layers with random weights, under each loss.

    Returns:
        One row per layer and loss: `layer`, `loss`, and the largest relative error of any gradient, that of
        the input included, against `central_difference` and against `autograd`.
    """
    rows = []
    for layer, make in LAYERS.items():
        for loss, (ours, theirs) in LOSSES.items():
            rng = np.random.default_rng(seed)
            ends = (Dense(INPUTS, WIDTH, rng, dtype=np.float64), Dense(WIDTH, OUTPUTS, rng, dtype=np.float64))
            network = Network([ends[0], make(rng), ends[1]])
            for _, value, _ in network.parameters():
                value[...] = rng.normal(size=value.shape)
            x = rng.normal(size=(ROWS, INPUTS))
            classes = loss == "CategoricalCrossEntropy"
            target = rng.integers(0, OUTPUTS, ROWS) if classes else rng.random((ROWS, OUTPUTS))
            central = check_gradients(network, ours(), x, target, training=True)
            autograd = autograd_errors(network, ours(), theirs(), x, target)
            errors = {"central_difference": max(central.values()), "autograd": max(autograd.values())}
            rows.append({"layer": layer, "loss": loss} | errors)
    return rows


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    network = Network([Dense(2, 3, rng, dtype=np.float64), Tanh(), Dense(3, 1, rng, dtype=np.float64)])
    x, target = rng.normal(size=(5, 2)), rng.integers(0, 2, (5, 1))
    for name, error in check_gradients(network, BinaryCrossEntropy(), x, target).items():
        print(f"{name:10} relative error {error:.1e}")
