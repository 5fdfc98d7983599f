"""Layers and losses next to torch's, with the same weights."""

import numpy as np
import torch

from hf_llmpath import scratch

FLOAT64 = {"dtype": torch.float64}

LAYERS = {
    "dense": (
        lambda rng: scratch.Dense(5, 4, rng, dtype=np.float64),
        lambda: torch.nn.Linear(5, 4, **FLOAT64),
    ),
    "batch_norm": (
        lambda rng: scratch.BatchNorm(5, eps=1e-4, momentum=0.3, dtype=np.float64),
        lambda: torch.nn.BatchNorm1d(5, eps=1e-4, momentum=0.3, **FLOAT64),
    ),
    "sigmoid": (lambda rng: scratch.Sigmoid(), torch.nn.Sigmoid),
    "tanh": (lambda rng: scratch.Tanh(), torch.nn.Tanh),
    "relu": (lambda rng: scratch.ReLU(), torch.nn.ReLU),
    "gelu": (lambda rng: scratch.GELU(), torch.nn.GELU),
    "softmax": (lambda rng: scratch.Softmax(), lambda: torch.nn.Softmax(dim=-1)),
}
LOSSES = {
    "mse": (scratch.MeanSquaredError, torch.nn.MSELoss),
    "bce": (scratch.BinaryCrossEntropy, torch.nn.BCEWithLogitsLoss),
    "cross_entropy": (scratch.CategoricalCrossEntropy, torch.nn.CrossEntropyLoss),
}


def pair(name, seed=0):
    """The layer `name` with random parameters, ours and torch's."""
    rng = np.random.default_rng(seed)
    ours, theirs = LAYERS[name][0](rng), LAYERS[name][1]()
    for value in ours.params.values():
        value[...] = rng.normal(size=value.shape)
    for parameter, value in ours.params.items():
        getattr(theirs, parameter).data = torch.tensor(value)
    return ours, theirs


def target_for(loss, prediction, rng):
    """A random target that the loss takes with this prediction."""
    if loss == "cross_entropy":
        return rng.integers(0, prediction.shape[1], len(prediction))
    return rng.random(prediction.shape) if loss == "bce" else rng.normal(size=prediction.shape)
