"""Classifiers of points in the plane, trained by the NumPy engine: XOR, moons, circles, spirals, and how
their surface looks.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForImageClassification

from ...convert.numpy_network import from_mlp, to_mlp
from ...data.points import Points
from ...runs import Run
from ...scratch import SGD, BinaryCrossEntropy, Dense, Network, feed_forward
from ...scratch.activations import sigmoid
from ..numpy_loop import Examples, fit_numpy

RESOLUTION, UNIT_RESOLUTION = 72, 40  # cells of a surface in each direction, the network's and its units'
MARGIN = 0.12  # of the points' extent, on each side


@dataclass(frozen=True)
class Plan:
    """A network and how it is trained.

    Attributes:
        hidden_sizes: units of each hidden layer; empty for a single layer.
        activation: `"sigmoid"`, `"tanh"`, `"relu"` or `"gelu"`.
        learning_rate, epochs, batch_size: of mini-batch gradient descent.
    """

    hidden_sizes: tuple[int, ...]
    activation: str
    learning_rate: float
    epochs: int
    batch_size: int

    def network(self, seed: int, dtype: str = "float32") -> Network:
        """Untrained: two numbers in, one logit out."""
        return feed_forward((2, *self.hidden_sizes, 1), self.activation, np.random.default_rng(seed), dtype)


def accuracy(network: Network, points: Points, threshold: float = 0.0) -> float:
    """Share of the points on the right side of the decision line, where the output is `threshold`."""
    return float(np.mean((network.predict(points.x)[:, 0] > threshold) == points.labels))


def linear_accuracy(train: Points, test: Points) -> float:
    """What a straight line can do: scikit-learn's logistic regression."""
    return float(LogisticRegression().fit(train.x, train.labels).score(test.x, test.labels))


def train_classifier(
    train: Points, test: Points, plan: Plan, run: Run, name: str, seed: int, dtype: str = "float32"
) -> tuple[Network, dict[str, Any]]:
    """Trains a network as the part `name` of the run, once.

    Returns:
        The network, and `accuracy` and `loss` on the test points, `train_accuracy`, `train_loss`,
        `parameters`, `steps` and `seconds`.

    Raises:
        UserError: the loss was not finite.
    """
    job = run.job(name)
    network = plan.network(seed, dtype)
    weights = job.folder / "weights.npz"
    if job.done:
        with np.load(weights, allow_pickle=False) as kept:
            network.load_state_dict(dict(kept))
        return network, job.result
    loss = BinaryCrossEntropy()

    def measure(network: Network) -> dict[str, float]:
        value = loss.forward(network.predict(test.x), test.targets)
        return {"test_loss": value, "test_accuracy": accuracy(network, test)}

    began = time.perf_counter()
    fit = fit_numpy(
        network,
        Examples(train.x, train.targets),
        loss,
        SGD(network, plan.learning_rate),
        job,
        plan.epochs,
        plan.batch_size,
        seed,
        measure,
    ).require_finite(plan.learning_rate)
    seconds = time.perf_counter() - began
    np.savez(weights, **network.state_dict())
    measured = measure(network)
    result = {
        "accuracy": measured["test_accuracy"],
        "loss": measured["test_loss"],
        "train_accuracy": accuracy(network, train),
        "train_loss": loss.forward(network.predict(train.x), train.targets),
        "parameters": sum(value.size for _, value, _ in network.parameters()),
        "steps": fit.steps,
        "seconds": seconds,
    }
    return network, job.finish(result)


def surface(network: Network, points: Points, units: int = 0) -> dict[str, Any]:
    """What the network says everywhere around the points, for a picture.

    Args:
        units: the first so many hidden units are shown as well.

    Returns:
        `extent` [left, right, bottom, top]; `probability` of class 1 as rows from bottom to top; the
        points `x` and `labels`; with `units` also, for each hidden layer, the outputs of these units over
        the same square, and `weights` and `biases` of all layers.
    """
    low, high = points.x.min(axis=0), points.x.max(axis=0)
    half = (0.5 + MARGIN) * (high - low).max()  # a square around the points
    low, high = (low + high) / 2 - half, (low + high) / 2 + half
    outputs = network.predict(_grid(low, high, RESOLUTION))
    found: dict[str, Any] = {
        "extent": [round(float(value), 4) for value in (low[0], high[0], low[1], high[1])],
        "probability": _rounded(sigmoid(outputs[:, 0]).reshape(RESOLUTION, RESOLUTION), 4),
        "x": _rounded(points.x),
        "labels": points.labels.tolist(),
    }
    if units:
        dense = [layer for layer in network.layers if isinstance(layer, Dense)]
        answers = network.outputs(_grid(low, high, UNIT_RESOLUTION))
        found["units"] = [
            [_rounded(column.reshape(UNIT_RESOLUTION, UNIT_RESOLUTION)) for column in answer.T[:units]]
            for answer, layer in zip(answers[:-1], network.layers, strict=False)
            if not isinstance(layer, Dense)
        ]
        found["weights"] = [_rounded(layer.params["weight"], 4) for layer in dense]
        found["biases"] = [_rounded(layer.params["bias"], 4) for layer in dense]
    return found


def _grid(low: np.ndarray, high: np.ndarray, resolution: int) -> np.ndarray:
    """Points of a square from bottom to top and, in each row, from left to right: (resolution², 2)."""
    across, up = (np.linspace(low[axis], high[axis], resolution) for axis in (0, 1))
    return np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)


def _rounded(values: np.ndarray, digits: int = 3) -> list[Any]:
    return np.round(values.astype(np.float64), digits).tolist()


def save_classifier(network: Network, run: Run, name: str | None = None) -> Path:
    """Saves the network as an LLMPathMLP, in the run's `model/` or in `models/NAME`; returns the folder."""
    return run.save_model(to_mlp(network), name=name)


def differences(network: Network, folder: Path, x: np.ndarray) -> dict[str, float]:
    """How far the saved model, loaded by `AutoModelForImageClassification`, is from the NumPy network on
    the points x.

    Returns:
        For `float32` and `float64` the largest |ours − theirs| / max(1, |theirs|) of all logits. In
        float64 both compute with the same weights, those of the file.
    """
    found = {}
    for dtype in ("float32", "float64"):
        model = AutoModelForImageClassification.from_pretrained(folder, dtype=getattr(torch, dtype))
        ours = network if network.dtype == dtype else from_mlp(model)
        with torch.no_grad():
            theirs = model(torch.tensor(x, dtype=model.dtype)).logits.numpy()
        found[dtype] = float(np.max(np.abs(ours.predict(x) - theirs) / np.maximum(1, np.abs(theirs))))
    return found
