"""Reads the value of `--dataset` (an embedded name, a local file or folder, or a Hub id) into texts.

The result records where the texts came from. Nothing is replaced silently: if a name cannot be read, the
error says where the function looked for it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError, nearest

if TYPE_CHECKING:
    from .stored_texts import StoredTexts

TEXT_COLUMNS = ("text", "content", "story", "sentence", "document", "article", "dialogue")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
EMBEDDED = ("world/stories",)
FILE_BUILDERS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}

# Public corpora with published results to reach. The SHA-256 of the text identifies them, so that a goal is
# claimed only for the data that it belongs to.
KNOWN = {
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed": "tiny_shakespeare",
    "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d": "names",
    "140a680492ce61d251e86f0f898f91605d3008ac21105854152ef8a34fda49cc": "imdb",
    "c7533f6ea28daa7fb66dbea3ac286fe48cfd2c63623f0419086eafe4a56be00d": "wikitext-2",
}


@dataclass(frozen=True)
class Texts:
    """Texts in two splits, and where they came from.

    Attributes:
        name: the value of `--dataset`.
        train, validation: the texts; with `stream`, `load_texts` leaves those of a file on disk.
        fingerprint: first 16 hex digits of the SHA-256 of all texts.
        known: name of the public corpus, if the SHA-256 belongs to one.
        notes: more entries for metrics.json.
    """

    name: str
    train: Sequence[str]
    validation: Sequence[str]
    fingerprint: str
    known: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def provenance(self) -> dict[str, Any]:
        """Returns the name, fingerprint, and sizes for metrics.json."""
        sizes = {
            f"{split}_{unit}": value
            for split, texts in (("train", self.train), ("validation", self.validation))
            for unit, value in (("texts", len(texts)), ("characters", sum(map(len, texts))))
        }
        return {
            "name": self.known or self.name,
            "source": self.name,
            "fingerprint": self.fingerprint,
            "sizes": sizes,
        } | (self.notes)


def load_texts(
    dataset: str, sample_by: str = "document", text_column: str | None = None, stream: bool = False
) -> Texts:
    """Reads `dataset` as texts.

    Args:
        dataset: an embedded name (`world/stories`), a local file (.txt, .csv, .jsonl, .parquet), a local
            folder with one file per split, or a Hub id.
        sample_by: how to read .txt files. With `"document"`, the file is one text, split 90/10 in order. With
            `"line"`, every line is a text, and the lines are split 90/10 after a shuffle with a fixed seed.
        text_column: column of a table; by default, a column with a usual name.
        stream: whether to leave the rows of tables, and the lines of .txt files, on disk (`StoredTexts`), for
            data larger than memory.

    Raises:
        UserError: the data set does not exist, a file is empty or unreadable, or a column is missing.
    """
    if dataset == "world":
        dataset = "world/stories"
    if dataset in EMBEDDED:
        return _embedded(dataset)
    path = Path(dataset).expanduser()
    if path.is_dir():
        return _from_folder(path, sample_by, text_column, stream)
    if path.is_file():
        return _from_file(path, sample_by, text_column, stream)
    refuse_missing_path(dataset)
    return _from_hub(dataset, text_column, stream)


def refuse_missing_path(dataset: str) -> None:
    """Raises `UserError` for a value that can only be a path; the caller has found nothing there."""
    if (
        Path(dataset).suffix in (".txt", *FILE_BUILDERS)
        or dataset.startswith((".", "/", "~"))
        or dataset.count("/") > 1
    ):
        raise UserError(f"no file or folder '{dataset}'")


def _embedded(name: str) -> Texts:
    from ..world import generate

    view = name.partition("/")[2]
    train, validation = ([row["text"] for row in generate(view, split)] for split in ("train", "validation"))
    return _texts(name, train, validation)


def _from_file(path: Path, sample_by: str, text_column: str | None, stream: bool) -> Texts:
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    if path.suffix in FILE_BUILDERS:
        return _split_rows(str(path), _read_table(path, text_column, stream))
    if path.suffix not in (".txt", ".text", ".md", ""):
        raise UserError(
            f"{path}: unknown kind of file; it takes .txt, {', '.join(FILE_BUILDERS)} or a folder of them"
        )
    if stream and sample_by == "line":
        from .stored_texts import StoredTexts, digest_of_file

        digest = digest_of_file(path)
        return _split_rows(str(path), StoredTexts.of_lines(path), digest)
    text = _read_utf8(path)
    digest = hashlib.sha256(text.encode())
    if sample_by == "line":
        return _split_rows(str(path), [line for line in text.splitlines() if line.strip()], digest)
    cut = int(0.9 * len(text))
    return _texts(str(path), [text[:cut]], [text[cut:]], digest)


def _from_folder(path: Path, sample_by: str, text_column: str | None, stream: bool) -> Texts:
    files = files_of_splits(path, (".txt", *FILE_BUILDERS))
    if list(files) == [""]:
        return _from_file(files[""], sample_by, text_column, stream)
    splits = {split: _read_rows(file, sample_by, text_column, stream) for split, file in files.items()}
    held_out = splits.get("validation") or splits.get("test")
    return (
        _texts(str(path), splits["train"], held_out) if held_out else _split_rows(str(path), splits["train"])
    )


def files_of_splits(path: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Returns the data files in a folder by split: `train`, `validation`, and `test`.

    For a single file without the name of a split, the result is `{"": file}`.

    Raises:
        UserError: the folder has neither a train file nor a single file.
    """
    by_split: dict[str, Path] = {}
    files = [file for file in sorted(path.iterdir()) if file.suffix in endings]
    for file in files:
        for split, names in SPLIT_NAMES.items():
            if re.match(rf"({'|'.join(names)})\b", file.name):
                by_split.setdefault(split, file)
    if "train" in by_split:
        return by_split
    if len(files) == 1:
        return {"": files[0]}
    listed = ", ".join(file.name for file in files) or "no data files"
    raise UserError(f"folder {path} has {listed}; it needs one file, or train.* (and validation.* or test.*)")


def _read_rows(
    path: Path, sample_by: str, text_column: str | None, stream: bool
) -> "list[str] | StoredTexts":
    if path.suffix in FILE_BUILDERS:
        return _read_table(path, text_column, stream)
    if stream and sample_by == "line":
        from .stored_texts import StoredTexts, digest_of_file

        digest_of_file(path)  # only for its error messages
        return StoredTexts.of_lines(path)
    text = _read_utf8(path)
    return [line for line in text.splitlines() if line.strip()] if sample_by == "line" else [text]


def _read_utf8(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # drops the byte order mark that some editors write
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start}); convert it, for example with iconv -t utf-8"
        ) from None
    if not text.strip():
        raise UserError(f"{path} is empty")
    return text.replace("\r\n", "\n")


def _read_table(path: Path, text_column: str | None, stream: bool) -> "list[str] | StoredTexts":
    return _column(open_table_file(path), text_column, str(path), stream)


def open_table_file(path: Path) -> Any:
    """Returns the table in a .csv, .tsv, .json, .jsonl or .parquet file, as a `datasets.Dataset`.

    Raises:
        UserError: the file is empty or unreadable.
    """
    import datasets

    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    options = {"delimiter": "\t"} if path.suffix == ".tsv" else {}
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(
            FILE_BUILDERS[path.suffix], data_files=str(path), split="train", **options
        )
    except Exception as error:  # each builder of `datasets` has its own kinds of errors
        if "corresponds to no data" in str(error):
            raise UserError(f"{path} has no rows") from None
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"{path} cannot be read as {path.suffix}: {reason}") from None


def _column(table: Any, text_column: str | None, where: str, stream: bool) -> "list[str] | StoredTexts":
    present = list(table.column_names)
    if text_column is not None and text_column not in present:
        hint = nearest(text_column, present)
        raise UserError(f"{where} has no column '{text_column}'; it has: {', '.join(present)}{hint}")
    column = text_column or next((name for name in TEXT_COLUMNS if name in present), None)
    if column is None:
        raise UserError(
            f"{where} has no text column ({', '.join(TEXT_COLUMNS)}); name one of: {', '.join(present)}"
            " with --text-column"
        )
    if stream and getattr(table.features[column], "dtype", None) in ("string", "large_string"):
        from .stored_texts import StoredTexts

        texts: list[str] | StoredTexts = StoredTexts.of_column(table, column)
    else:
        texts = [text for text in table[column] if text]
    if texts and not isinstance(texts[0], str):
        raise UserError(f"column '{column}' of {where} holds {type(texts[0]).__name__}, not text")
    if not texts:
        raise UserError(f"column '{column}' of {where} has no text in it")
    return texts


def open_hub(dataset: str, embedded: Sequence[str] = EMBEDDED) -> Any:
    """Returns the splits of a data set on the Hub, `NAME` or `NAME:CONFIG`, as a `datasets.DatasetDict`.

    Raises:
        UserError: the data set cannot be read from the Hub; the message also lists the `embedded` names.
    """
    import datasets

    datasets.disable_progress_bars()
    name, _, config = dataset.partition(":")
    try:
        return datasets.load_dataset(name, config or None)
    except Exception as error:  # from the network, the Hub, or the builder, each with its own kinds
        reason = str(error).strip().splitlines()[0][:160]
        close = nearest(dataset, embedded)
        raise UserError(
            f"'{dataset}' is no embedded set ({', '.join(embedded)}), no local file, and could not "
            f"be read from "
            f"the Hub: {reason}{close}"
        ) from None


def _from_hub(dataset: str, text_column: str | None, stream: bool) -> Texts:
    splits = open_hub(dataset)
    texts = {
        split: _column(splits[name], text_column, f"'{dataset}'", stream)
        for split, names in SPLIT_NAMES.items()
        for name in names
        if name in splits
    }
    if "train" not in texts:
        raise UserError(f"'{dataset}' has no train split; it has: {', '.join(splits)}")
    held_out = texts.get("validation") or texts.get("test")
    return _texts(dataset, texts["train"], held_out) if held_out else _split_rows(dataset, texts["train"])


def _split_rows(name: str, rows: "list[str] | StoredTexts", digest: Any = None) -> Texts:
    import random

    if len(rows) < 2:
        raise UserError(f"{name} has {len(rows)} text; at least 2 are needed to hold one out")
    order = list(range(len(rows)))
    random.Random(0).shuffle(order)  # a fixed seed, so that every run holds out the same texts
    held_out = max(1, len(rows) // 10)
    pick = [rows[index] for index in order] if isinstance(rows, list) else rows.pick(order)
    return _texts(name, pick[held_out:], pick[:held_out], digest)


def _texts(name: str, train: Sequence[str], validation: Sequence[str], digest: Any = None) -> Texts:
    if digest is None:
        digest = hashlib.sha256()
        for texts in (train, validation):
            for text in texts:
                digest.update(text.encode() + b"\0")  # the zero byte marks where one text ends
    known = KNOWN.get(digest.hexdigest())
    return Texts(name, train, validation, digest.hexdigest()[:16], known)
