"""Reads documents and their summaries, and makes padded batches of them for an encoder-decoder.

pairs = load_pairs("world/summaries")
batches = PairBatches(sources, targets, batch_size=32, steps=400, pad=0, seed=0)  # token ids of each
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import UserError
from ..tables import DOCUMENT_COLUMNS, SUMMARY_COLUMNS, load_table
from ..tokenizers.word_level import SPECIAL
from .streams import IGNORED

_POOL = 32  # number of batches whose rows are sorted by length together
# White space after an end mark and any closing marks, but before more text with any opening marks.
_SENTENCE_END = re.compile(r'(?<=[.!?])["”’)]*\s+(?=["“‘(]*\S)')


@dataclass(frozen=True)
class Pair:
    """A document, its sentences, and its summaries: one, or several equally correct ones."""

    document: str
    sentences: list[str]
    summaries: list[str]


@dataclass(frozen=True)
class Pairs:
    """A data set of documents with summaries.

    Attributes:
        train: pairs to learn from.
        test: pairs to measure on, from the test split or, without one, from the validation split.
        provenance: origin of the data, for metrics.json.
    """

    train: list[Pair]
    test: list[Pair]
    provenance: dict[str, Any]


def load_pairs(dataset: str, document_column: str | None = None, summary_column: str | None = None) -> Pairs:
    """Reads `dataset` (embedded name, local file or folder, Hub id) as documents with summaries.

    A document is a text or a list of sentences; a summary is a text or a list of equally correct ones. Rows
    whose document or summary is empty are left out.

    Raises:
        UserError: the data set does not exist, a column is missing or has another type, or no row has both.
    """
    table = load_table(
        "world/summaries" if dataset == "world" else dataset,
        {"document": DOCUMENT_COLUMNS, "summary": SUMMARY_COLUMNS},
        {"document": document_column, "summary": summary_column},
        embedded=("world/summaries",),
    )
    splits = {name: _pairs(rows, f"'{dataset}' ({name})") for name, rows in table.splits.items()}
    test = "test" if "test" in splits else "validation"
    return Pairs(splits["train"], splits[test], table.provenance | {"measured_on": test})


def _pairs(rows: Any, where: str) -> list[Pair]:
    pairs = []
    for number, (document, summary) in enumerate(
        zip(rows["document"], rows["summary"], strict=True), start=1
    ):
        sentences = _texts(document, f"row {number} of {where}: the document")
        summaries = _texts(summary, f"row {number} of {where}: the summary")
        if sentences and summaries:
            text = " ".join(sentences)
            pairs.append(
                Pair(text, split_sentences(text) if isinstance(document, str) else sentences, summaries)
            )
    if not pairs:
        raise UserError(f"{where} has no row with a document and a summary")
    return pairs


def _texts(value: Any, what: str) -> list[str]:
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{what} is {type(value).__name__}; it must be a text or a list of texts")
    return [text.strip() for text in texts if text.strip()]


def split_sentences(text: str) -> list[str]:
    """Splits a text into sentences, which end with `.`, `!`, or `?`, any closing marks, and white space."""
    cuts = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    pieces = (text[start:end].strip() for start, end in zip(cuts, cuts[1:], strict=False))
    return [piece for piece in pieces if piece]


class PairBatches(Dataset):
    """The batches of a training run: a data set of `steps * batch_size` places to be read in sequence.

    The rows of an epoch are shuffled and grouped by the length of their source, which leaves little padding;
    the batches themselves come in random order. Each batch depends only on the seed and the step, so a run
    that was stopped and resumed reads the same batches as an uninterrupted one.

    Args:
        sources, targets: token ids of each pair, including the end token.
        batch_size: number of pairs per step (all of them if there are fewer).
        steps: number of optimizer steps.
        pad: id of the padding token.
        seed: seed of the order and of the choice of hidden words.
        unknown: id of the unknown token.
        hidden: share of the distinct words of a source that the unknown token replaces, at every place in the
            source and in the target. Each step draws these words anew (Gal & Ghahramani 2016, section 5). The
            model learns not to rely on single words, and how to handle words that it does not know.
    """

    sequential = True

    def __init__(
        self,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
        batch_size: int,
        steps: int,
        pad: int,
        seed: int,
        unknown: int | None = None,
        hidden: float = 0.0,
    ):
        self.sources, self.lengths = padded(sources, pad)
        self.targets, self.target_lengths = padded(targets, IGNORED)
        self.batch_size = min(batch_size, len(sources))
        self.seed, self.unknown, self.hidden = seed, unknown, hidden
        self.plan = self._plan(steps, np.random.default_rng(seed))

    def _plan(self, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Returns the rows of every step, `(steps, batch_size)`; leftover rows wait for the next epoch."""
        plan: list[np.ndarray] = []
        while len(plan) < steps:
            order = rng.permutation(len(self.lengths))
            epoch: list[np.ndarray] = []
            for start in range(0, len(order), _POOL * self.batch_size):
                pool = order[start : start + _POOL * self.batch_size]
                pool = pool[np.argsort(self.lengths[pool], kind="stable")]
                full = len(pool) // self.batch_size
                # (full * batch_size,) -> (full, batch_size) -> a list of (batch_size,), one per batch
                epoch += list(pool[: full * self.batch_size].reshape(full, self.batch_size))
            plan += [epoch[index] for index in rng.permutation(len(epoch))]
        return np.stack(plan[:steps])  # (steps, batch_size)

    @property
    def tokens_per_step(self) -> int:
        """Returns the mean number of source and target tokens in a step, without padding."""
        return int((self.lengths[self.plan].sum() + self.target_lengths[self.plan].sum()) / len(self.plan))

    @property
    def padding(self) -> float:
        """Returns the share of padding among the source tokens of all batches."""
        lengths = self.lengths[self.plan]  # (steps, batch_size)
        return float(1 - lengths.sum() / (lengths.max(axis=1) * self.batch_size).sum())

    def __len__(self) -> int:
        return self.plan.size

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        step, mine = indices[0] // self.batch_size, [index % self.batch_size for index in indices]
        # Each process makes the whole batch, even if several share it, because they must agree on its shape
        # and its hidden words.
        rows = self.plan[step]  # (batch,)
        source = self.sources[rows, : self.lengths[rows].max()]  # (batch, longest source)
        target = self.targets[rows, : self.target_lengths[rows].max()]  # (batch, longest target)
        mask = np.arange(source.shape[1]) < self.lengths[rows, None]  # (batch, longest source)
        if self.hidden:  # the generator depends on seed and step alone, so a resumed run draws the same words
            source, target = self._with_hidden_words(source, target, np.random.default_rng([self.seed, step]))
        batch = {"input_ids": source[mine], "attention_mask": mask[mine], "labels": target[mine]}
        return {name: torch.from_numpy(values.astype(np.int64)) for name, values in batch.items()}

    def _with_hidden_words(
        self, source: np.ndarray, target: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        vocabulary = max(source.max(), target.max()) + 1
        row = np.arange(len(source))[:, None]  # (batch, 1), broadcast against the tokens of each row
        drawn = np.zeros((len(source), vocabulary), dtype=bool)
        # Only words of the source: the model could not tell that a word found only in the summary is hidden.
        drawn[row, source] = True
        drawn &= rng.random(drawn.shape) < self.hidden
        drawn[:, : len(SPECIAL)] = False  # special tokens have the first ids
        # -100 in the target becomes id 0, the padding, which is never hidden.
        hidden = drawn[row, target.clip(min=0)]  # (batch, longest target)
        return np.where(drawn[row, source], self.unknown, source), np.where(hidden, self.unknown, target)


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns token ids `(rows, longest)`, int32, padded on the right, and the lengths `(rows,)`."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.full((len(rows), int(lengths.max(initial=1))), pad, dtype=np.int32)
    # The mask (rows, longest) selects the places of the tokens row by row: (tokens of all rows,).
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate(
        [np.asarray(row, dtype=np.int32) for row in rows]
    )
    return ids, lengths
