"""From a drawing to an image like those that the digits were cut from."""

import math

import numpy as np
from PIL import Image

FROM_THEN_ON = 16  # smaller images (8 x 8) are filled to the border, as scikit-learn's digits are


def as_digit(ink: np.ndarray, size: int) -> np.ndarray | None:
    """A drawing as the data sets show digits: cut out, scaled to fit, shrunk by averaging, in the right
    place.

    As MNIST does it (LeCun et al. 1998, section III.A): the longer side of the digit is 20 of 28 pixels,
    and its center of mass is the center of the image. Images below 16 x 16 are filled to their border and
    centered by their outline.

    Args:
        ink: `(height, width)`, uint8, 255 where there is ink.
        size: height and width of the result.

    Returns:
        `(size, size)`, uint8; None for a drawing without ink.
    """
    rows, columns = np.flatnonzero(ink.max(axis=1) > 0), np.flatnonzero(ink.max(axis=0) > 0)
    if not len(rows):
        return None
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = size if size < FROM_THEN_ON else round(size * 20 / 28)
    scale = box / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    small = np.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.BOX))
    top, left = (
        (size - height + 1) // 2,
        (size - width + 1) // 2,
    )  # as 90 % of scikit-learn's digits are placed
    if size >= FROM_THEN_ON:
        down, across = (
            np.average(np.arange(n) + 0.5, weights=small.sum(axis=1 - axis) + 1e-9)
            for axis, n in enumerate(small.shape)
        )
        # MNIST's files have the center of mass within the pixel right of and below the middle.
        top = min(max(math.ceil(size / 2 - down), 0), size - height)
        left = min(max(math.ceil(size / 2 - across), 0), size - width)
    image = np.zeros((size, size), dtype=np.uint8)
    image[top : top + height, left : left + width] = small
    return image
