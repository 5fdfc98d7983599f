"""Counts the steps that each optimizer takes to train a network on images to a target loss."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...scratch import CategoricalCrossEntropy, Network
from .descent import OPTIMIZERS

CHECKED_EVERY = 10  # steps from one measurement of the loss on all images to the next


@dataclass
class Attempt:
    """One training run and its measurements.

    Attributes:
        network: the network after the last step, or its last measured finite weights if the loss became
            infinite.
        reached: the step at which the training loss was first measured at or below the target, or None.
        steps, losses, seconds: for each measurement, the step, the loss on all images, and the time spent on
            steps alone.
    """

    network: Network
    reached: int | None = None
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class ImageRace:
    """The conditions that are the same for all optimizers.

    Attributes:
        x, labels: the images as rows, `(images, pixels)`, and their classes, `(images,)`.
        target: the training loss at which a network counts as trained.
        max_steps: the number of steps after which an attempt is given up.
        batch_size: the number of images per step.
    """

    x: np.ndarray
    labels: np.ndarray
    target: float
    max_steps: int
    batch_size: int

    def attempt(
        self,
        network: Network,
        name: str,
        rate: float,
        seed: int,
        to_the_end: bool = False,
        each_check: Callable[[int, float], None] = lambda step, loss: None,
    ) -> Attempt:
        """Trains `network` until its loss on all images is at most the target, or for `max_steps` steps.

        Args:
            name: the optimizer, a key of `OPTIMIZERS`.
            seed: the seed of the order of the batches, which is the same for all optimizers.
            to_the_end: whether to continue to `max_steps` after the target has been reached.
            each_check: a function that is called with the step and the loss of each measurement.
        """
        make, arguments = OPTIMIZERS[name]
        optimizer, loss = make(network, rate, **arguments), CategoricalCrossEntropy()
        rng, result = np.random.default_rng(seed), Attempt(network)
        # The weights of the last measurement, to return to if the next loss is not finite.
        finite = {key: value.copy() for key, value in network.state_dict().items()}
        order, spent = np.zeros(0, dtype=np.int64), 0.0
        with np.errstate(over="ignore", invalid="ignore"):  # rates that are too high are part of the race
            for step in range(1, self.max_steps + 1):
                if len(order) < self.batch_size:  # a new epoch; the images left over are skipped
                    order = rng.permutation(len(self.x))
                batch, order = order[: self.batch_size], order[self.batch_size :]  # (batch,), (rest,)
                began = time.perf_counter()
                network.gradient(self.x[batch], self.labels[batch], loss)
                optimizer.step()
                spent += time.perf_counter() - began
                if step % CHECKED_EVERY and step < self.max_steps:
                    continue
                value = loss.forward(network.forward(self.x), self.labels)
                if not np.isfinite(value):
                    network.load_state_dict(finite)
                    break
                for key, array in network.state_dict().items():
                    finite[key][...] = array
                result.steps.append(step)
                result.losses.append(value)
                result.seconds.append(spent)
                each_check(step, value)
                if value <= self.target and result.reached is None:
                    result.reached = step
                    if not to_the_end:
                        break
        return result
