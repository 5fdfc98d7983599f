"""A drawing becomes an image like those of the data sets."""

import numpy as np
import pytest
from scipy import ndimage

from hf_llmpath.data.images import load_images
from hf_llmpath.stages.s04_deep_networks.canvas import as_digit


def drawing(top=30, left=200, height=60, width=20):
    ink = np.zeros((280, 280), dtype=np.uint8)
    ink[top : top + height, left : left + width] = 255
    ink[top : top + 10, left : left + 2 * width] = 255  # a bar, so that its mass is not its middle
    return ink


def test_as_mnist_does_it():
    image = as_digit(drawing(), 28)
    rows, columns = (np.flatnonzero(image.max(axis=axis)) for axis in (1, 0))
    assert image.shape == (28, 28) and image.dtype == np.uint8
    assert rows[-1] - rows[0] + 1 == 20  # the longer side
    center = np.array(ndimage.center_of_mass(image)) + 0.5
    assert center.min() >= 14 - 0.1 and center.max() < 15
    assert columns[-1] - columns[0] + 1 in (13, 14)


@pytest.mark.parametrize("size", [8, 28])
@pytest.mark.parametrize("scale", [1, 2])
def test_place_and_size_of_the_drawing_do_not_matter(size, scale):
    expected = as_digit(drawing(), size)
    moved = as_digit(np.kron(drawing(150, 40), np.ones((scale, scale), np.uint8)), size)
    # A drawing twice as large is rounded to other pixels.
    assert np.abs(moved.astype(int) - expected).max() <= 16


def test_small_images_are_filled_as_the_digits_are():
    image = as_digit(drawing(), 8)
    assert image[0].any() and image[-1].any()
    filled = load_images("digits").train.pixels.max(axis=2)  # ink in each row
    assert (filled[:, 0] > 0).mean() > 0.9 and (filled[:, -1] > 0).mean() > 0.9


def test_nothing_drawn():
    assert as_digit(np.zeros((280, 280), np.uint8), 28) is None


def test_a_dot_and_a_line():
    dot = np.zeros((280, 280), np.uint8)
    dot[5, 7] = 255
    assert as_digit(dot, 28).max() == 255
    line = np.zeros((280, 280), np.uint8)
    line[10:200, 50] = 255
    assert as_digit(line, 28).max() == 255 and as_digit(line, 8).max() == 255


@pytest.mark.slow
def test_a_digit_of_mnist_stays_where_it_is(shared_data):
    """Cut out, scaled and centered again, a digit that was prepared like that hardly changes."""
    images = load_images(str(shared_data / "mnist")).held_out.pixels[:50]
    changed = [np.abs(as_digit(image, 28).astype(float) - image).mean() for image in images]
    assert np.median(changed) < 1
