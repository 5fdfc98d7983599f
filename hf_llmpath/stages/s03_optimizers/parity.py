"""Measures parity with torch.optim: trains the same network three times and compares the weights."""

from typing import Any

import numpy as np
import torch

from ...scratch import CategoricalCrossEntropy, Dense, Network, Tanh
from ...training import optimizers as in_torch
from .descent import OPTIMIZERS

STEPS = 200
BATCH = 32
HIDDEN = 16
DECAY = 0.01  # in every comparison, so weight decay is compared too
RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.003, "adam": 0.01, "adamw": 0.01}


def largest_difference(name: str, x: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Trains a network in float64 for `STEPS` steps with each implementation of an optimizer.

    The implementations are the NumPy class of `scratch`, the torch class of `training.optimizers`, and the
    class of torch.optim, which is the reference.

    Returns:
        For `"numpy"` and `"torch"`, the largest absolute difference of a weight from the reference, over all
        steps.
    """
    make, arguments = OPTIMIZERS[name]
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    first = Dense(x.shape[1], HIDDEN, rng, dtype=np.float64)
    network = Network([first, Tanh(), Dense(HIDDEN, classes, rng, dtype=np.float64)])
    optimizer = make(network, RATES[name], weight_decay=DECAY, **arguments)
    loss = CategoricalCrossEntropy()
    ours = getattr(in_torch, make.__name__)
    # torch.optim has no class for momentum: its SGD takes `momentum` and `nesterov`.
    theirs = torch.optim.SGD if make.__name__ == "Momentum" else getattr(torch.optim, make.__name__)
    twins = [_twin(network, cls, arguments, RATES[name]) for cls in (ours, theirs)]
    largest = {"numpy": 0.0, "torch": 0.0}
    for _ in range(STEPS):
        batch = rng.integers(0, len(x), BATCH)  # (batch,), with replacement
        network.gradient(x[batch], labels[batch], loss)
        optimizer.step()
        for model, twin_optimizer in twins:
            twin_optimizer.zero_grad()
            logits = model(torch.from_numpy(x[batch]).double())  # (batch, pixels) -> (batch, classes)
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[batch])).backward()
            twin_optimizer.step()
        in_numpy = [value for _, value, _ in network.parameters()]
        in_ours, reference = ([p.detach().numpy() for p in model.parameters()] for model, _ in twins)
        for key, weights in (("numpy", in_numpy), ("torch", in_ours)):
            apart = max(np.abs(one - other).max() for one, other in zip(weights, reference, strict=True))
            largest[key] = max(largest[key], float(apart))
    return largest


def _twin(
    network: Network, cls: type[torch.optim.Optimizer], arguments: dict[str, Any], rate: float
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Returns a torch network with the same weights, and an optimizer for it."""
    first, _, last = network.layers
    sizes = first.params["weight"].shape, last.params["weight"].shape  # (outputs, inputs) each
    model = torch.nn.Sequential(
        torch.nn.Linear(sizes[0][1], sizes[0][0]), torch.nn.Tanh(), torch.nn.Linear(sizes[1][1], sizes[1][0])
    ).double()
    # `Network` names its parameters as `Sequential` does.
    model.load_state_dict({name: torch.tensor(value) for name, value in network.state_dict().items()})
    return model, cls(model.parameters(), lr=rate, weight_decay=DECAY, **arguments)
