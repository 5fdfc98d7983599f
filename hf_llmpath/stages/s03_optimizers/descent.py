"""Runs descents on surfaces, with all starting points and learning rates of a sweep in one array."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...scratch.optimizers import SGD, Adam, AdamW, Momentum, Optimizer, RMSprop
from .surfaces import Surface

# The optimizers to compare: name -> class, and the arguments that are the same at every rate.
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
HOLD = 20  # number of steps for which a loss must stay at the target to count as having reached it


class Descent:
    """Points that descend on a surface, all moved by the same optimizer.

    An optimizer updates each number independently. It can therefore move a whole array of points, and its
    learning rate may be an array too: here it has one rate per row.

    Attributes:
        points: the current points, `(rates, starts, 2)`.
        optimizer: an optimizer from `scratch`, whose hyperparameters may be changed between steps.
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
        self.points = np.repeat(starts[None], len(rates), axis=0)  # (starts, 2) -> (rates, starts, 2)
        self._gradient = np.zeros_like(self.points)
        # The constructor checks a single rate; an array of rates takes its place afterward.
        self.optimizer = make([("point", self.points, self._gradient)], float(rates[0]), **arguments)
        if len(rates) > 1:
            self.optimizer.learning_rate = np.asarray(rates, dtype=np.float64)[:, None, None]  # (rates, 1, 1)

    def step(self) -> np.ndarray:
        """Moves all points by one step and returns their losses after it, `(rates, starts)`.

        The loss of a point that has overflowed stays infinite or NaN.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            # In place, because the optimizer holds a reference to this array: (rates, starts, 2).
            self._gradient[...] = self.surface.gradient(self.points)
            self.optimizer.step()
            return self.surface.loss(self.points)


def steps_to_target(
    surface: Surface, name: str, starts: np.ndarray, rates: Sequence[float], budget: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counts the steps until the loss reaches the surface's target and stays there for `HOLD` steps.

    A descent that flies past the target has not reached it.

    Returns:
        `steps` `(rates, starts)`, which is `budget` where the target was not reached, and the boolean
        `reached` `(rates, starts)`.
    """
    make, arguments = OPTIMIZERS[name]
    descent = Descent(surface, make, starts, rates, **arguments)
    # (rates, starts): the last step at which the loss was above the target; -1 if not even at the start.
    last_above = np.where(surface.loss(descent.points) <= surface.target, -1, 0)
    reached = np.zeros(last_above.shape, dtype=bool)
    for step in range(1, budget + HOLD + 1):  # HOLD more steps confirm an arrival at the end of the budget
        above = ~(descent.step() <= surface.target)  # unlike >, also true where the loss is NaN
        last_above[above & ~reached] = step  # a point that has arrived may leave again
        reached |= (step - last_above >= HOLD) & (last_above < budget)
        if reached.all():
            break
    return np.where(reached, last_above + 1, budget), reached


def best_rate(steps: np.ndarray, reached: np.ndarray) -> int:
    """Returns the index of the rate at which most starts arrive, and among equals the fastest on average."""
    # `lexsort` sorts by its last key first: (rates, starts) -> (rates,) for both keys.
    return int(np.lexsort((steps.mean(axis=1), -reached.sum(axis=1)))[0])


def path(surface: Surface, name: str, start: Iterable[float], rate: float, steps: int) -> np.ndarray:
    """Returns the points of one descent, including its start: `(steps + 1, 2)`."""
    make, arguments = OPTIMIZERS[name]
    descent = Descent(surface, make, np.array([list(start)]), [rate], **arguments)
    # (1, 1, 2) -> (2,); a copy, because the optimizer moves the array in place.
    points = [descent.points[0, 0].copy()]
    for _ in range(steps):
        descent.step()
        points.append(descent.points[0, 0].copy())
    return np.array(points)
