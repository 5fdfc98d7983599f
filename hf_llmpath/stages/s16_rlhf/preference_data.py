"""Reads pairs of a preferred and a rejected reply from any data set, in TRL's conversational format.

    preferences = load_preferences("world/preferences")
    preferences.train[0]  # {"prompt": [...], "chosen": [...], "rejected": [...]}, lists of messages

Two forms are accepted. In the first, `prompt`, `chosen`, and `rejected` are each a list of messages
`{"role", "content"}` or a text; without a `prompt` column, both sides must begin with the prompt. In the
second, each side is a dialogue written as text, "Human: ... Assistant: ...", as in hh-rlhf. There, the
assistant sometimes says nothing, which counts as a reply, though it is seldom the preferred one.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.sources import SPLIT_NAMES, files_of_splits, open_hub, open_table_file, refuse_missing_path
from ...errors import UserError

EMBEDDED = ("world/preferences",)
ROLES = ("system", "user", "assistant")
_ENDINGS = (".jsonl", ".json", ".parquet", ".csv", ".tsv")
# The beginning of a turn: of the text, or of a paragraph
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_SPOKEN_BY = {"Human": "user", "Assistant": "assistant"}
_HELD_OUT_SHARE = 10  # one pair in ten is held out if the data has no split for it

Message = dict[str, str]  # `role` and `content`
Pair = dict[str, list[Message]]  # `prompt`, `chosen`, and `rejected`


@dataclass(frozen=True)
class Preferences:
    """Holds a data set of preferences.

    Attributes:
        name: the name by which the user asked for the data.
        train, test: the pairs to learn from and the pairs to measure on.
        fingerprint: the first 16 hex digits of the SHA-256 of all pairs.
    """

    name: str
    train: list[Pair]
    test: list[Pair]
    fingerprint: str

    @property
    def provenance(self) -> dict[str, Any]:
        """The name, fingerprint, and sizes of the data, as recorded in metrics.json."""
        sizes = {"train_pairs": len(self.train), "test_pairs": len(self.test)}
        return {"name": self.name, "source": self.name, "fingerprint": self.fingerprint, "sizes": sizes}


def load_preferences(dataset: str, size: int | None = None) -> Preferences:
    """Reads preferences from an embedded data set, a local file or folder, or the Hub.

    Args:
        dataset: an embedded name, a file, a folder with one file per split, or a Hub id. If the data has no
            split to measure on, one pair in ten is held out.
        size: the maximum number of pairs to learn from. The embedded data can have any number of pairs; for
            other data, None takes all of them.

    Raises:
        UserError: If no data has that name or a line is not a pair; the message gives the line's number.
    """
    splits = _open(dataset, size)
    pairs = {split: read_pairs(rows, where) for split, (rows, where) in splits.items()}
    test = pairs.get("test") or pairs.get("validation")
    train = pairs["train"]
    if test is None:
        if len(train) < 2:
            raise UserError(f"{dataset} has {len(train)} pair; at least 2 are needed to hold one out")
        train, test = _hold_out(train)
    train = train[:size]
    digest = hashlib.sha256()  # identifies the data in metrics.json, wherever it came from
    for pair in (*train, *test):
        digest.update(repr(pair).encode() + b"\0")  # the zero byte separates the pairs
    return Preferences(dataset, train, test, digest.hexdigest()[:16])


def _open(dataset: str, size: int | None) -> dict[str, tuple[Any, str]]:
    """Maps each split to its rows and to the name used for them in error messages."""
    if dataset in EMBEDDED:
        from ...world import generate

        rows = {"train": generate("preferences", "train", size), "test": generate("preferences", "test")}
        return {split: (pairs, f"{dataset} ({split})") for split, pairs in rows.items()}
    path = Path(dataset).expanduser()
    if path.is_dir():
        files = files_of_splits(path, _ENDINGS)
        return {split or "train": (open_table_file(file), str(file)) for split, file in files.items()}
    if path.is_file():
        if path.suffix not in _ENDINGS:
            raise UserError(
                f"{path}: unknown kind of file; preferences are {', '.join(_ENDINGS)} or a folder of them"
            )
        return {"train": (open_table_file(path), str(path))}
    refuse_missing_path(dataset)
    on_hub = open_hub(dataset, EMBEDDED)
    splits = {
        split: (on_hub[name], f"'{dataset}' ({name})")
        for split, names in SPLIT_NAMES.items()
        for name in names
        if name in on_hub
    }
    if "train" not in splits:
        raise UserError(f"'{dataset}' has no train split; it has: {', '.join(on_hub)}")
    return splits


def _hold_out(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    import random

    order = list(range(len(pairs)))
    random.Random(0).shuffle(order)  # a fixed seed: every run on this data holds out the same pairs
    count = max(1, len(pairs) // _HELD_OUT_SHARE)
    return [pairs[index] for index in order[count:]], [pairs[index] for index in order[:count]]


def read_pairs(rows: Sequence[Mapping[str, Any]], where: str) -> list[Pair]:
    """Converts every row to `prompt`, `chosen`, and `rejected`, each a list of messages.

    The prompt is the beginning that both sides share; `chosen` and `rejected` hold the messages after it.

    Args:
        rows: the rows of a file.
        where: the name of the file, for error messages.

    Raises:
        UserError: If a side is missing or empty, both sides are equal or answer different prompts, a reply
            is not the assistant's, or a role is unknown. The message gives the line's number and the fault.
    """
    if not len(rows):
        raise UserError(f"{where} has no pairs")
    # A data set of the Hub lists its columns; a list of rows may have different keys in each row.
    present = set(rows.column_names if hasattr(rows, "column_names") else set().union(*rows))
    missing = [side for side in ("chosen", "rejected") if side not in present]
    if missing:
        raise UserError(
            f"{where} has no column '{missing[0]}'; preferences have 'chosen' and 'rejected' (and 'prompt'); "
            f"it has: {', '.join(sorted(present))}"
        )
    return [_pair(row, f"line {number} of {where}") for number, row in enumerate(rows, start=1)]


def _pair(row: Mapping[str, Any], line: str) -> Pair:
    sides = {}
    for side in ("chosen", "rejected"):
        if not row.get(side):
            raise UserError(
                f"{line}: '{side}' is missing or empty; each line needs a chosen and a rejected reply"
            )
        sides[side] = _messages(row[side], "assistant", f"{line}: '{side}'")
    prompt = _messages(row["prompt"], "user", f"{line}: 'prompt'") if row.get("prompt") else []
    chosen, rejected = sides["chosen"], sides["rejected"]
    if not prompt:  # the messages that both sides share become the prompt, but each side keeps a reply
        while len(chosen) > 1 and len(rejected) > 1 and chosen[0] == rejected[0]:
            prompt, chosen, rejected = [*prompt, chosen[0]], chosen[1:], rejected[1:]
    if not prompt:
        raise UserError(f"{line} has no prompt: 'chosen' and 'rejected' must answer the same words of a user")
    if chosen == rejected:
        raise UserError(f"{line}: 'chosen' and 'rejected' are equal; nothing can be learned from such a pair")
    for side, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[0]["role"] != "assistant" or messages[-1]["role"] != "assistant":
            roles = ", ".join(message["role"] for message in messages)
            raise UserError(
                f"{line}: after the prompt, '{side}' has {roles}; it must begin and end with a reply of the "
                "assistant"
            )
    if prompt[-1]["role"] == "assistant":
        raise UserError(f"{line}: the prompt ends with the assistant's words; it must end with the user's")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _messages(value: Any, role: str, what: str) -> list[Message]:
    if isinstance(value, str):
        return _dialogue(value) or [{"role": role, "content": value.strip()}]
    if not isinstance(value, list) or not all(
        isinstance(m, dict) and {"role", "content"} <= m.keys() for m in value
    ):
        raise UserError(
            f"{what} is {type(value).__name__}; it must be a text or a list of messages (role, content)"
        )
    for message in value:
        if message["role"] not in ROLES:
            raise UserError(f"{what} has the role '{message['role']}'; there are {', '.join(ROLES)}")
    return [{"role": message["role"], "content": str(message["content"] or "").strip()} for message in value]


def _dialogue(text: str) -> list[Message]:
    """Splits a dialogue "\\n\\nHuman: ...\\n\\nAssistant: ..." into turns; any other text has none."""
    if not _TURN.match(text):
        return []
    _, *pieces = _TURN.split(text)  # speaker, words, speaker, words, ...; the first piece is empty
    turns: list[Message] = []
    for who, words in zip(pieces[::2], pieces[1::2], strict=True):
        # Two turns of one speaker in a row: the words themselves contain a line such as "Human:".
        if turns and turns[-1]["role"] == _SPOKEN_BY[who]:
            turns[-1]["content"] += f"\n\n{words.strip()}"
        else:
            turns.append({"role": _SPOKEN_BY[who], "content": words.strip()})
    return turns
