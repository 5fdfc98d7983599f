"""Optimizers on a network: when the target counts as reached, and what is left of a training that diverged."""

import numpy as np
import pytest

from hf_llmpath.scratch import CategoricalCrossEntropy, feed_forward
from hf_llmpath.stages.s03_optimizers.racing import CHECKED_EVERY, attempt


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
    found = attempt(
        network(), "adam", 0.03, *clusters, 0.1, 400, 16, 0, each_check=lambda *row: told.append(row)
    )
    assert found.reached is not None and found.reached % CHECKED_EVERY == 0
    assert found.losses[-1] <= 0.1 < min(found.losses[:-1])
    assert told == list(zip(found.steps, found.losses, strict=True)) and found.steps[-1] == found.reached
    loss = CategoricalCrossEntropy().forward(found.network.predict(clusters[0]), clusters[1])
    assert found.losses[-1] == pytest.approx(loss)
    assert found.seconds == sorted(found.seconds) and found.seconds[0] > 0


def test_it_goes_on_to_the_end_by_the_same_course(clusters):
    short = attempt(network(), "momentum", 0.03, *clusters, 0.1, 300, 16, 0)
    whole = attempt(network(), "momentum", 0.03, *clusters, 0.1, 300, 16, 0, to_the_end=True)
    assert whole.reached == short.reached and whole.steps[-1] == 300
    assert whole.losses[: len(short.losses)] == short.losses


def test_a_target_out_of_reach_is_not_reached(clusters):
    found = attempt(network(), "sgd", 1e-6, *clusters, 0.1, 33, 16, 0)
    assert found.reached is None and found.steps[-1] == 33


def test_a_training_that_diverges_keeps_its_last_finite_weights(clusters):
    x, labels = clusters
    found = attempt(network(), "sgd", 1e9, x * 1e3, labels, 1e-9, 400, 16, 0)
    assert found.reached is None and (not found.steps or found.steps[-1] < 400)
    assert all(np.isfinite(value).all() for value in found.network.state_dict().values())
