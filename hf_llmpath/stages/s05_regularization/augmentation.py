"""Augments data by small random distortions of whole batches, which do not change the class of an image.

An affine map (rotation, scale, shear, shift) and an elastic distortion move the points at which an image
is read. One bilinear look-up per batch reads all of these points, without a loop over images. The random
fields cost less than the look-up, because they are smooth: their noise is drawn on a coarse grid, and the
Gaussian blur is two small matrix products.

Source of the elastic distortion: Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural
Networks Applied to Visual Document Analysis", 2003, section 2.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Distortions:
    """Limits of the distortions. Each amount is drawn uniformly between its negative and positive limit.

    Attributes:
        rotation: degrees.
        scale: relative change of the width and of the height, drawn independently.
        shear: sideways shift from one row of pixels to the next, in pixels.
        shift: shift along each axis, as a share of the image size.
        elastic: standard deviation of the elastic displacement, as a share of the image size.
        smoothness: standard deviation of the Gaussian that smooths the elastic displacement, as a share of
            the image size.
    """

    rotation: float = 10.0
    scale: float = 0.1
    shear: float = 0.15
    shift: float = 0.05
    elastic: float = 0.04
    smoothness: float = 0.15


class Augmentation:
    """Distorts batches of square images, each image differently.

    All randomness comes from the generator that a call gets: the same state gives the same distortions.

    Args:
        image_size: the height and width in pixels.
        distortions: the limits of the distortions.
        fill: the value of the background, for points outside the image.
    """

    def __init__(self, image_size: int, distortions: Distortions | None = None, fill: float = 0.0):
        self.image_size, self.fill = image_size, fill
        self.distortions = distortions or Distortions()
        # The image reaches from -1 to 1, as in `grid_sample`; these are the centers of its pixels.
        centers = (2 * torch.arange(image_size) + 1) / image_size - 1  # (size,)
        y, x = torch.meshgrid(centers, centers, indexing="ij")  # (size, size) each
        # Points (x, y, 1), to which a (3, 2) matrix applies an affine map: (size, size, 3) -> (pixels, 3).
        self._points = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(-1, 3)
        # The lower bound avoids a division by zero.
        self._blur = _blur(image_size, max(self.distortions.smoothness, 1e-6) * image_size)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Distorts floating-point images `(batch, channels, image_size, image_size)` and keeps their shape.

        Raises:
            ValueError: If the images have another shape.
        """
        size = self.image_size
        if images.dim() != 4 or images.shape[2:] != (size, size):
            raise ValueError(f"expected images (batch, channels, {size}, {size}), got {tuple(images.shape)}")
        # The x and y at which each pixel is read: (pixels, 3) @ (batch, 3, 2) -> (batch, pixels, 2).
        grid = torch.matmul(self._points.to(generator.device), self._affine(len(images), generator))
        if self.distortions.elastic:
            grid += self._elastic(len(images), generator)
        grid = grid.view(-1, size, size, 2).to(images)  # (batch, pixels, 2) -> (batch, size, size, 2)
        options = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": False}
        # `grid_sample` reads 0 outside the image, so the background must be 0 while it reads.
        return F.grid_sample(images - self.fill, grid, **options).add_(self.fill)

    def _affine(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draws matrices `(batch, 3, 2)` that map points (x, y, 1) of the new image to the old one."""
        amount = self.distortions
        # (batch, 6), uniform from -1 to 1; the numbers below are (batch,) each.
        r = 2 * torch.rand(batch, 6, generator=generator, device=generator.device) - 1
        angle = r[:, 0] * math.radians(amount.rotation)
        width, height = 1 + amount.scale * r[:, 1], 1 + amount.scale * r[:, 2]
        cos, sin, shear = angle.cos(), angle.sin(), amount.shear * r[:, 3]
        maps = torch.empty(batch, 3, 2, device=r.device)
        # Row 0 multiplies x, row 1 multiplies y, and row 2 is the shift. The scales are divisors, because the
        # map leads from the new image to the old one.
        maps[:, 0, 0], maps[:, 0, 1] = cos / width, sin / height
        maps[:, 1, 0], maps[:, 1, 1] = (shear * cos - sin) / width, (shear * sin + cos) / height
        maps[:, 2] = 2 * amount.shift * r[:, 4:]  # (batch, 2); the factor is 2 because the image is 2 wide
        return maps

    def _elastic(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draws displacements `(batch, pixels, 2)`, noise that a Gaussian smooths along both axes."""
        coarse = self._blur.shape[1]
        shape = (batch, 2, coarse, coarse)
        noise = 2 * torch.rand(shape, generator=generator, device=generator.device) - 1
        blur = self._blur.to(noise)
        # (size, coarse) @ (batch, 2, coarse, coarse) @ (coarse, size) -> (batch, 2, size, size); the standard
        # deviation is 1 at each pixel.
        field = blur @ noise @ blur.t()
        # (batch, 2, size, size) -> (batch, 2, pixels) -> (batch, pixels, 2); 2, because the image is 2 wide.
        return field.flatten(2).transpose(1, 2).mul_(2 * self.distortions.elastic)


def _blur(size: int, sigma: float) -> Tensor:
    """Returns Gaussian weights `(size, coarse)` from noise on a coarse grid to the pixels, along one axis.

    One knot per sigma is enough: its blurred noise differs from that of a knot per pixel by less than one
    part in 1,000. The grid reaches three sigma beyond the image. Rows are scaled so that uniform noise in
    (-1, 1), blurred along both axes, has variance 1 in every pixel.
    """
    step = max(1.0, sigma)
    reach = 3 * sigma
    count = math.ceil((size - 1 + 2 * reach) / step) + 1
    knots = torch.linspace(-reach, size - 1 + reach, count)  # (coarse,)
    # (size, 1) - (1, coarse) -> (size, coarse)
    weights = torch.exp(-0.5 * ((torch.arange(size)[:, None] - knots[None, :]) / sigma) ** 2)
    variance_of_uniform = 1 / 3
    # The variance at a pixel is ‖row‖² ‖column‖² / 3, which is 1 if each norm is the fourth root of 3.
    return weights / (weights.norm(dim=1, keepdim=True) * variance_of_uniform**0.25)
