"""Optimizers on a network: when the target counts as reached, and what a diverged training leaves."""

import numpy as np
import pytest

from hf_llmpath.scratch import CategoricalCrossEntropy, feed_forward
from hf_llmpath.stages.s03_optimizers.image_race import CHECKED_EVERY, ImageRace


@pytest.fixture
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points that are easily told apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    return (rng.normal(size=(200, 4)) * 0.3 + 2 * np.eye(3, 4)[labels]).astype(np.float32), labels


def network(seed: int = 0):
    return feed_forward((4, 8, 3), "relu", np.random.default_rng(seed))


def test_it_stops_at_the_first_check_at_or_below_the_target(clusters):
    told = []
    race = ImageRace(*clusters, 0.1, 400, 16)
    result = race.attempt(network(), "adam", 0.03, 0, each_check=lambda *row: told.append(row))
    assert result.reached is not None and result.reached % CHECKED_EVERY == 0
    assert result.losses[-1] <= 0.1 < min(result.losses[:-1])
    assert told == list(zip(result.steps, result.losses, strict=True)) and result.steps[-1] == result.reached
    loss = CategoricalCrossEntropy().forward(result.network.predict(clusters[0]), clusters[1])
    assert result.losses[-1] == pytest.approx(loss)
    assert result.seconds == sorted(result.seconds) and result.seconds[0] > 0


def test_it_goes_on_to_the_end_by_the_same_course(clusters):
    race = ImageRace(*clusters, 0.1, 300, 16)
    short = race.attempt(network(), "momentum", 0.03, 0)
    whole = race.attempt(network(), "momentum", 0.03, 0, to_the_end=True)
    assert whole.reached == short.reached and whole.steps[-1] == 300
    assert whole.losses[: len(short.losses)] == short.losses


def test_a_target_out_of_reach_is_not_reached(clusters):
    result = ImageRace(*clusters, 0.1, 33, 16).attempt(network(), "sgd", 1e-6, 0)
    assert result.reached is None and result.steps[-1] == 33


def test_a_training_that_diverges_keeps_its_last_finite_weights(clusters):
    x, labels = clusters
    result = ImageRace(x * 1e3, labels, 1e-9, 400, 16).attempt(network(), "sgd", 1e9, 0)
    assert result.reached is None and (not result.steps or result.steps[-1] < 400)
    assert all(np.isfinite(value).all() for value in result.network.state_dict().values())
