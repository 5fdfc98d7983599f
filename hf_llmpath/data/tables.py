"""Reads the value of `--dataset` as a table with named columns: labeled texts, pairs, or images.

`sources.py` finds the files. This module finds the columns, by their usual names or by the names that the
user gave, and renames them to the names that the stages use.

    table = load_table("world/reviews", {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS})
    table.train["text"], table.held_out["label"], table.classes
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from .sources import (
    FILE_BUILDERS,
    SPLIT_NAMES,
    TEXT_COLUMNS,
    files_of_splits,
    open_hub,
    open_table_file,
    refuse_missing_path,
)

LABEL_COLUMNS = ("label", "labels", "sentiment", "class", "category", "target")
DOCUMENT_COLUMNS = ("document", "article", "source", "text", "dialogue")
SUMMARY_COLUMNS = ("summary", "highlights", "target", "abstract")
EMBEDDED = ("world/reviews", "world/summaries", "world/questions", "world/chats", "world/preferences")
_HELD_OUT_SHARE = 10  # one row in ten is held out if a data set has only a train split


@dataclass(frozen=True)
class Table:
    """A data set in splits, each a `datasets.Dataset` with the requested columns.

    Attributes:
        name: the value of `--dataset`.
        splits: `train`, and `validation` and `test` if the data set has them.
        fingerprint: first 16 hex digits of the SHA-256 of the columns in all splits.
    """

    name: str
    splits: dict[str, Any]
    fingerprint: str

    @property
    def train(self) -> Any:
        return self.splits["train"]

    @property
    def held_out(self) -> Any:
        """Returns the validation split or, without one, the test split."""
        return self.splits.get("validation", self.splits.get("test"))

    @cached_property
    def classes(self) -> list[str]:
        """Returns the names of the classes of the column `label`, in the order of their numbers.

        The names are those that the data set defines or, without any, the distinct values of the training
        split as text.
        """
        feature = self.train.features["label"]
        if hasattr(feature, "names"):
            return list(feature.names)
        return [str(value) for value in sorted(set(self.train["label"]))]

    def labels(self, split: str) -> list[int]:
        """Returns the column `label` of a split as numbers from 0.

        Raises:
            UserError: a label is not one of `classes` (for example the -1 of a split whose labels are not
                public).
        """
        values = self.splits[split]["label"][:]
        numbered = self._numbered
        numbers = {name: number for number, name in enumerate(self.classes)}
        known = {number: number for number in numbers.values()} if numbered else numbers
        indices = [known.get(value if numbered else str(value), -1) for value in values]
        if -1 in indices:
            row = indices.index(-1)
            raise UserError(
                f"row {row + 1} of split '{split}' of {self.name} has the label {values[row]!r}; "
                f"the classes are: {', '.join(self.classes[:12])}"
            )
        return indices

    @property
    def _numbered(self) -> bool:
        return hasattr(self.train.features["label"], "names")

    @property
    def provenance(self) -> dict[str, Any]:
        """Returns the name, fingerprint, and sizes for metrics.json."""
        sizes = {f"{split}_rows": len(rows) for split, rows in self.splits.items()}
        return {"name": self.name, "source": self.name, "fingerprint": self.fingerprint, "sizes": sizes}


def load_table(
    dataset: str,
    columns: Mapping[str, Sequence[str]],
    named: Mapping[str, str | None] | None = None,
    embedded: Sequence[str] = EMBEDDED,
    drop_unlabeled: bool = True,
    together: str | None = None,
    check: Callable[[Any, str], None] | None = None,
    size: int | None = None,
) -> Table:
    """Reads `dataset` as a table.

    Args:
        dataset: an embedded name (`world/reviews`), a local .csv, .tsv, .json, .jsonl or .parquet file, a
            local folder with one file per split, or a Hub id (`NAME` or `NAME:CONFIG`).
        columns: maps a column's name here to its usual names, the most likely one first.
        named: maps a column's name here to the name that the user gave (`--text-column`), if any.
        embedded: the embedded names that make sense here, for the error message.
        drop_unlabeled: whether to leave out splits whose labels are all -1, as benchmarks publish their test
            sets.
        check: a function that checks the rows of every split; its second argument names the split in error
            messages.
        together: a column of the data set. If rows must be held out, all rows with the same value of this
            column go to the same split.
        size: maximum number of rows to learn from; an embedded data set can have any number.

    Raises:
        UserError: the data set does not exist, a file is unreadable, a column is missing, there is no train
            split or no row, a row has no text or label, or all rows have the same class.
    """
    splits = _open(dataset, embedded, size)
    chosen = {ours: (named or {}).get(ours) for ours in columns}
    chosen_splits = {
        split: _select(rows, columns, chosen, f"'{dataset}' ({split})") for split, rows in splits.items()
    }
    for split, rows in chosen_splits.items():
        _check_filled(rows, f"'{dataset}' ({split})")
        if check:
            check(rows, f"'{dataset}' ({split})")
    if "label" in columns:
        _check_classes(chosen_splits["train"], dataset)
    if drop_unlabeled and "label" in columns:
        chosen_splits = {
            split: rows
            for split, rows in chosen_splits.items()
            if split == "train" or set(rows["label"]) != {-1}
        }
    if "validation" not in chosen_splits and "test" not in chosen_splits:
        kept = splits["train"][together] if together in splits["train"].column_names else None
        chosen_splits = _hold_out(dataset, chosen_splits["train"], kept)
        if "label" in columns:
            _check_held_out(chosen_splits, dataset)
    # Only after holding rows out, so that the held-out rows do not depend on `size`.
    if size is not None and size < len(chosen_splits["train"]):
        chosen_splits["train"] = chosen_splits["train"].select(range(size))
    return Table(dataset, chosen_splits, _fingerprint(chosen_splits, columns))


def _open(dataset: str, embedded: Sequence[str], size: int | None) -> dict[str, Any]:
    import datasets

    if dataset in EMBEDDED:
        from ..world import SPLITS, generate

        view = dataset.partition("/")[2]
        sizes = {"train": size}
        return {
            split: datasets.Dataset.from_list(generate(view, split, sizes.get(split))) for split in SPLITS
        }
    path = Path(dataset).expanduser()
    if path.is_dir():
        files = files_of_splits(path, tuple(FILE_BUILDERS))
        return {split or "train": open_table_file(file) for split, file in files.items()}
    if path.is_file():
        if path.suffix not in FILE_BUILDERS:
            raise UserError(
                f"{path}: unknown kind of table; it takes {', '.join(FILE_BUILDERS)} or a folder of them"
            )
        return {"train": open_table_file(path)}
    refuse_missing_path(dataset)
    on_hub = open_hub(dataset, embedded)
    splits = {split: on_hub[name] for split, names in SPLIT_NAMES.items() for name in names if name in on_hub}
    if "train" not in splits:
        raise UserError(f"'{dataset}' has no train split; it has: {', '.join(on_hub)}")
    return splits


def _select(
    rows: Any, columns: Mapping[str, Sequence[str]], named: Mapping[str, str | None], where: str
) -> Any:
    present = list(rows.column_names)
    chosen: dict[str, str] = {}
    for ours, usual in columns.items():
        theirs = named.get(ours) or next(
            (name for name in usual if name in present and name not in chosen), None
        )
        if theirs is None:
            raise UserError(
                f"{where} has no {ours} column ({', '.join(usual)}); name one of: {', '.join(present)}"
                f" with --set {ours}_column=..."
            )
        if theirs not in present:
            hint = nearest(theirs, present)
            raise UserError(f"{where} has no column '{theirs}'; it has: {', '.join(present)}{hint}")
        chosen[theirs] = ours
    if len(rows) == 0:
        raise UserError(f"{where} has no rows")
    return rows.select_columns(list(chosen)).rename_columns({a: b for a, b in chosen.items() if a != b})


def _check_filled(rows: Any, where: str) -> None:
    """Raises `UserError`, with the number of the row, for a missing text or label, or a non-text column."""
    for name in {"text", "label"} & set(rows.column_names):
        values = rows.with_format("arrow")[name][:]
        if values.null_count:
            row = values.is_null().to_pylist().index(True)
            raise UserError(f"row {row + 1} of {where} has no {name}; every row needs one")
        if name == "text" and str(values.type) not in ("string", "large_string"):
            raise UserError(f"column 'text' of {where} holds {values.type}, not text")


def _check_classes(rows: Any, name: str) -> None:
    values = set(rows["label"])
    if len(values) < 2:
        feature, (value,) = rows.features["label"], values
        named = (
            feature.names[value] if hasattr(feature, "names") and 0 <= value < len(feature.names) else value
        )
        raise UserError(f"column 'label' of {name} has the single class {named!r}; at least 2 are needed")


def _check_held_out(splits: Mapping[str, Any], name: str) -> None:
    """Raises `UserError` if, after holding rows out, a class has no row left to train on."""
    if missing := set(splits["validation"]["label"]) - set(splits["train"]["label"]):
        raise UserError(
            f"{name} has too few rows with the label {min(missing)!r}: one row in ten is held out, "
            f"and none is left to "
            "learn from; give each class more rows, or a folder with train.* and validation.*"
        )


def _hold_out(name: str, rows: Any, together: Sequence[str] | None = None) -> dict[str, Any]:
    if len(rows) < 2:
        raise UserError(f"{name} has {len(rows)} row; at least 2 are needed to hold one out")
    groups = sorted(set(together or ()))  # sorted, because the order of a set varies between processes
    if len(groups) > 1:
        random.Random(0).shuffle(groups)  # a fixed seed, so that every run holds out the same rows
        out = set(groups[: max(1, len(groups) // _HELD_OUT_SHARE)])
        is_out = [group in out for group in together or ()]
        return {
            name: rows.select([row for row, held in enumerate(is_out) if held == wanted])
            for name, wanted in (("train", False), ("validation", True))
        }
    parts = rows.train_test_split(test_size=max(1, len(rows) // _HELD_OUT_SHARE), seed=0)
    return {"train": parts["train"], "validation": parts["test"]}


def _fingerprint(splits: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> str:
    digest = hashlib.sha256()
    for split, rows in splits.items():
        digest.update(split.encode())
        for column in columns:
            for value in rows.with_format("arrow")[column].to_pylist():
                digest.update(_as_bytes(value) + b"\0")
    return digest.hexdigest()[:16]


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, dict) and value.get("bytes"):  # an encoded image
        return value["bytes"]
    return str(value).encode()


__all__ = ["DOCUMENT_COLUMNS", "LABEL_COLUMNS", "SUMMARY_COLUMNS", "TEXT_COLUMNS", "Table", "load_table"]
