"""Classifiers of points in the plane: training, surface, and equality with the saved model."""

import numpy as np
import pytest

from hf_llmpath.data.points import PointSets, load_points, make_points
from hf_llmpath.training.recipes.plane import (
    RESOLUTION,
    PointClassifier,
    accuracy,
    differences,
    linear_accuracy,
    save_classifier,
    surface,
)

CLASSIFIER = PointClassifier((16,), "relu", 0.3, 200, 32)


@pytest.fixture
def moons(a_started_run):
    points = PointSets(make_points("moons", 200, 0.05, 0), make_points("moons", 200, 0.05, 1), {})
    return points, *CLASSIFIER.train(points, a_started_run.job("moons"), 0)


def test_a_hidden_layer_learns_what_a_line_cannot(moons, a_started_run):
    points, network, result = moons
    assert result["accuracy"] == accuracy(network, points.test) > linear_accuracy(points)
    assert result["accuracy"] >= 0.98 and result["loss"] < 0.1
    again, kept = CLASSIFIER.train(points, a_started_run.job("moons"), 0)
    assert kept == result  # read back, not trained again
    np.testing.assert_array_equal(again.predict(points.test.x), network.predict(points.test.x))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu"])
@pytest.mark.parametrize("hidden_sizes", [(), (8,), (8, 5)])
def test_the_saved_model_is_the_network(a_started_run, hidden_sizes, activation):
    network = PointClassifier(hidden_sizes, activation, 0.1, 1, 32).network(seed=3)
    for _, value, _ in network.parameters():
        value += np.random.default_rng(0).normal(0, 0.5, value.shape).astype(np.float32)
    largest = differences(
        network, save_classifier(network, a_started_run), make_points("spirals", 100, 0.1, 0).x
    )
    assert largest["float32"] <= 1e-6 and largest["float64"] <= 1e-12


def test_another_network_is_told_from_the_saved_one(a_started_run):
    saved, other = CLASSIFIER.network(seed=0), CLASSIFIER.network(seed=1)
    folder = save_classifier(saved, a_started_run)
    assert differences(other, folder, make_points("moons", 50, 0.1, 0).x)["float32"] > 1e-2


def test_a_surface_is_what_the_network_says_on_a_square_around_the_points(moons):
    points, network, _ = moons
    test, data = points.test, surface(network, points.test, units=5)
    left, right, bottom, top = data["extent"]
    assert right - left == pytest.approx(top - bottom)
    assert left < test.x[:, 0].min() and top > test.x[:, 1].max()
    corner = network.predict(np.array([[right, bottom]]))[0, 0]
    probability = np.array(data["probability"])
    assert probability.shape == (RESOLUTION, RESOLUTION)
    assert probability[0, -1] == pytest.approx(1 / (1 + np.exp(-corner)), abs=1e-3)
    (units,) = data["units"]
    assert len(units) == 5 and len(data["weights"][0]) == 16
    hidden = network.outputs(np.array([[right, bottom]]))[1][0, :5]
    np.testing.assert_allclose([np.array(unit)[0, -1] for unit in units], hidden, atol=1e-2)


def test_a_straight_line_cannot_do_xor():
    assert linear_accuracy(load_points("xor", 4, 0.0, 0)) <= 0.75
