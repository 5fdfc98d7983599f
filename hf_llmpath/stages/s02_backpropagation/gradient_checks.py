"""Every layer of the NumPy engine under every loss: its gradients against central differences and torch's
autograd.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
from .gradient_check import check_gradients, relative_error

ROWS, INPUTS, WIDTH, OUTPUTS = 6, 3, 5, 4

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


def gradient_errors(seed: int) -> list[dict[str, Any]]:
    """One row per layer and loss, for a dense layer, the layer and a dense layer with random weights, in
    training mode.

    Returns:
        `layer`, `loss`, and the largest relative error (see `relative_error`) of any gradient, that of
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
            x, target = rng.normal(size=(ROWS, INPUTS)), _target(loss, rng)
            central = check_gradients(network, ours(), x, target, training=True)
            autograd = autograd_errors(network, ours(), theirs(), x, target)
            rows.append(
                {
                    "layer": layer,
                    "loss": loss,
                    "central_difference": max(central.values()),
                    "autograd": max(autograd.values()),
                }
            )
    return rows


def autograd_errors(
    network: Network, ours: Loss, theirs: nn.Module, x: np.ndarray, target: np.ndarray
) -> dict[str, float]:
    """Relative error of every gradient of `network`, in training mode, against torch's autograd on the
    same numbers.
    """
    ours.forward(network.forward(x, training=True), target)
    gradients = {"input": network.backward(ours.backward())}
    gradients |= {name: gradient for name, _, gradient in network.parameters()}
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value, _ in network.parameters()}
    leaves["input"] = torch.tensor(x, requires_grad=True)
    y = leaves["input"]
    for place, layer in enumerate(network.layers):
        y = _in_torch(layer, y, {name: leaves[f"{place}.{name}"] for name in layer.params})
    theirs(y, torch.tensor(target)).backward()
    return {name: relative_error(gradients[name], leaf.grad.numpy()) for name, leaf in leaves.items()}


def _in_torch(layer: Layer, x: Tensor, params: dict[str, Tensor]) -> Tensor:
    """What torch computes for the layer."""
    functional = nn.functional
    if isinstance(layer, Dense):
        return functional.linear(x, params["weight"], params["bias"])
    if isinstance(layer, BatchNorm):
        return functional.batch_norm(
            x, None, None, params["weight"], params["bias"], training=True, eps=layer.eps
        )
    if isinstance(layer, Dropout):
        return x * torch.tensor(layer.mask)  # the same mask: both must drop the same features
    return {
        Sigmoid: torch.sigmoid,
        Tanh: torch.tanh,
        ReLU: torch.relu,
        GELU: functional.gelu,
        Softmax: lambda y: torch.softmax(y, dim=-1),
    }[type(layer)](x)


def _target(loss: str, rng: np.random.Generator) -> np.ndarray:
    if loss == "CategoricalCrossEntropy":
        return rng.integers(0, OUTPUTS, ROWS)
    return rng.random((ROWS, OUTPUTS))
