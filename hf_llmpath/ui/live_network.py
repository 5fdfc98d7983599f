"""A network of the NumPy engine that learns points in the plane while somebody watches: one for each open
page.
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
from .play import FRAME

POINTS = 200  # to learn from, and as many to test on; XOR without noise has four
TEST_SEED = 10_000  # is added to the seed for the points to test on
EXTENT = 2.0  # the points are scaled into a square from -EXTENT to EXTENT
SHOWN = 2.4  # half the side of the square that is shown
RESOLUTION = 64  # cells of the surface, each way
_LONGEST = 4000  # entries of the history, before every second one is dropped
OPTIMIZERS: dict[str, Callable[[Network, float], Optimizer]] = {
    "gradient descent": SGD,
    "momentum": Momentum,
    "Adam": Adam,
}


@dataclass(frozen=True)
class Design:
    """What a network is made for and of; another design is another network.

    Attributes:
        shape, noise, seed: the points, and the seed of the first weights.
        layers, units: hidden layers and units in each; no layers is a single neuron.
        activation: of the hidden layers.
        optimizer: a key of `OPTIMIZERS`.
        squared: squared error against targets -1 and 1 instead of cross-entropy.
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
class History:
    """Losses over the steps, thinned out as they grow."""

    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)

    def add(self, step: int, train: float, test: float) -> None:
        if self.steps and self.steps[-1] == step:
            return
        for values, value in ((self.steps, step), (self.train, train), (self.test, test)):
            values.append(value)  # type: ignore[arg-type]
            if len(values) > _LONGEST:
                del values[1:-1:2]


class LiveNetwork:
    """A network, its points and its training. Every step takes all training points, so a seed gives the
    same course.

    Attributes:
        design, network, train, test: who learns what.
        step: steps taken.
        history: losses so far.
        accuracy: share of the training and of the test points on the right side.
        stopped: why training cannot go on; empty if it can.
        rate, pace: learning rate, and steps from picture to picture; may be changed at any time.
        player: who trains it just now, or nobody; who is no longer the player stops.
        lock: is held while it is trained or drawn.
    """

    frame = FRAME

    def __init__(self, design: Design, rate: float = 0.1, pace: int = 1):
        self.lock = threading.RLock()
        self.rate, self.pace = rate, pace
        self.player: object | None = None
        self.rebuild(design)

    def __deepcopy__(self, memo: dict) -> "LiveNetwork":
        """Each page that is opened gets one of its own."""
        return LiveNetwork(self.design, self.rate, self.pace)

    def rebuild(self, design: Design) -> None:
        """Starts again, by another design or by the same."""
        with self.lock:
            self.design, self.step, self.stopped, self.history = design, 0, "", History()
            count = 4 if design.shape == "xor" and not design.noise else POINTS
            self.train = make_points(design.shape, count, design.noise, design.seed)
            self.test = make_points(design.shape, count, design.noise, design.seed + TEST_SEED)
            self._place()
            sizes = (2, *[design.units] * design.layers, 1)
            self.network = feed_forward(sizes, design.activation, np.random.default_rng(design.seed))
            self.optimizer = OPTIMIZERS[design.optimizer](self.network, self.rate)
            self._kept = {name: value.copy() for name, value in self.network.state_dict().items()}
            self._loss: Loss = MeanSquaredError() if design.squared else BinaryCrossEntropy()
            self._measure()

    def again(self) -> None:
        """Starts again by the same design."""
        self.rebuild(self.design)

    @property
    def over(self) -> bool:
        return bool(self.stopped)

    def _place(self) -> None:
        """Scales the points into the square in which they are learned and shown."""
        low, high = self.train.x.min(axis=0), self.train.x.max(axis=0)
        center, half = (low + high) / 2, (high - low).max() / 2
        self.x = {
            part: ((points.x - center) * (EXTENT / half)).astype(np.float32)
            for part, points in (("train", self.train), ("test", self.test))
        }
        self._targets = {"train": self._target(self.train), "test": self._target(self.test)}

    def _target(self, points: Points) -> np.ndarray:
        return (2 * points.targets - 1 if self.design.squared else points.targets).astype(np.float32)

    def set_rate(self, rate: float) -> None:
        """Another learning rate; after a training that could not go on, it can try again."""
        with self.lock:
            self.rate = rate
            if self.stopped:
                self.stopped = ""
                self.optimizer = OPTIMIZERS[self.design.optimizer](
                    self.network, rate
                )  # forgets what overflowed

    def advance(self, steps: int) -> None:
        """Trains on. A loss that is not finite ends the training and leaves the last weights whose loss was."""
        with self.lock, np.errstate(over="ignore", invalid="ignore"):
            if self.stopped:
                return
            self.optimizer.learning_rate = self.rate
            for _ in range(steps):
                if not np.isfinite(
                    self.network.gradient(self.x["train"], self._targets["train"], self._loss)
                ):
                    break
                for name, value in self.network.state_dict().items():
                    self._kept[name][...] = value
                self.optimizer.step()
                self.step += 1
            if not self._measure():
                self.stopped = not_finite(self.step, self.rate)
                self.network.load_state_dict(self._kept)
                self._measure()

    def _measure(self) -> bool:
        """Losses and accuracies; whether the losses are finite."""
        found, accuracy = {}, {}
        for part, points in (("test", self.test), ("train", self.train)):
            answer = self.network.forward(self.x[part])
            found[part] = self._loss.forward(answer, self._targets[part])
            accuracy[part] = float(np.mean((answer[:, 0] > 0) == points.labels))
        if not np.isfinite(list(found.values())).all():
            return False
        self.loss, self.accuracy = found, accuracy
        self.history.add(self.step, found["train"], found["test"])
        return True

    def surfaces(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """What the network and its units answer over the square, from -1 to 1; rows from top to bottom.

        Returns:
            The answer `(RESOLUTION, RESOLUTION)`, and for each hidden layer `(units, RESOLUTION / 2,
            RESOLUTION / 2)`: units of tanh and sigmoid as they are (sigmoid from its middle), others
            relative to their largest value.
        """
        with self.lock:
            outputs = self.network.outputs(_GRID)
        answer = outputs[-1].reshape(RESOLUTION, RESOLUTION)
        answer = np.clip(answer, -1, 1) if self.design.squared else np.tanh(answer / 2)  # = 2 sigmoid - 1
        hidden = []
        for values in outputs[1:-1:2]:
            units = values.reshape(RESOLUTION, RESOLUTION, -1)[::2, ::2].transpose(2, 0, 1)
            if self.design.activation == "sigmoid":
                units = 2 * units - 1
            elif self.design.activation != "tanh":
                units = units / np.maximum(np.abs(units).max(axis=(1, 2), keepdims=True), 1e-9)
            hidden.append(units)
        return answer, hidden

    def weights(self) -> list[np.ndarray]:
        """The weight matrix `(outputs, inputs)` of every layer, in order."""
        return [layer.params["weight"].copy() for layer in self.network.layers if "weight" in layer.params]


def not_finite(step: int, rate: float) -> str:
    """What is told where a training ends because its loss overflowed."""
    lower = float(f"{rate / 3:.1g}")
    return (
        f"The loss was no longer a finite number at step {step:,}: a learning rate of {rate:g} is too high here. "
        f"Try {lower:g}. The last finite weights are kept."
    )


def _grid() -> np.ndarray:
    across = np.linspace(-SHOWN, SHOWN, RESOLUTION, dtype=np.float32)
    x, y = np.meshgrid(across, across[::-1])
    return np.stack([x.ravel(), y.ravel()], axis=1)


_GRID = _grid()
