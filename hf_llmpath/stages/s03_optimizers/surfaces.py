"""Defines surfaces to descend on, with loss and gradient by formula for any number of points at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Surface:
    """A loss over two parameters.

    Attributes:
        name, title: the names in code and on pages.
        formula: the loss as a person writes it.
        loss: a function from points `(..., 2)` to losses `(...)`.
        gradient: a function from points `(..., 2)` to gradients `(..., 2)`.
        box: the region that is shown, `(left, right, bottom, top)`.
        minima: the lowest points, `(count, 2)`, where the loss is 0.
        start: the start of the descents that are shown.
        target: the loss at which a descent counts as done.
    """

    name: str
    title: str
    formula: str
    loss: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray], np.ndarray]
    box: tuple[float, float, float, float]
    minima: tuple[tuple[float, float], ...]
    start: tuple[float, float]
    target: float

    def starts(self, count: int, seed: int) -> np.ndarray:
        """Draws starting points `(count, 2)`, one for each of the seeds `seed`, `seed + 1`, ...

        They are normally distributed around `start`, with a standard deviation of 5% of the box.
        """
        left, right, bottom, top = self.box
        spread = 0.05 * np.array([right - left, top - bottom])
        draws = [np.random.default_rng(one).normal(size=2) for one in range(seed, seed + count)]
        return np.array(self.start) + spread * np.array(draws)  # (2,) + (2,) * (count, 2)


def _quadratic(first: float, second: float, angle: float) -> tuple[Callable, Callable]:
    """Returns ½ θᵀ A θ and its gradient A θ, where A has the two given eigenvalues.

    The first eigenvector points in the direction `angle`, in radians, and the second is orthogonal to it.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = turn @ np.diag([first, second]) @ turn.T  # A, (2, 2)
    return (
        lambda point: 0.5 * np.einsum("...i,ij,...j->...", point, matrix, point),  # (..., 2) -> (...)
        lambda point: point @ matrix,  # θᵀ A = (A θ)ᵀ, because A is symmetric
    )


def _rosenbrock(point: np.ndarray) -> np.ndarray:
    x, y = point[..., 0], point[..., 1]  # (..., 2) -> (...) each
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _rosenbrock_gradient(point: np.ndarray) -> np.ndarray:
    x, y = point[..., 0], point[..., 1]
    above = y - x**2
    # With u = y − x²: ∂/∂x = −2 (1 − x) − 400 x u and ∂/∂y = 200 u; (...) -> (..., 2)
    return np.stack([-2 * (1 - x) - 400 * x * above, 200 * above], axis=-1)


def _saddle(point: np.ndarray) -> np.ndarray:
    x, y = point[..., 0], point[..., 1]
    # y⁴/4 bounds the saddle x² − y² from below, and 1 makes the loss 0 at its minima, (0, ±√2).
    return x**2 - y**2 + y**4 / 4 + 1


def _saddle_gradient(point: np.ndarray) -> np.ndarray:
    x, y = point[..., 0], point[..., 1]
    return np.stack([2 * x, -2 * y + y**3], axis=-1)  # (...) -> (..., 2)


_KAPPA = 100.0  # ratio of the curvatures: the ravine is √100 = 10 times as long as it is wide
_ROOT_2 = math.sqrt(2)

SURFACES = {
    surface.name: surface
    for surface in (
        Surface(
            "ravine",
            "Ravine",
            "½ (x² + 100 y²)",
            *_quadratic(1.0, _KAPPA, 0.0),
            box=(-11, 3, -1.75, 1.75),
            minima=((0, 0),),
            start=(-9, 1),
            target=1e-3,
        ),
        Surface(
            "tilted_ravine",
            "Tilted ravine",
            "the ravine, turned by 30°",
            *_quadratic(1.0, _KAPPA, math.radians(30)),
            box=(-11, 3, -6.5, 3),
            minima=((0, 0),),
            start=(-9, -4),
            target=1e-3,
        ),
        Surface(
            "rosenbrock",
            "Rosenbrock's valley",
            "(1 − x)² + 100 (y − x²)²",
            _rosenbrock,
            _rosenbrock_gradient,
            box=(-2, 2, -1, 3),
            minima=((1, 1),),
            start=(-1.2, 1),
            target=1e-3,
        ),
        Surface(
            "saddle",
            "Saddle",
            "x² − y² + y⁴/4 + 1",
            _saddle,
            _saddle_gradient,
            box=(-2.5, 2.5, -2, 2),
            minima=((0, _ROOT_2), (0, -_ROOT_2)),
            start=(-2, 0.001),  # at y = 0, the gradient would lead into the saddle point and stay there
            target=1e-3,
        ),
    )
}
