"""Labels that are no class, told by name."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

IGNORED = -100  # label of what the loss leaves out


@contextmanager
def told_by_name(labels: Tensor, classes: int) -> Iterator[None]:
    """A loss inside that finds a label beyond its classes raises a `ValueError` that names both. (On a
    GPU it is its kernel that fails, at some later moment.)"""
    try:
        yield
    except IndexError:
        wrong = [
            label for label in labels.flatten().tolist() if label != IGNORED and not 0 <= label < classes
        ]
        if not wrong:
            raise
        raise ValueError(f"label {wrong[0]} is no class; labels run from 0 to {classes - 1}") from None
