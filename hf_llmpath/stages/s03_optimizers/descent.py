"""Optimizers on surfaces: all starting points and all learning rates of a sweep descend in one array."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...scratch.optimizers import SGD, Adam, AdamW, Momentum, Optimizer, RMSprop
from .surfaces import Surface

# What the stage compares: a name, its class and the arguments that are not swept.
OPTIMIZERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {}),
    "momentum": (Momentum, {"momentum": 0.9}),
    "nesterov": (Momentum, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (RMSprop, {}),
    "adam": (Adam, {}),
    "adamw": (AdamW, {}),
}
TITLES = {
    "sgd": "SGD",
    "momentum": "Momentum",
    "nesterov": "Nesterov",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "adamw": "AdamW",
}
HOLD = 20  # steps below a target that count as having reached it


class Descent:
    """Points that descend on a surface, all by the same rule.

    An optimizer works on each number by itself, so an array of points is as good as a single one, and its
    learning rate may be an array too: here one rate per row.

    Attributes:
        points: `(rates, starts, 2)`.
        optimizer: the optimizer of `scratch`; its numbers may be changed between steps.
    """

    def __init__(
        self,
        surface: Surface,
        make: Callable[..., Optimizer],
        starts: np.ndarray,
        rates: Sequence[float],
        **arguments: Any,
    ):
        self.surface = surface
        self.points = np.repeat(np.asarray(starts, dtype=np.float64)[None], len(rates), axis=0)
        self._gradient = np.zeros_like(self.points)
        self.optimizer = make([("point", self.points, self._gradient)], float(rates[0]), **arguments)
        if len(rates) > 1:
            self.optimizer.learning_rate = np.asarray(rates, dtype=np.float64)[:, None, None]

    def step(self) -> np.ndarray:
        """One step of all points; returns their losses after it, `(rates, starts)`.

        The loss of a point that has left the range of numbers is not finite, from then on.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            self._gradient[...] = self.surface.gradient(self.points)
            self.optimizer.step()
            return self.surface.loss(self.points)


def steps_to_target(
    surface: Surface, name: str, starts: np.ndarray, rates: Sequence[float], budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps until the loss is at most the surface's target and stays so for `HOLD` steps: flying past
    does not count.

    Returns:
        `steps` (rates, starts), `budget` where the target was not reached; and `reached` (rates, starts),
        whether it was.
    """
    make, arguments = OPTIMIZERS[name]
    descent = Descent(surface, make, starts, rates, **arguments)
    last_above = np.where(surface.loss(descent.points) <= surface.target, -1, 0)
    reached = np.zeros(last_above.shape, dtype=bool)
    for step in range(1, budget + HOLD + 1):
        above = ~(descent.step() <= surface.target)  # also where the loss is not a number
        last_above[above & ~reached] = step
        reached |= (step - last_above >= HOLD) & (last_above < budget)
        if reached.all():
            break
    return np.where(reached, last_above + 1, budget), reached


def best_rate(steps: np.ndarray, reached: np.ndarray) -> int:
    """Index of the learning rate at which most starts reach the target, and among those the fewest steps
    on average.
    """
    return int(np.lexsort((steps.mean(axis=1), -reached.sum(axis=1)))[0])


def path(surface: Surface, name: str, start: Iterable[float], rate: float, steps: int) -> np.ndarray:
    """Where one descent goes: `(steps + 1, 2)`, the start included."""
    make, arguments = OPTIMIZERS[name]
    descent = Descent(surface, make, np.array([list(start)]), [rate], **arguments)
    found = [descent.points[0, 0].copy()]
    for _ in range(steps):
        descent.step()
        found.append(descent.points[0, 0].copy())
    return np.array(found)
