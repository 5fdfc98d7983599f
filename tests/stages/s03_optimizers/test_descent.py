"""Surfaces, descents on them, and what theory says of both."""

import math

import numpy as np
import pytest

from hf_llmpath.scratch import SGD
from hf_llmpath.stages.s03_optimizers.descent import (
    HOLD,
    OPTIMIZERS,
    Descent,
    best_rate,
    path,
    steps_to_target,
)
from hf_llmpath.stages.s03_optimizers.surfaces import SURFACES

NAMES = list(SURFACES)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_central_differences(name):
    surface = SURFACES[name]
    left, right, bottom, top = surface.box
    points = np.random.default_rng(0).uniform((left, bottom), (right, top), (50, 2))
    step = 1e-5
    numeric = np.stack(
        [
            (surface.loss(points + move) - surface.loss(points - move)) / (2 * step)
            for move in step * np.eye(2)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(surface.gradient(points), numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_zero_at_the_minima_and_nowhere_less(name):
    surface = SURFACES[name]
    left, right, bottom, top = surface.box
    minima = np.array(surface.minima)
    assert np.abs(surface.loss(minima)).max() < 1e-12 and np.abs(surface.gradient(minima)).max() < 1e-9
    grid = np.stack(np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200)), axis=-1)
    assert surface.loss(grid).min() >= -1e-12
    assert surface.loss(np.array(surface.start)) > surface.target
    assert left < surface.start[0] < right and bottom < surface.start[1] < top


def test_starts_differ_by_seed_and_are_drawn_again():
    surface = SURFACES["ravine"]
    starts = surface.starts(5, 0)
    assert starts.shape == (5, 2) and len(np.unique(starts, axis=0)) == 5
    assert np.array_equal(surface.starts(3, 2), starts[2:])


@pytest.mark.parametrize("name", list(OPTIMIZERS))
@pytest.mark.parametrize("surface", ["tilted_ravine", "rosenbrock"])
def test_a_sweep_in_one_array_equals_one_descent_after_the_other(name, surface):
    surface = SURFACES[surface]
    starts, rates = surface.starts(3, 0), [1e-4, 5e-4, 1e-3]
    make, arguments = OPTIMIZERS[name]
    together = Descent(surface, make, starts, rates, **arguments)
    for _ in range(40):
        losses = together.step()
    for row, rate in enumerate(rates):
        for column, start in enumerate(starts):
            alone = path(surface, name, start, rate, 40)[-1]
            np.testing.assert_allclose(together.points[row, column], alone, rtol=1e-12)
            assert losses[row, column] == pytest.approx(float(surface.loss(alone)), rel=1e-12)


def test_gradient_descent_diverges_above_two_over_the_curvature():
    """On ½ λ x² a step multiplies x by 1 - ηλ: less than 1 in size only for η < 2 / λ, here 2 / 100."""
    surface = SURFACES["ravine"]
    descent = Descent(surface, SGD, np.array([[0.0, 1.0]]), [0.0199, 0.0201])
    for _ in range(500):
        losses = descent.step()
    assert losses[0, 0] < surface.loss(np.array([0.0, 1.0])) < losses[1, 0]
    steps, reached = steps_to_target(surface, "sgd", surface.starts(2, 0), [0.019, 0.021], 2000)
    assert reached.tolist() == [[True, True], [False, False]] and (steps[1] == 2000).all()


def test_momentum_needs_the_root_of_the_steps():
    """With curvatures 1 to κ, the best rate and momentum, the error shrinks by (√κ - 1)/(√κ + 1) a step
    instead of (κ - 1)/(κ + 1): Polyak 1964."""
    kappa, surface = 100.0, SURFACES["ravine"]
    plain = Descent(surface, SGD, np.array([[-9.0, 1.0]]), [2 / (kappa + 1)])
    root = math.sqrt(kappa)
    momentum = ((root - 1) / (root + 1)) ** 2
    make, _ = OPTIMIZERS["momentum"]
    heavy = Descent(surface, make, np.array([[-9.0, 1.0]]), [(2 / (root + 1)) ** 2], momentum=momentum)
    for _ in range(200):
        losses = plain.step()[0, 0], heavy.step()[0, 0]
    shrunk = [
        (loss / float(surface.loss(np.array([-9.0, 1.0])))) ** (1 / 400) for loss in losses
    ]  # of the error
    assert shrunk[0] == pytest.approx((kappa - 1) / (kappa + 1), abs=0.005)
    assert shrunk[1] == pytest.approx((root - 1) / (root + 1), abs=0.03)
    sgd, momentum_steps = (
        steps_to_target(surface, name, surface.starts(5, 0), [rate], 2000)[0].mean()
        for name, rate in (("sgd", 0.015), ("momentum", 0.0032))
    )
    assert momentum_steps < sgd / 3


def test_rates_per_weight_need_straight_axes():
    """RMSprop gives each coordinate a rate of its own: perfect for the ravine, but not when it is tilted."""
    rates = [float(f"{10 ** (power / 6):.2g}") for power in range(-12, 4)]
    best = {}
    for name in ("ravine", "tilted_ravine"):
        surface = SURFACES[name]
        steps, reached = steps_to_target(surface, "rmsprop", surface.starts(3, 0), rates, 3000)
        best[name] = steps[best_rate(steps, reached)].mean()
    assert best["tilted_ravine"] > 10 * best["ravine"]


def test_flying_past_the_target_does_not_count():
    """A heavy ball swings through the minimum: its first step below the target is not where it stays."""
    surface = SURFACES["ravine"]
    start = np.array([[-9.0, 0.0]])
    make, _ = OPTIMIZERS["momentum"]
    descent = Descent(surface, make, start, [0.01], momentum=0.99)
    below = [bool(descent.step()[0, 0] <= surface.target) for _ in range(4000)]
    first = below.index(True) + 1
    stays = next(step for step in range(len(below)) if all(below[step : step + HOLD])) + 1
    assert not all(below[first - 1 : first - 1 + HOLD]) and stays > first
    OPTIMIZERS["heavy"] = (make, {"momentum": 0.99})
    try:
        steps, reached = steps_to_target(surface, "heavy", start, [0.01], 4000)
    finally:
        del OPTIMIZERS["heavy"]
    assert reached.all() and steps[0, 0] == stays


def test_the_best_rate_reaches_most_and_is_then_the_fastest():
    steps = np.array([[900, 900], [10, 1000], [700, 800]])
    reached = np.array([[True, True], [True, False], [True, True]])
    assert best_rate(steps, reached) == 2
