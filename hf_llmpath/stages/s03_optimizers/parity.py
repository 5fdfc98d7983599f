"""Ours beside torch.optim: the same network trained three times, and how far the weights come apart."""

from typing import Any

import numpy as np
import torch

from ...scratch import CategoricalCrossEntropy, Dense, Network, Tanh
from ...training import optimizers as in_torch
from .descent import OPTIMIZERS

STEPS = 200
BATCH = 32
HIDDEN = 16
DECAY = 0.01  # on in every comparison, so that it is compared as well
RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.003, "adam": 0.01, "adamw": 0.01}


def largest_difference(name: str, x: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Trains a network in float64 for `STEPS` steps by the NumPy rule, by our torch rule and by
    torch.optim's.

    Returns:
        `"numpy"` and `"torch"`: largest absolute difference of a weight from torch.optim's, over all steps.
    """
    make, arguments = OPTIMIZERS[name]
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    network = Network(
        [
            Dense(x.shape[1], HIDDEN, rng, dtype=np.float64),
            Tanh(),
            Dense(HIDDEN, classes, rng, dtype=np.float64),
        ]
    )
    optimizer = make(network, RATES[name], weight_decay=DECAY, **arguments)
    loss = CategoricalCrossEntropy()
    twins = [_twin(network, cls, arguments, RATES[name]) for cls in (_ours(name), _theirs(name))]
    found = {"numpy": 0.0, "torch": 0.0}
    for _ in range(STEPS):
        rows = rng.integers(0, len(x), BATCH)
        network.gradient(x[rows], labels[rows], loss)
        optimizer.step()
        for model, theirs in twins:
            theirs.zero_grad()
            torch.nn.functional.cross_entropy(
                model(torch.from_numpy(x[rows]).double()), torch.from_numpy(labels[rows])
            ).backward()
            theirs.step()
        mine = [value for _, value, _ in network.parameters()]
        ours, reference = ([p.detach().numpy() for p in model.parameters()] for model, _ in twins)
        for key, weights in (("numpy", mine), ("torch", ours)):
            apart = max(np.abs(one - other).max() for one, other in zip(weights, reference, strict=True))
            found[key] = max(found[key], float(apart))
    return found


def _ours(name: str) -> type[torch.optim.Optimizer]:
    return getattr(in_torch, OPTIMIZERS[name][0].__name__)


def _theirs(name: str) -> type[torch.optim.Optimizer]:
    return (
        torch.optim.SGD
        if name in ("momentum", "nesterov")
        else getattr(torch.optim, OPTIMIZERS[name][0].__name__)
    )


def _twin(
    network: Network, cls: type[torch.optim.Optimizer], arguments: dict[str, Any], rate: float
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The network in torch with the same weights, and an optimizer for it."""
    first, _, last = network.layers
    sizes = first.params["weight"].shape, last.params["weight"].shape
    model = torch.nn.Sequential(
        torch.nn.Linear(sizes[0][1], sizes[0][0]), torch.nn.Tanh(), torch.nn.Linear(sizes[1][1], sizes[1][0])
    ).double()
    model.load_state_dict({name: torch.tensor(value) for name, value in network.state_dict().items()})
    return model, cls(model.parameters(), lr=rate, weight_decay=DECAY, **arguments)
