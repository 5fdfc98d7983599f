"""Distortions of image batches: their effect on points, and their reproducibility."""

import math

import pytest
import torch

from hf_llmpath.stages.s05_regularization.augmentation import Augmentation, Distortions

NONE = {"rotation": 0, "scale": 0, "shear": 0, "shift": 0, "elastic": 0}


def augmentation(size=28, fill=0.0, **amounts):
    return Augmentation(size, Distortions(**NONE | amounts), fill=fill)


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def test_no_distortion_gives_the_images_back():
    images = torch.rand(5, 2, 28, 28)
    torch.testing.assert_close(augmentation()(images, random()), images, rtol=0, atol=1e-5)


def test_a_shift_by_whole_pixels_is_a_shift_by_whole_pixels():
    images = torch.rand(400, 1, 8, 8)
    shifted = augmentation(8, shift=0.25, fill=-1.0)  # up to two pixels
    maps = shifted._affine(400, random())
    shifted._affine = lambda batch, generator: torch.cat([maps[:, :2], (maps[:, 2:] * 4).round() / 4], dim=1)
    out = shifted(images, random())
    moved = (maps[:, 2] * 4).round().int().tolist()
    assert {x for x, _ in moved} == {y for _, y in moved} == {-2, -1, 0, 1, 2}
    for image, new, (x, y) in zip(images[:, 0], out[:, 0], moved, strict=True):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2), value=-1.0)
        torch.testing.assert_close(new, padded[2 + y : 10 + y, 2 + x : 10 + x], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "amount, limits",
    [
        ({"rotation": 30}, {"rotation": math.radians(30)}),
        ({"scale": 0.2}, {"scale": 0.25}),
        ({"shear": 0.3}, {"shear": 0.3}),
        ({"shift": 0.1}, {"shift": 0.2}),
    ],
    ids=["rotation", "scale", "shear", "shift"],
)
def test_each_amount_does_what_its_name_says(amount, limits):
    maps = augmentation(**amount)._affine(2000, random())
    matrix, shift = maps[:, :2], maps[:, 2]
    determinant = torch.linalg.det(matrix)
    if "rotation" in amount:
        angles = torch.atan2(matrix[:, 0, 1], matrix[:, 0, 0]).abs()
        assert 0.97 * limits["rotation"] < angles.max() <= limits["rotation"] + 1e-6
        torch.testing.assert_close(matrix @ matrix.mT, torch.eye(2).expand(2000, 2, 2), rtol=0, atol=1e-6)
    elif "scale" in amount:
        assert (matrix[:, 0, 1] == 0).all() and (matrix[:, 1, 0] == 0).all()
        sizes = torch.stack([matrix[:, 0, 0], matrix[:, 1, 1]])
        assert 1 / 1.2 - 1e-6 <= sizes.min() < 0.84 and 1.24 < sizes.max() <= 1.25 + 1e-6
    elif "shear" in amount:
        torch.testing.assert_close(determinant, torch.ones(2000))
        assert (matrix[:, 0, 1] == 0).all() and 0.29 < matrix[:, 1, 0].max() <= 0.3
    else:
        torch.testing.assert_close(matrix, torch.eye(2).expand(2000, 2, 2))
        assert 0.19 < shift.max() <= 0.2 and -0.2 <= shift.min() < -0.19


def test_rotation_turns_clockwise_points_together():
    """A dot to the right of the middle stays at its distance from the middle."""
    image = torch.zeros(1, 1, 29, 29)
    image[..., 14, 22] = 1
    out = augmentation(29, rotation=40)(image.expand(200, 1, 29, 29), random())
    axis = torch.arange(29.0) - 14
    mass = out.sum((1, 2, 3))
    x = (out * axis).sum((1, 2, 3)) / mass
    y = (out * axis[:, None]).sum((1, 2, 3)) / mass
    torch.testing.assert_close(torch.hypot(x, y), torch.full((200,), 8.0), rtol=0.05, atol=0)
    assert y.min() < -4 and y.max() > 4


def test_elastic_displacement_has_the_stated_size_and_is_smooth():
    fields = (
        augmentation(elastic=0.05, smoothness=4 / 28)._elastic(4000, random()).view(4000, 28, 28, 2) / 2 * 28
    )  # pixels
    deviation = fields.std(0)
    torch.testing.assert_close(deviation, torch.full_like(deviation, 1.4), rtol=0.08, atol=0)
    torch.testing.assert_close(fields.mean((0, 1, 2)), torch.zeros(2), rtol=0, atol=0.03)
    assert (fields[..., 0] * fields[..., 1]).mean().abs() < 0.03
    # Noise blurred by a Gaussian of width s is correlated as a Gaussian of width sqrt(2) s.
    for lag in (1, 4, 8):
        correlation = (fields[:, :, lag:] * fields[:, :, :-lag]).mean() / fields.square().mean()
        assert correlation.item() == pytest.approx(math.exp(-(lag**2) / (4 * 4**2)), abs=0.03)


def test_what_comes_in_from_outside_is_the_background():
    images = torch.full((50, 1, 28, 28), -0.42)
    out = Augmentation(28, Distortions(), fill=-0.42)(images, random())
    torch.testing.assert_close(out, images, rtol=0, atol=1e-6)


def test_the_generator_decides_and_nothing_else():
    images, distort = torch.rand(6, 1, 8, 8), Augmentation(8)
    before = torch.get_rng_state()
    generator = random(3)
    first = distort(images, generator)
    state = generator.get_state()
    second = distort(images, generator)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, second)
    assert torch.equal(first, Augmentation(8)(images, random(3)))
    generator.set_state(state)
    assert torch.equal(distort(images, generator), second)
    alike = distort(images[:1].expand(6, 1, 8, 8), generator)
    assert not torch.equal(alike[0], alike[1])  # each image in its own way


def test_channels_move_together():
    images = torch.rand(4, 1, 8, 8).expand(4, 3, 8, 8)
    out = Augmentation(8)(images, random(1))
    assert torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 0], out[:, 2])


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(batch, channels, 28, 28\), got \(3, 784\)"):
        Augmentation(28)(torch.rand(3, 784), random())
