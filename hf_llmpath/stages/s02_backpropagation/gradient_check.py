"""Checks a backward pass against central differences, (L(w + h) − L(w − h)) / 2h, and torch's autograd.

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

# The smallest number that an error is divided by: rounding of the loss leaves an error of about 1e-10 in a
# central difference, however small the gradient is.
SMALLEST = 1e-2
ROWS, INPUTS, WIDTH, OUTPUTS = 6, 3, 5, 4  # sizes of the random networks and their batch

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
    """Returns the numerical gradient of `function()` with respect to `array`, which the function reads.

    The error of the gradient is proportional to step².
    """
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        below = function()
        array[index] = value
        gradient[index] = (above - below) / (2 * step)  # (L(w + h) − L(w − h)) / 2h
    return gradient


def relative_error(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the largest difference, divided by the largest absolute value (at least `SMALLEST`)."""
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
    """Compares every gradient of `network` with central differences.

    The weights must be float64, because rounding in float32 would hide the differences. Every evaluation
    works on a copy of the network, so dropout draws the same mask each time and the statistics of batch
    normalization do not change.

    Returns:
        The relative error by name of the parameter; `"input"` is the gradient with respect to x.

    Raises:
        ValueError: If the network is not float64.
    """
    if network.dtype != np.float64:
        raise ValueError(f"gradients are checked in float64; the network is {network.dtype}")
    x = np.array(x, dtype=np.float64)  # a copy, whose entries `central_difference` changes

    def loss_value() -> float:
        return loss.forward(copy.deepcopy(network).forward(x, training), target)

    twin = copy.deepcopy(network)
    loss.forward(twin.forward(x, training), target)
    gradients = {"input": twin.backward(loss.backward())}
    gradients |= {name: gradient for name, _, gradient in twin.parameters()}
    # The arrays of `network` itself: `central_difference` changes them, and `loss_value` copies them.
    arrays = {"input": x} | {name: array for name, array, _ in network.parameters()}
    return {
        name: relative_error(gradients[name], central_difference(loss_value, array, step))
        for name, array in arrays.items()
    }


def autograd_errors(
    network: Network, ours: Loss, theirs: nn.Module, x: np.ndarray, target: np.ndarray
) -> dict[str, float]:
    """Compares every gradient of `network` in training mode with torch's autograd.

    Args:
        ours, theirs: the same loss in NumPy and in torch.

    Returns:
        The relative error by name of the parameter; `"input"` is the gradient with respect to x.
    """
    # NumPy computes first, so `Dropout.mask` holds the mask that torch must apply.
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
    """Returns the output of the layer's forward pass, computed by torch."""
    match layer:
        case Dense():
            return F.linear(x, params["weight"], params["bias"])
        case BatchNorm():
            # No running statistics: in training mode, the batch provides them.
            return F.batch_norm(x, None, None, params["weight"], params["bias"], training=True, eps=layer.eps)
        case Dropout():
            return x * torch.tensor(layer.mask)  # the mask that NumPy drew: both must drop the same features
        case Softmax():
            return x.softmax(dim=-1)
        case GELU():
            return F.gelu(x)
    return {Sigmoid: torch.sigmoid, Tanh: torch.tanh, ReLU: torch.relu}[type(layer)](x)


def gradient_errors(seed: int) -> list[dict[str, Any]]:
    """Checks each layer, between two dense layers with random weights, under each loss.

    Returns:
        One row per layer and loss: `layer`, `loss`, and the largest relative error of any gradient, including
        the gradient of the input, against `central_difference` and against `autograd`.
    """
    rows = []
    for layer, make in LAYERS.items():
        for loss, (ours, theirs) in LOSSES.items():
            rng = np.random.default_rng(seed)
            ends = (Dense(INPUTS, WIDTH, rng, dtype=np.float64), Dense(WIDTH, OUTPUTS, rng, dtype=np.float64))
            network = Network([ends[0], make(rng), ends[1]])
            # Random values everywhere, because biases of 0 and scales of 1 could hide a mistake.
            for _, value, _ in network.parameters():
                value[...] = rng.normal(size=value.shape)
            x = rng.normal(size=(ROWS, INPUTS))
            classes = loss == "CategoricalCrossEntropy"  # targets: labels (rows,), else (rows, outputs)
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
