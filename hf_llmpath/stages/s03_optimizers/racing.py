"""Optimizers on a network: how many steps each needs to a target loss, at every learning rate of a grid
and seed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...scratch import CategoricalCrossEntropy, Network
from .descent import OPTIMIZERS

CHECKED_EVERY = 10  # steps between two looks at the loss of all training examples


@dataclass
class Attempt:
    """One training.

    Attributes:
        network: as the last step left it; with the last finite weights where the loss became infinite.
        reached: the step at which the training loss was first seen at or below the target, or none.
        steps, losses, seconds: what was seen on the way: step, loss of all training examples, time spent
            on steps alone.
    """

    network: Network
    reached: int | None = None
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def attempt(
    network: Network,
    name: str,
    rate: float,
    x: np.ndarray,
    labels: np.ndarray,
    target: float,
    budget: int,
    batch_size: int,
    seed: int,
    to_the_end: bool = False,
    each_check: Callable[[int, float], None] = lambda step, loss: None,
) -> Attempt:
    """Trains until the loss of all examples is at most `target`, or for `budget` steps.

    Args:
        name: of the optimizer, a key of `OPTIMIZERS`.
        seed: of the order of the batches, the same for all optimizers.
        to_the_end: go on to `budget` steps when the target has been reached.
        each_check: called with step and loss.
    """
    make, arguments = OPTIMIZERS[name]
    optimizer, loss, judge = (
        make(network, rate, **arguments),
        CategoricalCrossEntropy(),
        CategoricalCrossEntropy(),
    )
    rng, found = np.random.default_rng(seed), Attempt(network)
    kept = {key: value.copy() for key, value in network.state_dict().items()}
    order, spent = np.zeros(0, dtype=np.int64), 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # a rate that is too high ends here, not in a warning
        for step in range(1, budget + 1):
            if len(order) < batch_size:
                order = rng.permutation(len(x))
            rows, order = order[:batch_size], order[batch_size:]
            began = time.perf_counter()
            network.gradient(x[rows], labels[rows], loss)
            optimizer.step()
            spent += time.perf_counter() - began
            if step % CHECKED_EVERY and step < budget:
                continue
            value = judge.forward(network.forward(x), labels)
            if not np.isfinite(value):
                network.load_state_dict(kept)
                break
            for key, array in network.state_dict().items():
                kept[key][...] = array
            found.steps.append(step)
            found.losses.append(value)
            found.seconds.append(spent)
            each_check(step, value)
            if value <= target and found.reached is None:
                found.reached = step
                if not to_the_end:
                    break
    return found
