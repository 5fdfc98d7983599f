"""Points in the plane: the shapes are what they are called."""

import numpy as np
import pytest

from hf_llmpath.data.points import SHAPES, XOR_INPUTS, XOR_LABELS, make_points
from hf_llmpath.errors import UserError


@pytest.mark.parametrize("name", SHAPES)
def test_points_are_seeded_balanced_and_float(name):
    one, again, other = (make_points(name, 200, 0.05, seed) for seed in (1, 1, 2))
    assert one.x.shape == (200, 2) and one.x.dtype == np.float64 and one.labels.shape == (200,)
    assert one.labels.sum() == 100
    assert one.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(one.targets, one.labels[:, None])


def test_four_points_of_xor_are_the_truth_table():
    points = make_points("xor", 4, noise=0)
    rows = sorted(zip(points.x.tolist(), points.labels.tolist(), strict=True))
    assert rows == sorted(zip(XOR_INPUTS.tolist(), XOR_LABELS.tolist(), strict=True))


def test_circles_are_told_apart_by_their_radius():
    points = make_points("circles", 100, noise=0)
    np.testing.assert_allclose(np.hypot(*points.x.T), np.where(points.labels, 0.5, 1.0))


def test_the_arms_of_the_spirals_are_half_a_turn_apart():
    points = make_points("spirals", 300, noise=0)
    radius, angle = np.hypot(*points.x.T), np.arctan2(points.x[:, 1], points.x[:, 0])
    off = (angle - 2 * np.pi * 1.5 * radius - np.pi * points.labels + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(off, 0, atol=1e-9)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("spiral",), "unknown shape 'spiral'; did you mean 'spirals'?"),
        (("xor", 3), "3 points; at least 4 are needed"),
        (("xor", 8, -1.0), "noise is -1.0; it must be a finite number, 0 or more"),
        (("xor", 8, float("nan")), "noise is nan; it must be a finite number, 0 or more"),
    ],
)
def test_bad_requests_are_one_line(arguments, message):
    with pytest.raises(UserError) as error:
        make_points(*arguments)
    assert str(error.value) == message
