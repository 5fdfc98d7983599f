"""Draws points in the plane with two classes: XOR, moons, circles, and spirals."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import UserError, nearest

SHAPES = ("xor", "moons", "circles", "spirals")
XOR_INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_LABELS = np.array([0, 1, 1, 0])
TURNS = 1.5  # number of turns of each spiral
TEST_SEED = 1_000_003  # added to the seed for the test points; so large that no usual seed collides


@dataclass(frozen=True)
class Points:
    """Points of a shape, in random order.

    Attributes:
        name: one of `SHAPES`.
        x: coordinates `(count, 2)`, float64.
        labels: classes `(count,)`, 0 or 1.
    """

    name: str
    x: np.ndarray
    labels: np.ndarray

    @property
    def targets(self) -> np.ndarray:
        """Returns the labels as a column of floats `(count, 1)`, as `BinaryCrossEntropy` takes them."""
        # (count,) -> (count, 1)
        return self.labels[:, None].astype(np.float64)

    @property
    def fingerprint(self) -> str:
        """Returns the first 16 hex digits of the SHA-256 of the values."""
        return hashlib.sha256(self.x.tobytes() + self.labels.astype(np.int64).tobytes()).hexdigest()[:16]


def make_points(name: str, count: int = 400, noise: float = 0.1, seed: int = 0) -> Points:
    """Draws `count` points of a shape, half of them of each class.

    Args:
        name: `"xor"` (around the corners of the unit square; 4 points without noise are the truth table),
            `"moons"` or `"circles"` (scikit-learn's), or `"spirals"` (two arms of `TURNS` turns with an outer
            radius of 1).
        count: number of points, at least 4.
        noise: standard deviation of the normal noise on both coordinates.
        seed: seed of the positions, the noise, and the order.

    Raises:
        UserError: the name is unknown, there are fewer than 4 points, or the noise is negative or infinite.
    """
    if name not in SHAPES:
        raise UserError(
            f"unknown shape '{name}'{nearest(name, SHAPES) or '; there are: ' + ', '.join(SHAPES)}"
        )
    if count < 4:
        raise UserError(f"{count} points; at least 4 are needed")
    if not (np.isfinite(noise) and noise >= 0):
        raise UserError(f"noise is {noise}; it must be a finite number, 0 or more")
    rng = np.random.default_rng(seed)
    if name == "xor":
        corner = np.arange(count) % 4  # (count,), the four corners in turn
        x, labels = XOR_INPUTS[corner] + rng.normal(0, noise, (count, 2)), XOR_LABELS[corner]
    elif name == "spirals":
        x, labels = _spirals(count, noise, rng)
    else:
        from sklearn.datasets import make_circles, make_moons

        draw = make_moons if name == "moons" else partial(make_circles, factor=0.5)
        x, labels = draw(count, noise=noise, random_state=seed)
    order = rng.permutation(count)
    return Points(name, np.ascontiguousarray(x[order]), labels[order])


def _spirals(count: int, noise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws two arms; the second one has the same form as the first, turned by half a circle."""
    labels = np.arange(count) % 2
    # Length along the arm grows roughly with radius², so the square root spreads the points evenly.
    radius = np.sqrt(rng.uniform(0.02, 1, count))  # (count,)
    angle = 2 * np.pi * TURNS * radius + np.pi * labels  # (count,)
    # (count, 1) * (count, 2) -> (count, 2)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x + rng.normal(0, noise, (count, 2)), labels


@dataclass(frozen=True)
class PointSets:
    """Holds training points, test points, and their provenance for metrics.json."""

    train: Points
    test: Points
    provenance: dict[str, Any]


def load_points(
    dataset: str, count: int, noise: float, seed: int, columns: Mapping[str, str | None] | None = None
) -> PointSets:
    """Reads the value of `--dataset` as points in the plane.

    Args:
        dataset: a name of `SHAPES`, or a table (local file or folder, or Hub id) with two columns of
            numbers and a column of two classes. `"xor"` is the truth table: its four points serve as both
            sets, because there are no others.
        count, noise, seed: number, noise, and seed of a shape's training points; as many test points are
            drawn.
        columns: names of the table's columns `x1`, `x2`, and `label`, if they are not the usual ones.

    Raises:
        UserError: the data set does not exist, a column is missing, a value is not a finite number, or the
            number of classes is not two.
    """
    if dataset == "xor":
        train = test = Points("xor", XOR_INPUTS.copy(), XOR_LABELS.copy())
        return PointSets(train, test, _provenance(train, test, {}))
    if dataset in SHAPES:
        train, test = (make_points(dataset, count, noise, one_seed) for one_seed in (seed, seed + TEST_SEED))
        return PointSets(train, test, _provenance(train, test, {"noise": noise}))
    # A name without a slash or a dot is neither a path nor a usual Hub id, so a near miss is a typing error.
    if "/" not in dataset and "." not in dataset and (hint := nearest(dataset, SHAPES)):
        raise UserError(f"unknown data set '{dataset}'{hint}")
    from .tables import LABEL_COLUMNS, load_table

    usual = {"x1": ("x1", "x"), "x2": ("x2", "y"), "label": LABEL_COLUMNS}
    table = load_table(dataset, usual, columns, embedded=SHAPES, check=_numbers)
    if len(table.classes) != 2:
        raise UserError(
            f"{dataset} has {len(table.classes)} classes ({', '.join(table.classes[:6])}); it takes two"
        )
    held_out = "validation" if "validation" in table.splits else "test"
    train, test = (
        Points(
            dataset, _numbers(table.splits[split], f"'{dataset}' ({split})"), np.array(table.labels(split))
        )
        for split in ("train", held_out)
    )
    return PointSets(train, test, table.provenance)


def _numbers(rows: Any, where: str) -> np.ndarray:
    columns = []
    for name in ("x1", "x2"):
        try:
            columns.append(np.array(rows[name], dtype=np.float64))
        except (TypeError, ValueError):
            raise UserError(f"column {name} of {where} does not hold numbers only") from None
        bad = np.flatnonzero(~np.isfinite(columns[-1]))
        if len(bad):
            raise UserError(
                f"column {name} of {where} is {columns[-1][bad[0]]} in row {bad[0] + 1}; it must be finite"
            )
    return np.stack(columns, axis=1)  # (rows, 2)


def _provenance(train: Points, test: Points, more: dict[str, Any]) -> dict[str, Any]:
    """Collects the name, fingerprint, and sizes for metrics.json."""
    sizes = {"train_points": len(train.x), "test_points": len(test.x)}
    return {
        "name": train.name,
        "source": train.name,
        "embedded": True,
        "fingerprint": train.fingerprint,
        "sizes": sizes,
    } | more
