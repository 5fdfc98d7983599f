"""Keeps texts on disk: a sequence of strings, of which only those being read are in memory.

    table = datasets.load_dataset("parquet", data_files="big.parquet", split="train")
    for text in StoredTexts.of_column(table, "text"):
        ...

The texts are in an Arrow file, which `datasets` maps into memory. A .txt file is first converted to an Arrow
file with one text per line; `datasets` keeps the result in its cache and reuses it until the .txt file
changes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import datasets
import numpy as np
import pyarrow.compute as pc

from ..errors import UserError

COLUMN = "text"
_BATCH = 1000  # number of texts read at once


class StoredTexts(Sequence[str]):
    """A sequence of the texts in the column `text` of a data set.

    Args:
        table: a `datasets.Dataset` with that column only.
    """

    def __init__(self, table: datasets.Dataset):
        self.table = table

    @classmethod
    def of_column(cls, table: datasets.Dataset, column: str) -> "StoredTexts":
        """Makes a sequence of the texts of a column, without the empty ones."""
        kept = table.select_columns([column])
        kept = kept.rename_column(column, COLUMN) if column != COLUMN else kept
        # Arrow computes the lengths without making a Python string of each text; a missing text is null.
        lengths = pc.utf8_length(kept.with_format("arrow").data.column(COLUMN))
        filled = np.flatnonzero(pc.fill_null(lengths, 0).to_numpy())
        return cls(kept if len(filled) == len(kept) else kept.select(filled))

    @classmethod
    def of_lines(cls, path: Path) -> "StoredTexts":
        """Makes a sequence of the lines of a UTF-8 file, without the blank ones."""
        stat = path.stat()
        datasets.disable_progress_bars()
        # The cache identifies a generator by its arguments, so `changed` makes it notice a changed file.
        table = datasets.Dataset.from_generator(
            _rows_of_lines,
            gen_kwargs={"path": str(path), "changed": f"{stat.st_mtime_ns} {stat.st_size}"},
            features=datasets.Features({COLUMN: datasets.Value("string")}),
        )
        return cls(table)

    def pick(self, places: Sequence[int]) -> "StoredTexts":
        """Returns the texts at these places, in this order."""
        return StoredTexts(self.table.select(places))

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[str]:
        for batch in self.table.iter(_BATCH):
            yield from batch[COLUMN]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "StoredTexts": ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.pick(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} texts, none at {index}")
        return self.table[index % len(self)][COLUMN]


class Together(Iterable[str]):
    """Chains sources of texts without copying them, for any number of passes."""

    def __init__(self, *sources: Iterable[str]):
        self.sources = sources

    def __iter__(self) -> Iterator[str]:
        for texts in self.sources:
            yield from texts


def digest_of_file(path: Path) -> Any:
    """Returns the SHA-256 of a UTF-8 file with line ends as `\\n`, reading it line by line.

    Raises:
        UserError: the file is not UTF-8, or it is blank.
    """
    digest, position, blank = hashlib.sha256(), 0, True
    with path.open("rb") as file:
        for line in file:
            try:
                text = line.decode("utf-8-sig" if position == 0 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not UTF-8 (byte {position + error.start}); convert it, for example with "
                    "iconv -t utf-8"
                ) from None
            position += len(line)
            blank = blank and not text.strip()
            digest.update(text.replace("\r\n", "\n").encode())
    if blank:
        raise UserError(f"{path} is empty")
    return digest


def _rows_of_lines(path: str, changed: str) -> Iterator[dict[str, str]]:
    with Path(path).open(encoding="utf-8-sig") as file:
        for line in file:
            yield from ({COLUMN: text} for text in line.splitlines() if text.strip())
