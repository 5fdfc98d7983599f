"""Trains classifiers of points in the plane with the NumPy engine and draws the surfaces they learn."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForImageClassification

from ...convert.numpy_network import from_mlp, to_mlp
from ...data.points import Points, PointSets
from ...runs import Job, Run
from ...scratch import SGD, BinaryCrossEntropy, Dense, Network, feed_forward
from ...scratch.activations import sigmoid
from ..numpy_loop import Examples, fit_numpy

RESOLUTION, UNIT_RESOLUTION = 72, 40  # cells per side of the network's surface and of its units' surfaces
MARGIN = 0.12  # share of the points' extent that is added on each side


@dataclass(frozen=True)
class PointClassifier:
    """A network for points in the plane, and how gradient descent trains it.

    Attributes:
        hidden_sizes: number of units in each hidden layer; empty for a single layer.
        activation: `"sigmoid"`, `"tanh"`, `"relu"`, or `"gelu"`.
        learning_rate, epochs, batch_size: settings of mini-batch gradient descent.
    """

    hidden_sizes: tuple[int, ...]
    activation: str
    learning_rate: float
    epochs: int
    batch_size: int

    def network(self, seed: int, dtype: str = "float32") -> Network:
        """Makes an untrained network that takes two numbers and returns one logit."""
        return feed_forward((2, *self.hidden_sizes, 1), self.activation, np.random.default_rng(seed), dtype)

    def train(self, points: PointSets, job: Job, seed: int) -> tuple[Network, dict[str, Any]]:
        """Trains the network once, or reads back the result if the job is finished.

        Returns:
            The network and a dictionary with `accuracy` and `loss` on the test points, `train_accuracy`,
            `train_loss`, `parameters`, `steps`, and `seconds`.

        Raises:
            UserError: a loss was not finite.
        """
        train, test = points.train, points.test
        network, loss, weights = self.network(seed), BinaryCrossEntropy(), job.folder / "weights.npz"

        def measure(network: Network) -> dict[str, float]:
            test_loss = loss.forward(network.predict(test.x), test.targets)
            return {"test_loss": test_loss, "test_accuracy": accuracy(network, test)}

        def work(job: Job) -> dict[str, Any]:
            began = time.perf_counter()
            fit = fit_numpy(
                network,
                Examples(train.x, train.targets),
                loss,
                SGD(network, self.learning_rate),
                job,
                self.epochs,
                self.batch_size,
                seed,
                measure,
            ).require_finite(self.learning_rate)
            seconds = time.perf_counter() - began
            np.savez(weights, **network.state_dict())
            measured = measure(network)
            return {
                "accuracy": measured["test_accuracy"],
                "loss": measured["test_loss"],
                "train_accuracy": accuracy(network, train),
                "train_loss": loss.forward(network.predict(train.x), train.targets),
                "parameters": sum(value.size for _, value, _ in network.parameters()),
                "steps": fit.steps,
                "seconds": seconds,
            }

        result = job.once(work)
        with np.load(weights, allow_pickle=False) as arrays:
            network.load_state_dict(dict(arrays))
        return network, result


def accuracy(network: Network, points: Points, threshold: float = 0.0) -> float:
    """Returns the share of points on the right side of the line where the output is `threshold`."""
    return float(np.mean((network.predict(points.x)[:, 0] > threshold) == points.labels))


def linear_accuracy(points: PointSets) -> float:
    """Returns the test accuracy of a straight line: scikit-learn's logistic regression."""
    line = LogisticRegression().fit(points.train.x, points.train.labels)
    return float(line.score(points.test.x, points.test.labels))


def surface(network: Network, points: Points, units: int = 0) -> dict[str, Any]:
    """Evaluates the network over a square around the points, for a picture.

    Args:
        units: number of units of each hidden layer to include.

    Returns:
        A dictionary with `extent` [left, right, bottom, top], the `probability` of class 1 as rows from
        bottom to top, and the points `x` and `labels`. If `units` is not 0, it also has `units`, the outputs
        of these units over the same square for each hidden layer, and the `weights` and `biases` of all
        layers.
    """
    low, high = points.x.min(axis=0), points.x.max(axis=0)  # (count, 2) -> (2,)
    half = (0.5 + MARGIN) * (high - low).max()
    low, high = (low + high) / 2 - half, (low + high) / 2 + half
    logits = network.predict(_grid(low, high, RESOLUTION))[:, 0]  # (cells,)
    result: dict[str, Any] = {
        "extent": [round(float(value), 4) for value in (low[0], high[0], low[1], high[1])],
        "probability": _rounded(sigmoid(logits).reshape(RESOLUTION, RESOLUTION), 4),  # (up, across)
        "x": _rounded(points.x),
        "labels": points.labels.tolist(),
    }
    if units:
        dense = [layer for layer in network.layers if isinstance(layer, Dense)]
        outputs = network.outputs(_grid(low, high, UNIT_RESOLUTION))  # one array (cells, units) per layer
        result["units"] = [
            # (cells,) -> (up, across) for each unit
            [_rounded(unit.reshape(UNIT_RESOLUTION, UNIT_RESOLUTION)) for unit in output.T[:units]]
            for output, layer in zip(outputs[:-1], network.layers, strict=False)
            if not isinstance(layer, Dense)
        ]
        result["weights"] = [_rounded(layer.params["weight"], 4) for layer in dense]
        result["biases"] = [_rounded(layer.params["bias"], 4) for layer in dense]
    return result


def _grid(low: np.ndarray, high: np.ndarray, resolution: int) -> np.ndarray:
    """Returns grid points `(resolution², 2)`, row by row from bottom to top, each from left to right."""
    across, up = (np.linspace(low[axis], high[axis], resolution) for axis in (0, 1))
    # (up, across, 2) -> (up * across, 2)
    return np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)


def _rounded(values: np.ndarray, digits: int = 3) -> list[Any]:
    return np.round(values.astype(np.float64), digits).tolist()


def save_classifier(network: Network, run: Run, name: str | None = None) -> Path:
    """Saves the network as an LLMPathMLP in the run's `model/` or `models/NAME`; returns the folder."""
    return run.save_model(to_mlp(network), name=name)


def differences(network: Network, folder: Path, x: np.ndarray) -> dict[str, float]:
    """Compares the NumPy network with the saved model, loaded by `AutoModelForImageClassification`, on `x`.

    Returns:
        For `float32` and `float64`, the maximum of |ours − theirs| / max(1, |theirs|) over all logits. In
        float64, both models use the weights in the file.
    """
    largest = {}
    for dtype in ("float32", "float64"):
        model = AutoModelForImageClassification.from_pretrained(folder, dtype=getattr(torch, dtype))
        ours = network if network.dtype == dtype else from_mlp(model)
        with torch.no_grad():
            theirs = model(torch.tensor(x, dtype=model.dtype)).logits.numpy()
        largest[dtype] = float(np.max(np.abs(ours.predict(x) - theirs) / np.maximum(1, np.abs(theirs))))
    return largest
