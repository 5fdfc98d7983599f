"""Reads labeled images into one array: they are decoded once, and every batch is a gather by index.

images = load_images("digits")            # or "ylecun/mnist", a parquet file, a folder of class folders
images.train.pixels                       # (1437, 8, 8) uint8
images.train[torch.tensor([3, 1, 4])]     # {"pixel_values": (3, 1, 8, 8), "labels": (3,)}, standardized
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import UserError
from .sources import SPLIT_NAMES
from .tables import LABEL_COLUMNS, Table, load_table

IMAGE_COLUMNS = ("image", "img", "picture", "pixels")
EMBEDDED = ("digits",)
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_HELD_OUT_SHARE = 0.2  # share held out of the digits, and of class folders that have only one split

# Public sets with published results to reach. The fingerprint identifies them, so that metrics.json claims a
# goal only for the data that it belongs to.
KNOWN = {"53b4de002add035e": "mnist"}


@dataclass(frozen=True)
class LabeledImages(Dataset):
    """Gray images and their classes, in memory.

    Attributes:
        pixels: `(count, height, width)`, uint8.
        labels: `(count,)`, int64, class numbers.
        mean, std: mean and standard deviation, for pixels scaled to 0..1, by which batches are standardized.
    """

    pixels: np.ndarray
    labels: np.ndarray
    mean: float
    std: float

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Tensor | Sequence[int] | slice) -> dict[str, Tensor]:
        """Returns a whole batch: `pixel_values` `(batch, 1, height, width)` float32, `labels` `(batch,)`."""
        pixels, labels = self._tensors
        if isinstance(rows, slice):
            pixels, labels = pixels[rows], labels[rows]
        else:
            rows = torch.as_tensor(rows)
            pixels, labels = pixels[rows], labels[rows]
        # (pixel / 255 - mean) / std, in place on the float32 copy: (batch, height, width)
        values = pixels.to(torch.float32).sub_(255 * self.mean).mul_(1 / (255 * self.std))
        return {"pixel_values": values.unsqueeze(1), "labels": labels}  # (batch, 1, height, width)

    __getitems__ = __getitem__  # the method that a DataLoader calls with a list of rows

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.pixels), torch.from_numpy(self.labels)

    def part(self, rows: np.ndarray) -> "LabeledImages":
        """Returns these rows alone, standardized by the same mean and deviation."""
        return LabeledImages(self.pixels[rows], self.labels[rows], self.mean, self.std)


@dataclass(frozen=True)
class Images:
    """Labeled images in two splits, and where they came from.

    Attributes:
        name: the value of `--dataset`.
        train, held_out: the images; both are standardized by the mean and deviation of the training pixels.
        classes: names of the classes, by number.
        held_out_split: `"test"` or `"validation"`.
        fingerprint: first 16 hex digits of the SHA-256 of all pixels and labels.
        known: name of the public data set, if the fingerprint belongs to one.
        notes: more entries for metrics.json.
    """

    name: str
    train: LabeledImages
    held_out: LabeledImages
    classes: list[str]
    held_out_split: str
    fingerprint: str
    known: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Returns the height of an image, which is also its width."""
        return self.train.pixels.shape[1]

    @property
    def provenance(self) -> dict[str, Any]:
        """Returns the name, fingerprint, and sizes for metrics.json."""
        sizes = {
            "train_images": len(self.train),
            f"{self.held_out_split}_images": len(self.held_out),
            "pixels": self.size**2,
            "classes": len(self.classes),
        }
        return {
            "name": self.known or self.name,
            "source": self.name,
            "fingerprint": self.fingerprint,
            "sizes": sizes,
        } | self.notes


def load_images(dataset: str, image_column: str | None = None, label_column: str | None = None) -> Images:
    """Reads `dataset` as labeled gray images.

    Args:
        dataset: `"digits"` (scikit-learn's 1,797 handwritten digits, 8 x 8, with a fixed stratified 80/20
            split), a .parquet file or a folder of them with `image` and `label` columns, a folder with a
            folder of image files per class (`CLASS/*.png`, or `train/CLASS/*.png` and
            `test/CLASS/*.png`), or a Hub id such as `ylecun/mnist`.
        image_column, label_column: columns of a table; by default, columns with usual names.

    Color images are converted to gray, which the provenance records.

    Raises:
        UserError: the data set does not exist, a column is missing, an entry is not an image, images differ
            in size or mode or are not square, a label is outside the classes, or the set has a single class.
    """
    if dataset in EMBEDDED:
        return _digits()
    path = Path(dataset).expanduser()
    if path.is_dir() and any(_class_folders(folder) for folder in (path, *_split_folders(path).values())):
        return _from_class_folders(path)
    table = load_table(
        dataset,
        {"image": IMAGE_COLUMNS, "label": LABEL_COLUMNS},
        {"image": image_column, "label": label_column},
        embedded=EMBEDDED,
    )
    return _from_table(table)


def _digits() -> Images:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)  # scikit-learn's values run from 0 to 16
    train, held_out = _stratified(digits.target)
    labels = digits.target.astype(np.int64)
    notes = {"split": "fixed, stratified by class, 80/20"}
    parts = {"train": (pixels[train], labels[train]), "test": (pixels[held_out], labels[held_out])}
    return _images("digits", parts, [str(name) for name in digits.target_names], notes)


def _from_table(table: Table) -> Images:
    held_out = "validation" if "validation" in table.splits else "test"
    parts, modes = {}, set()
    for split in ("train", held_out):
        pixels, mode = decode(_encoded(table, split), f"split '{split}' of {table.name}")
        parts[split] = (pixels, np.array(table.labels(split), dtype=np.int64))
        modes.add(mode)
    return _images(table.name, parts, table.classes, _notes(modes, table.name))


def _encoded(table: Table, split: str) -> Iterator[bytes]:
    """Yields the image files of a split straight from the Arrow table, without decoding them."""
    column = table.splits[split].with_format("arrow")["image"]
    for chunk in column.iterchunks() if hasattr(column, "iterchunks") else [column]:
        if not hasattr(chunk.type, "get_field_index") or chunk.type.get_field_index("bytes") < 0:
            raise UserError(f"column 'image' of {table.name} holds {chunk.type}, not images")
        paths = (
            chunk.field("path").to_pylist()
            if chunk.type.get_field_index("path") >= 0
            else [None] * len(chunk)
        )
        for content, path in zip(chunk.field("bytes"), paths, strict=True):
            yield content.as_py() if content.is_valid else _read(Path(path or ""))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _split_folders(path: Path) -> dict[str, Path]:
    return {
        split: path / name
        for split, names in SPLIT_NAMES.items()
        for name in names
        if _class_folders(path / name)
    }


def _class_folders(path: Path) -> dict[str, list[Path]]:
    """Returns a mapping from the name of each class to its image files, in sorted order."""
    if not path.is_dir():
        return {}
    classes = {
        folder.name: sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)
        for folder in sorted(path.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
    }
    return {name: files for name, files in classes.items() if files}


def _from_class_folders(path: Path) -> Images:
    splits = _split_folders(path)
    folders = {split: _class_folders(folder) for split, folder in splits.items()} or {
        "train": _class_folders(path)
    }
    if "train" not in folders:
        raise UserError(f"folder {path} has no train folder; it has: {', '.join(sorted(folders))}")
    held_out_split = next((split for split in ("validation", "test") if split in folders), None)
    classes = list(folders["train"])
    parts, modes = {}, set()
    for split in ("train", held_out_split) if held_out_split else ("train",):
        if strange := sorted(set(folders[split]) - set(classes)):
            raise UserError(
                f"{path} has class '{strange[0]}' in '{split}' that is not in 'train': {', '.join(classes)}"
            )
        files = [(file, name) for name, of_class in folders[split].items() for file in of_class]
        pixels, mode = decode(
            (_read(file) for file, _ in files), f"{path}", lambda row, files=files: str(files[row][0])
        )
        parts[split] = (pixels, np.array([classes.index(name) for _, name in files], dtype=np.int64))
        modes.add(mode)
    notes = _notes(modes, str(path))
    if held_out_split is None:
        pixels, labels = parts["train"]
        train, held_out = _stratified(labels, str(path))
        parts = {"train": (pixels[train], labels[train]), "validation": (pixels[held_out], labels[held_out])}
        notes["split"] = "fixed, stratified by class, 80/20"
    return _images(str(path), parts, classes, notes)


def _stratified(labels: np.ndarray, name: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to train on and the rows to hold out, a fifth of every class."""
    from sklearn.model_selection import train_test_split

    try:
        split = train_test_split(
            np.arange(len(labels)), test_size=_HELD_OUT_SHARE, stratify=labels, random_state=0
        )
    except ValueError:
        counts = np.bincount(labels)
        raise UserError(
            f"{name} has {len(labels)} images in {len(counts)} classes, {counts.min()} in the "
            f"smallest; a fifth of every class "
            f"is held out, so at least 2 of each and {round(len(counts) / _HELD_OUT_SHARE)} in all are needed"
        ) from None
    return tuple(np.sort(rows) for rows in split)


def decode(
    files: Iterator[bytes], where: str, name_of: Callable[[int], str] = lambda row: f"image {row + 1}"
) -> tuple[np.ndarray, str]:
    """Decodes image files of one size and mode into `(count, height, width)` uint8, and returns the mode too.

    Raises:
        UserError: a file is not an image, its size or mode differs from the first one's, or the images are
            not square.
    """
    from PIL import Image, UnidentifiedImageError

    pixels: list[bytes] = []
    first: tuple[tuple[int, int], str] | None = None
    for row, content in enumerate(files):
        try:
            image = Image.open(io.BytesIO(content))
            image.load()  # `open` reads only the header, so a damaged file shows here
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            reason = "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
            raise UserError(f"{name_of(row)} of {where} is not an image ({reason})") from None
        kind = (image.size, image.mode)
        if first is None:
            first = kind
            if image.width != image.height:
                raise UserError(f"{name_of(row)} of {where} is {_told(kind)}; images must be square")
        elif kind != first:
            raise UserError(
                f"{name_of(row)} of {where} is {_told(kind)}, the first is {_told(first)}; "
                "all images must have the same size and mode"
            )
        pixels.append((image if image.mode == "L" else _gray(image)).tobytes())
    if first is None:
        raise UserError(f"{where} has no images")
    (width, height), mode = first
    # (count * height * width,) -> (count, height, width); a copy, because frombuffer's array is read-only
    return np.frombuffer(b"".join(pixels), dtype=np.uint8).reshape(len(pixels), height, width).copy(), mode


def _gray(image: Any) -> Any:
    from ..models.image_processing_mlp import gray

    return gray(image)


def _told(kind: tuple[tuple[int, int], str]) -> str:
    (width, height), mode = kind
    return f"{width} x {height}, mode {mode}"


def _notes(modes: set[str], name: str) -> dict[str, Any]:
    if len(modes) > 1:
        raise UserError(f"the splits of {name} have images of different modes: {', '.join(sorted(modes))}")
    (mode,) = modes
    return {} if mode == "L" else {"converted": f"{mode} to gray"}


def _images(
    name: str, parts: dict[str, tuple[np.ndarray, np.ndarray]], classes: list[str], notes: dict[str, Any]
) -> Images:
    (train, train_labels), (held_out, held_out_labels) = parts.values()
    if train.shape[1:] != held_out.shape[1:]:
        raise UserError(
            f"{name} has images of {train.shape[1:]} to train on and of {held_out.shape[1:]} to test on"
        )
    if len(np.unique(train_labels)) < 2:
        raise UserError(f"{name} has the single class '{classes[train_labels[0]]}'; at least 2 are needed")
    mean, std = train.mean() / 255, train.std() / 255
    if std == 0:
        raise UserError(f"all pixels of {name} are {train.flat[0]}; there is nothing to learn from")
    mean, std = round(float(mean), 4), round(float(std), 4)  # the precision in preprocessor_config.json
    digest = hashlib.sha256()
    for array in (train, train_labels, held_out, held_out_labels):
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    fingerprint = digest.hexdigest()[:16]
    return Images(
        name,
        LabeledImages(train, train_labels, mean, std),
        LabeledImages(held_out, held_out_labels, mean, std),
        classes,
        list(parts)[1],
        fingerprint,
        KNOWN.get(fingerprint),
        notes,
    )


__all__ = ["EMBEDDED", "IMAGE_COLUMNS", "Images", "LabeledImages", "load_images"]
