"""Descents on surfaces: all starting points and all learning rates of a sweep descend in one array."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...scratch.optimizers import SGD, Adam, AdamW, Momentum, Optimizer, RMSprop
from .surfaces import Surface

# The optimizers that are compared: name -> class, and the arguments that are the same at every rate.
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

    An optimizer updates each number independently. It can therefore move a whole array of points, and its
    learning rate may be an array too: here one rate per row.

    Attributes:
        points: `(rates, starts, 2)`.
        optimizer: from `scratch`; its numbers may be changed between steps.
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
        starts = np.asarray(starts, dtype=np.float64)
        self.points = np.repeat(starts[None], len(rates), axis=0)  # (rates, starts, 2)
        self._gradient = np.zeros_like(self.points)
        self.optimizer = make([("point", self.points, self._gradient)], float(rates[0]), **arguments)
        if len(rates) > 1:
            self.optimizer.learning_rate = np.asarray(rates, dtype=np.float64)[:, None, None]  # (rates, 1, 1)

    def step(self) -> np.ndarray:
        """Moves all points by one step; returns their losses after it, `(rates, starts)`.

        The loss of a point that has overflowed stays infinite or not a number.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            self._gradient[...] = self.surface.gradient(self.points)
            self.optimizer.step()
            return self.surface.loss(self.points)


def steps_to_target(
    surface: Surface, name: str, starts: np.ndarray, rates: Sequence[float], budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps until the loss is at most the surface's target and stays there for `HOLD` steps: flying past
    does not count.

    Returns:
        `steps` (rates, starts), which is `budget` where the target was not reached, and `reached`
        (rates, starts).
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
    """Index of the learning rate at which most starts arrive, among those the fastest on average."""
    return int(np.lexsort((steps.mean(axis=1), -reached.sum(axis=1)))[0])


def path(surface: Surface, name: str, start: Iterable[float], rate: float, steps: int) -> np.ndarray:
    """The points of one descent, `(steps + 1, 2)`, with its start."""
    make, arguments = OPTIMIZERS[name]
    descent = Descent(surface, make, np.array([list(start)]), [rate], **arguments)
    points = [descent.points[0, 0].copy()]
    for _ in range(steps):
        descent.step()
        points.append(descent.points[0, 0].copy())
    return np.array(points)
