"""Labeled images from every kind of source, and what is said about those that cannot be read."""

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

from hf_llmpath.data.images import LabeledImages, load_images
from hf_llmpath.errors import UserError
from hf_llmpath.models.image_processing_mlp import LLMPathMLPImageProcessor


def pictures(count, size=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size), dtype=np.uint8)


def png(array, mode="L"):
    buffer = io.BytesIO()
    Image.fromarray(array).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(path, rows, labels, classes=None):
    import datasets

    label = datasets.ClassLabel(names=classes) if classes else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    table = datasets.Dataset.from_dict(
        {"image": [{"bytes": row, "path": None} for row in rows], "label": labels}, features=features
    )
    table.to_parquet(path)


@pytest.fixture
def folder_of_parquet(tmp_path):
    train, test = pictures(12), pictures(5, seed=1)
    parquet(tmp_path / "train.parquet", map(png, train), [0, 1] * 6, ["no", "yes"])
    parquet(tmp_path / "test.parquet", map(png, test), [1, 0, 1, 0, 1], ["no", "yes"])
    return tmp_path, train, test


def test_digits_are_those_of_scikit_learn_in_a_fixed_split():
    from sklearn.datasets import load_digits

    images, again = load_images("digits"), load_images("digits")
    assert len(images.train) == 1437 and len(images.held_out) == 360 and images.size == 8
    assert images.fingerprint == again.fingerprint and images.classes == [str(k) for k in range(10)]
    both = np.concatenate([images.train.pixels, images.held_out.pixels])
    known = {np.round(image * 255 / 16).astype(np.uint8).tobytes() for image in load_digits().images}
    assert {image.tobytes() for image in both} == known
    shares = np.bincount(images.held_out.labels) / 360
    assert np.abs(shares - 0.1).max() < 0.01
    assert images.provenance["sizes"] == {
        "train_images": 1437,
        "test_images": 360,
        "pixels": 64,
        "classes": 10,
    }


def test_parquet(folder_of_parquet):
    path, train, test = folder_of_parquet
    images = load_images(str(path))
    np.testing.assert_array_equal(images.train.pixels, train)
    np.testing.assert_array_equal(images.held_out.pixels, test)
    assert images.held_out.labels.tolist() == [1, 0, 1, 0, 1]
    assert (images.classes, images.held_out_split) == (["no", "yes"], "test")
    assert images.fingerprint == load_images(str(path)).fingerprint


def test_class_folders_with_and_without_a_split(tmp_path):
    for name, count in (("cat", 10), ("dog", 5)):
        (tmp_path / "a" / name).mkdir(parents=True)
        for number, picture in enumerate(pictures(count, seed=count)):
            (tmp_path / "a" / name / f"{number:02d}.png").write_bytes(png(picture))
    images = load_images(str(tmp_path / "a"))
    assert images.classes == ["cat", "dog"] and images.held_out_split == "validation"
    assert (len(images.train), len(images.held_out)) == (12, 3)
    assert np.bincount(images.held_out.labels).tolist() == [2, 1]
    (tmp_path / "b").mkdir()
    (tmp_path / "a").rename(tmp_path / "b" / "train")
    (tmp_path / "b" / "test" / "dog").mkdir(parents=True)
    one = pictures(1, seed=9)
    (tmp_path / "b" / "test" / "dog" / "x.png").write_bytes(png(one[0]))
    images = load_images(str(tmp_path / "b"))
    assert (len(images.train), images.held_out.labels.tolist()) == (15, [1])
    np.testing.assert_array_equal(images.held_out.pixels, one)


def test_a_batch_is_gathered_and_standardized():
    images = load_images("digits").train
    rows = [5, 0, 5, 1436]
    batch = images[rows]
    expected = (images.pixels[rows].astype(np.float64) / 255 - images.mean) / images.std
    assert batch["pixel_values"].shape == (4, 1, 8, 8) and batch["pixel_values"].dtype is torch.float32
    np.testing.assert_allclose(batch["pixel_values"][:, 0], expected, atol=1e-6)
    assert batch["labels"].tolist() == images.labels[rows].tolist()
    everything = images[:]["pixel_values"]
    assert abs(everything.mean()) < 1e-3 and abs(everything.std() - 1) < 1e-3


def test_a_batch_is_what_the_image_processor_gives():
    images = load_images("digits").train
    processor = LLMPathMLPImageProcessor(
        size={"height": 8, "width": 8}, image_mean=[images.mean], image_std=[images.std]
    )
    files = [Image.fromarray(images.pixels[row]) for row in (3, 4)]
    expected = processor(files, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(images[[3, 4]]["pixel_values"], expected, rtol=0, atol=1e-5)


def test_colors_become_gray_and_it_is_said(tmp_path):
    gray = pictures(4)
    parquet(tmp_path / "train.parquet", [png(row, "RGB") for row in gray], [0, 1, 0, 1])
    parquet(tmp_path / "test.parquet", [png(row, "RGB") for row in gray], [0, 1, 0, 1])
    images = load_images(str(tmp_path))
    np.testing.assert_array_equal(images.train.pixels, gray)
    assert images.provenance["converted"] == "RGB to gray"


def refusal(tmp_path, rows, labels, classes=None):
    parquet(tmp_path / "train.parquet", rows, labels, classes)
    parquet(tmp_path / "test.parquet", [png(row) for row in pictures(2)], [0, 1], classes)
    with pytest.raises(UserError) as error:
        load_images(str(tmp_path))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_another_size(tmp_path):
    rows = [*map(png, pictures(3)), png(pictures(1, size=7)[0])]
    assert "image 4 of split 'train'" in (message := refusal(tmp_path, rows, [0, 1, 0, 1]))
    assert (
        "is 7 x 7, mode L, the first is 6 x 6, mode L; all images must have the same size and mode" in message
    )


def test_another_mode(tmp_path):
    rows = [png(pictures(1)[0]), png(pictures(1)[0], "RGB")]
    assert "is 6 x 6, mode RGB, the first is 6 x 6, mode L" in refusal(tmp_path, rows, [0, 1])


def test_images_that_are_not_square(tmp_path):
    assert "is 5 x 6, mode L; images must be square" in refusal(
        tmp_path, [png(pictures(1)[0][:, :5])] * 2, [0, 1]
    )


def test_something_that_is_no_image(tmp_path):
    rows = [png(pictures(1)[0]), b"no image at all"]
    assert "image 2 of split 'train'" in (message := refusal(tmp_path, rows, [0, 1]))
    assert "is not an image (unknown format)" in message
    whole = png(pictures(1, size=40)[0])
    assert "is not an image" in refusal(tmp_path, [whole[: len(whole) // 2]] * 2, [0, 1])


def test_a_single_class(tmp_path):
    assert "single class" in refusal(tmp_path, map(png, pictures(3)), [1, 1, 1])
    assert "has the single class 'b'; at least 2" in refusal(
        tmp_path, map(png, pictures(3)), [1, 1, 1], ["a", "b"]
    )


def test_class_folders_too_small_to_hold_some_out(tmp_path):
    for name, count in (("a", 1), ("b", 9)):
        (tmp_path / name).mkdir()
        for number, row in enumerate(pictures(count)):
            (tmp_path / name / f"{number}.png").write_bytes(png(row))
    with pytest.raises(
        UserError, match="has 10 images in 2 classes, 1 in the smallest; a fifth .* at least 2 of each"
    ):
        load_images(str(tmp_path))


def test_a_label_that_is_no_class(tmp_path):
    parquet(tmp_path / "train.parquet", map(png, pictures(4)), [0, 1, 0, 1])
    parquet(tmp_path / "test.parquet", map(png, pictures(2)), [1, 7])
    with pytest.raises(UserError, match=r"row 2 of split 'test' .* has the label 7; the classes are: 0, 1"):
        load_images(str(tmp_path))


def test_pixels_that_are_all_alike(tmp_path):
    assert "all pixels" in refusal(tmp_path, [png(np.full((6, 6), 9, np.uint8))] * 2, [0, 1])


def test_missing_columns_and_wrong_ones(folder_of_parquet, tmp_path):
    path = str(folder_of_parquet[0])
    with pytest.raises(UserError, match="has no column 'imagee'; it has: image, label"):
        load_images(path, image_column="imagee")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "rows.csv").write_text("image,label\n" + "a.png,0\nb.png,1\n" * 9)
    with pytest.raises(UserError, match="column 'image' of .* holds .*string, not images"):
        load_images(str(tmp_path / "t" / "rows.csv"))


@pytest.mark.parametrize("name", ["./nothing", "/nothing/at/all.parquet"])
def test_nothing_there(name):
    with pytest.raises(UserError, match="no file or folder"):
        load_images(name)


def test_an_unknown_class_in_the_test_folders(tmp_path):
    for path in ("train/a", "train/b", "test/c"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "x.png").write_bytes(png(pictures(1)[0]))
    with pytest.raises(UserError, match="has class 'c' in 'test' that is not in 'train': a, b"):
        load_images(str(tmp_path))


def test_part_keeps_the_standardization():
    images = load_images("digits").train
    part = images.part(np.array([4, 2]))
    assert isinstance(part, LabeledImages) and len(part) == 2
    torch.testing.assert_close(part[:]["pixel_values"], images[[4, 2]]["pixel_values"])


@pytest.mark.slow
def test_mnist_is_recognized_and_read_in_seconds(shared_data):
    began = time.perf_counter()
    images = load_images(str(shared_data / "mnist"))
    assert time.perf_counter() - began < 30
    assert (images.known, images.size) == ("mnist", 28)
    assert (len(images.train), len(images.held_out), images.held_out_split) == (60_000, 10_000, "test")
    assert (images.train.mean, images.train.std) == (0.1307, 0.3081)
    assert images.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
