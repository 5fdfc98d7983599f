"""Points in the plane: the shapes are what they are called."""

import numpy as np
import pytest

from hf_llmpath.data.points import SHAPES, XOR_INPUTS, XOR_LABELS, load_points, make_points
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


@pytest.mark.parametrize("name", ["moons", "circles", "spirals"])
def test_points_to_measure_on_are_others(name):
    sets = load_points(name, 60, 0.1, 3)
    train, test = ({tuple(row) for row in points.x} for points in (sets.train, sets.test))
    assert len(train) == len(test) == 60 and not train & test
    assert sets.provenance["sizes"] == {"train_points": 60, "test_points": 60}
    assert sets.provenance["fingerprint"] == sets.train.fingerprint


def test_xor_is_its_truth_table():
    sets = load_points("xor", 500, 0.3, 0)
    np.testing.assert_array_equal(sets.train.x, XOR_INPUTS)
    np.testing.assert_array_equal(sets.test.labels, XOR_LABELS)


def table(path, rows, header="x1,x2,label"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def test_a_table_of_points(tmp_path):
    rows = [f"{i},{i * 0.5},{'in' if i % 3 else 'out'}" for i in range(30)]
    sets = load_points(
        table(tmp_path / "p.csv", rows, "east,north,where"),
        0,
        0,
        0,
        {"x1": "east", "x2": "north", "label": "where"},
    )
    assert len(sets.train.x) + len(sets.test.x) == 30
    for points in (sets.train, sets.test):
        np.testing.assert_array_equal(points.x[:, 1], 0.5 * points.x[:, 0])
        np.testing.assert_array_equal(points.labels, points.x[:, 0].astype(int) % 3 == 0)  # "in" before "out"


@pytest.mark.parametrize(
    "rows, message",
    [
        (["0,1,0", "1,nan,1", "2,2,0"], "column x2 .* is nan in row 2; it must be finite"),
        (
            [*[f"{i},{i},{i % 2}" for i in range(30)], "1,inf,1"],
            "column x2 .* is inf in row 31; it must be finite",
        ),
        (["0,a,0", "1,b,1", "2,c,0"], "column x2 .* does not hold numbers only"),
        (["0,1,0", "1,2,0", "2,3,0"], "has the single class 0"),
        ([f"{i},{i},{i % 3}" for i in range(30)], r"has 3 classes \(0, 1, 2\); it takes two"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        load_points(table(tmp_path / "bad.csv", rows), 0, 0, 0)


def test_a_misspelt_shape_names_the_nearest():
    with pytest.raises(UserError, match="unknown data set 'spiral'; did you mean 'spirals'"):
        load_points("spiral", 10, 0.1, 0)


def test_a_missing_file_and_a_missing_column(tmp_path):
    with pytest.raises(UserError, match="no file or folder './nowhere.csv'"):
        load_points("./nowhere.csv", 10, 0.1, 0)
    with pytest.raises(
        UserError, match="has no x2 column .*; name one of: x1, height, label with --set x2_column="
    ):
        load_points(table(tmp_path / "p.csv", ["1,2,0", "2,3,1"], "x1,height,label"), 0, 0, 0)
