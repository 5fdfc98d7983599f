"""Trains a network of the NumPy engine on points in the plane while a page shows it.

Every open page has a network of its own.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..data.points import Points, make_points
from ..scratch import (
    SGD,
    Adam,
    BinaryCrossEntropy,
    Loss,
    MeanSquaredError,
    Momentum,
    Network,
    Optimizer,
    feed_forward,
)
from .play import FRAME, SlowChart

POINTS = 200  # for training, and as many for testing; XOR without noise has four
TEST_SEED = 10_000  # added to the seed for the test points
EXTENT = 2.0  # the points are scaled to a square from -EXTENT to EXTENT
SHOWN = 2.4  # half the side of the square that is shown
RESOLUTION = 64  # cells of the surface in each direction
_LONGEST = 4000  # entries of the history, above which every second entry is dropped
OPTIMIZERS: dict[str, Callable[[Network, float], Optimizer]] = {
    "gradient descent": SGD,
    "momentum": Momentum,
    "Adam": Adam,
}


@dataclass(frozen=True)
class Design:
    """The points that a network learns, and its architecture. A changed design means a new network.

    Attributes:
        shape, noise: shape of the points, and noise on them.
        seed: seed of the points and of the initial weights.
        layers, units: number of hidden layers, and of units in each; no layers is a single neuron.
        activation: activation function of the hidden layers.
        optimizer: a key of `OPTIMIZERS`.
        squared: whether the loss is the squared error against targets of -1 and 1, not the cross-entropy.
    """

    shape: str = "xor"
    noise: float = 0.0
    seed: int = 0
    layers: int = 1
    units: int = 4
    activation: str = "tanh"
    optimizer: str = "gradient descent"
    squared: bool = False


@dataclass
class LossHistory:
    """Losses over the steps, thinned out as they accumulate."""

    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)

    def add(self, step: int, train: float, test: float) -> None:
        if self.steps and self.steps[-1] == step:
            return
        for values, value in ((self.steps, step), (self.train, train), (self.test, test)):
            values.append(value)  # type: ignore[arg-type]
            if len(values) > _LONGEST:
                del values[1:-1:2]  # keeps the first and the last entry


class LiveNetwork:
    """A network, its points, and its training.

    Every step takes all points, so the seed alone determines the training.

    Attributes:
        design: the design of points and network.
        network: the network that learns.
        train, test: the points.
        step: number of steps taken.
        history: losses so far.
        loss, accuracy: loss and share of correct answers, for `"train"` and `"test"`.
        stopped: the reason why the training cannot continue; empty if it can.
        rate, pace: learning rate, and number of steps from picture to picture; both may change at any time.
        player: a token of the event that trains the network at the moment, or None. An event that finds
            another token stops.
        chart: the losses as they were last drawn.
        lock: held while the network is trained or drawn.
    """

    frame = FRAME

    def __init__(self, design: Design, rate: float = 0.1, pace: int = 1):
        self.lock = threading.RLock()
        self.rate, self.pace = rate, pace
        self.player: object | None = None
        self.chart = SlowChart()
        self.rebuild(design)

    def __deepcopy__(self, memo: dict) -> "LiveNetwork":
        """Makes a new network for each page that is opened, because Gradio copies the initial state."""
        return LiveNetwork(self.design, self.rate, self.pace)

    def rebuild(self, design: Design) -> None:
        """Starts again with this design."""
        with self.lock:
            self.design, self.step, self.stopped, self.history = design, 0, "", LossHistory()
            # Without noise, further points of XOR would only repeat the four corners.
            count = 4 if design.shape == "xor" and not design.noise else POINTS
            self.train = make_points(design.shape, count, design.noise, design.seed)
            self.test = make_points(design.shape, count, design.noise, design.seed + TEST_SEED)
            self._scale()
            sizes = (2, *[design.units] * design.layers, 1)
            self.network = feed_forward(sizes, design.activation, np.random.default_rng(design.seed))
            self.optimizer = OPTIMIZERS[design.optimizer](self.network, self.rate)
            # A copy of the last weights with a finite loss, to return to when the training diverges.
            self._kept = {name: value.copy() for name, value in self.network.state_dict().items()}
            self._loss: Loss = MeanSquaredError() if design.squared else BinaryCrossEntropy()
            self._measure()

    def again(self) -> None:
        """Starts again with the same design."""
        self.rebuild(self.design)

    @property
    def over(self) -> bool:
        return bool(self.stopped)

    def _scale(self) -> None:
        """Scales the points to the square in which they are learned and shown.

        The test points are scaled like the training points, which alone determine center and scale.
        """
        low, high = self.train.x.min(axis=0), self.train.x.max(axis=0)  # (points, 2) -> (2,)
        center, half = (low + high) / 2, (high - low).max() / 2
        self.x = {
            split: ((points.x - center) * (EXTENT / half)).astype(np.float32)
            for split, points in (("train", self.train), ("test", self.test))
        }
        self._targets = {"train": self._target(self.train), "test": self._target(self.test)}

    def _target(self, points: Points) -> np.ndarray:
        return (2 * points.targets - 1 if self.design.squared else points.targets).astype(np.float32)

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate. A training that had diverged may continue with the new rate."""
        with self.lock:
            self.rate = rate
            if self.stopped:
                self.stopped = ""
                # The moments of the old optimizer have overflowed; a new one starts from zero.
                self.optimizer = OPTIMIZERS[self.design.optimizer](self.network, rate)

    def advance(self, steps: int) -> None:
        """Takes further steps. A loss that is not finite ends the training and restores finite weights."""
        with self.lock, np.errstate(over="ignore", invalid="ignore"):
            if self.stopped:
                return
            self.optimizer.learning_rate = self.rate
            for _ in range(steps):
                loss = self.network.gradient(self.x["train"], self._targets["train"], self._loss)
                if not np.isfinite(loss):
                    break
                # The weights that gave this finite loss, before the step changes them.
                for name, value in self.network.state_dict().items():
                    self._kept[name][...] = value
                self.optimizer.step()
                self.step += 1
            if not self._measure():
                self.stopped = not_finite(self.step, self.rate)
                self.network.load_state_dict(self._kept)
                self._measure()

    def _measure(self) -> bool:
        """Measures losses and accuracies and records them if the losses are finite; returns if they are."""
        losses, accuracy = {}, {}
        for split, points in (("test", self.test), ("train", self.train)):
            answers = self.network.forward(self.x[split])  # (points, 1)
            losses[split] = self._loss.forward(answers, self._targets[split])
            # Class 1 where the logit, or the output between -1 and 1, is positive: (points, 1) -> (points,).
            accuracy[split] = float(np.mean((answers[:, 0] > 0) == points.labels))
        if not np.isfinite(list(losses.values())).all():
            return False
        self.loss, self.accuracy = losses, accuracy
        self.history.add(self.step, losses["train"], losses["test"])
        return True

    def surfaces(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Computes the outputs of the network and of its units over the square, scaled to -1 ... 1.

        Returns:
            The output `(RESOLUTION, RESOLUTION)`, and for each hidden layer the outputs of its units,
            `(units, RESOLUTION / 2, RESOLUTION / 2)`; all rows go from top to bottom. Units of tanh are
            shown as they are, units of sigmoid relative to 1/2, and all others relative to their largest
            absolute value.
        """
        with self.lock:
            outputs = self.network.outputs(_GRID)
        answer = outputs[-1].reshape(RESOLUTION, RESOLUTION)  # (cells, 1) -> (y, x)
        # tanh(z / 2) = 2 sigmoid(z) - 1 maps a probability from 0 ... 1 to -1 ... 1.
        answer = np.clip(answer, -1, 1) if self.design.squared else np.tanh(answer / 2)
        hidden = []
        for values in outputs[1:-1:2]:  # the activations, which alternate with the dense layers
            # (cells, units) -> (y, x, units) -> (y / 2, x / 2, units) -> (units, y / 2, x / 2)
            units = values.reshape(RESOLUTION, RESOLUTION, -1)[::2, ::2].transpose(2, 0, 1)
            if self.design.activation == "sigmoid":
                units = 2 * units - 1
            elif self.design.activation != "tanh":
                # The maximum of each unit: (units, y / 2, x / 2) -> (units, 1, 1); 1e-9 for a unit that is 0.
                units = units / np.maximum(np.abs(units).max(axis=(1, 2), keepdims=True), 1e-9)
            hidden.append(units)
        return answer, hidden

    def weights(self) -> list[np.ndarray]:
        """Returns a copy of the weight matrix `(outputs, inputs)` of every layer, in order."""
        return [layer.params["weight"].copy() for layer in self.network.layers if "weight" in layer.params]


def not_finite(step: int, rate: float) -> str:
    """Returns the message for a training that ended because its loss overflowed."""
    lower = float(f"{rate / 3:.1g}")
    return (
        f"The loss was no longer a finite number at step {step:,}: a learning rate of {rate:g} is too high "
        f"here. Try {lower:g}. The last finite weights are kept."
    )


def _grid() -> np.ndarray:
    across = np.linspace(-SHOWN, SHOWN, RESOLUTION, dtype=np.float32)
    x, y = np.meshgrid(across, across[::-1])  # (RESOLUTION, RESOLUTION) each, the top row first
    return np.stack([x.ravel(), y.ravel()], axis=1)  # (cells, 2), with RESOLUTION² cells


_GRID = _grid()
