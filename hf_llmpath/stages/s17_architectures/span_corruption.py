"""T5's objective: spans of a text are replaced by sentinels, and the target says what they were.

    the text    Thank you for inviting me to your party last week .
    input       Thank you <extra_id_0> me to your party <extra_id_1> week .
    target      <extra_id_0> for inviting <extra_id_1> last <extra_id_2>

Raffel et al. 2020, section 3.1.4 and figure 2: 15 % of the tokens, in spans of 3 on average. All rows of a
batch are corrupted at once.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import processors
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...data.batches.streams import IGNORED
from ...data.batches.token_rows import TrainingBatches

SENTINEL = "<extra_id_{}>"  # T5's name of a sentinel


def add_sentinels(tokenizer: PreTrainedTokenizerBase, count: int) -> tuple[int, ...]:
    """Adds `count` sentinels to the vocabulary, as special tokens; returns their ids, in order."""
    names = [SENTINEL.format(number) for number in range(count)]
    tokenizer.add_special_tokens({"extra_special_tokens": names}, replace_extra_special_tokens=False)
    return tuple(tokenizer.convert_tokens_to_ids(names))


def text_to_text(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy of a tokenizer of `train_subwords` that writes what T5 reads: the text and an end token."""
    return _reframed(tokenizer, f"$A {tokenizer.sep_token}")


def open_ended(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy of a tokenizer of `train_subwords` that adds no end token, for a decoder that continues."""
    return _reframed(tokenizer, f"{tokenizer.cls_token} $A")


def _reframed(tokenizer: PreTrainedTokenizerBase, single: str) -> PreTrainedTokenizerBase:
    copied = copy.deepcopy(tokenizer)
    special = [(copied.cls_token, copied.cls_token_id), (copied.sep_token, copied.sep_token_id)]
    copied.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=f"{single} $B {copied.sep_token}", special_tokens=special
    )
    copied.bos_token, copied.eos_token = copied.cls_token, copied.sep_token
    copied.model_input_names = ["input_ids", "attention_mask"]
    return copied


def sentinels_of(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids of the sentinels in a vocabulary, in order; an empty tuple if there are none."""
    ids: list[int] = []
    vocabulary = tokenizer.get_vocab()
    while (name := SENTINEL.format(len(ids))) in vocabulary:
        ids.append(vocabulary[name])
    return tuple(ids)


@dataclass(frozen=True)
class SpanCorruption:
    """Which spans of a text a model must restore.

    Out of n tokens, round(n · density) are noise, at least one and never all. They form round(noise /
    mean_span) spans. Noise and the rest are cut into as many pieces, with every way of cutting equally
    likely, and laid out in turn. With `roll`, the pattern is rotated by a random number of positions, and
    every position is noise equally often. Without it, a text always ends in a span, which matters for short
    texts.

    Attributes:
        sentinels: ids, one for every span and one for the end of the target.
        eos_id, pad_id: of the tokenizer.
        density: share of the tokens that are noise.
        mean_span: mean length of a span.
        roll: whether the pattern is rotated.

    Raises:
        ValueError: the density is outside (0, 1), the mean below 1, or there are fewer than two sentinels.
    """

    sentinels: tuple[int, ...]
    eos_id: int
    pad_id: int
    density: float = 0.15
    mean_span: float = 3.0
    roll: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.density < 1:
            raise ValueError(f"density ({self.density}) must be between 0 and 1")
        if self.mean_span < 1:
            raise ValueError(f"mean_span ({self.mean_span}) must be at least 1")
        if len(self.sentinels) < 2:
            raise ValueError(
                f"span corruption needs at least 2 sentinels; the tokenizer has {len(self.sentinels)}"
            )

    def spans(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """How many tokens are noise in texts of these lengths `(rows,)`, and in how many spans."""
        noise = (lengths * self.density).round().long().clamp(min=1)
        noise = torch.minimum(noise, (lengths - 1).clamp(min=0))
        count = (noise / self.mean_span).round().long().clamp(min=1)
        return noise, torch.minimum(count, torch.minimum(noise, lengths - noise))

    def noise_mask(self, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """Which tokens are noise in texts of these lengths `(rows,)`: bool `(rows, longest)`."""
        noise, count = self.spans(lengths)
        kept, lost = (_cut(items, count, generator) for items in (lengths - noise, noise))
        ends = torch.stack([kept, lost], dim=2).flatten(1).cumsum(1)  # kept, lost, kept, lost, ...
        positions = torch.arange(max(int(lengths.max()), 1)).expand(len(lengths), -1).contiguous()
        # (rows, longest): a position is noise if it lies in an odd piece.
        mask = torch.searchsorted(ends, positions, right=True) % 2 == 1
        if self.roll:
            shift = (torch.rand(len(lengths), 1, generator=generator) * lengths[:, None]).long()
            mask = mask.gather(1, (positions - shift) % lengths[:, None].clamp(min=1))
        return mask & (positions < lengths[:, None])

    def __call__(self, ids: Tensor, lengths: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Corrupts a batch.

        Args:
            ids: token ids without special tokens `(rows, longest)`; only a row's own length is read.
            lengths: `(rows,)`.
            generator: the source of randomness.

        Returns:
            `input_ids` and `attention_mask` `(rows, longest input)`, and `labels` `(rows, longest target)`,
            which are -100 after their end. Inputs and labels end with the end token.

        Raises:
            ValueError: there are more spans than sentinels.
        """
        mask = self.noise_mask(lengths, generator)
        ids = ids[:, : mask.shape[1]]
        is_text = torch.arange(mask.shape[1]) < lengths[:, None]  # (rows, longest)
        begins = mask & ~torch.nn.functional.pad(mask, (1, 0))[:, :-1]
        number = begins.long().cumsum(1)  # of the span, from 1
        spans, noise = number[:, -1], mask.sum(1)
        if int(spans.max()) >= len(self.sentinels):
            raise ValueError(
                f"a text of {int(lengths.max())} tokens has {int(spans.max())} spans, which need "
                f"{int(spans.max()) + 1} sentinels; the tokenizer has {len(self.sentinels)}"
            )
        sentinels = torch.tensor(self.sentinels)
        marks = sentinels[(number - 1).clamp(min=0)]

        # The input keeps what is not noise, with a sentinel at the first token of every span.
        stays = (begins | ~mask) & is_text
        size = stays.sum(1)
        inputs = _scatter(
            stays.long().cumsum(1) - 1, torch.where(begins, marks, ids), stays, size + 1, self.pad_id
        )
        inputs.scatter_(1, size[:, None], self.eos_id)

        # The target has the noise, with a sentinel before every span.
        position = mask.long().cumsum(1) - 1 + number
        labels = _scatter(position, ids, mask, noise + spans + 2, IGNORED)
        marked = _scatter(position - 1, marks, begins, noise + spans + 2, IGNORED)
        labels = torch.where(marked == IGNORED, labels, marked)
        end = (noise + spans)[:, None]
        labels.scatter_(1, end, sentinels[spans][:, None]).scatter_(1, end + 1, self.eos_id)
        attention = (torch.arange(inputs.shape[1]) <= size[:, None]).long()
        return {"input_ids": inputs, "attention_mask": attention, "labels": labels}


def _cut(items: Tensor, parts: Tensor, generator: torch.Generator) -> Tensor:
    """Lengths `(rows, most parts)` of `items` cut into `parts` non-empty pieces, every way equally likely."""
    longest = max(int(items.max()), 1)
    positions = torch.arange(longest)
    draws = torch.rand(len(items), longest, generator=generator)
    draws = draws.masked_fill(positions >= items[:, None] - 1, 2.0)  # no cut after the last item
    rank = draws.argsort(1).argsort(1)
    cuts = (rank < parts[:, None] - 1).long()
    piece = torch.nn.functional.pad(cuts.cumsum(1), (1, 0))[:, :longest]
    lengths = torch.zeros(len(items), max(int(parts.max()), 1), dtype=torch.long)
    return lengths.scatter_add_(1, piece, (positions < items[:, None]).long())


def _scatter(position: Tensor, values: Tensor, chosen: Tensor, sizes: Tensor, fill: int) -> Tensor:
    """The chosen values `(rows, length)` at their positions, the rest filled: `(rows, largest of sizes)`."""
    width = int(sizes.max())
    spare = torch.full((len(values), width + 1), fill)  # the last column takes what is not chosen
    spare.scatter_(1, torch.where(chosen, position, width), torch.where(chosen, values, fill))
    return spare[:, :width].contiguous()


def restore(source: Sequence[int], target: Sequence[int], sentinels: Sequence[int]) -> list[int]:
    """The text: every sentinel of the source is replaced by what follows it in the target.

    A sentinel that the target lacks is dropped.
    """
    spans: dict[int, list[int]] = {}
    known, current = set(sentinels), None
    for token in target:
        if token in known:
            current = spans.setdefault(token, [])
        elif current is not None:
            current.append(token)
    return [token for item in source for token in (spans.get(item, []) if item in known else [item])]


class SpanCorruptionCollator:
    """Collates token ids of texts, with or without special tokens, into a batch for an encoder-decoder.

    It has its own random generator: two collators with the same seed give equal batches.

    Args:
        tokenizer: with sentinels (see `add_sentinels`), a padding token, and an end or separator token.
        density, mean_span, roll: see `SpanCorruption`.
        seed: of the generator.

    Raises:
        ValueError: the tokenizer has no sentinels.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        density: float = 0.15,
        mean_span: float = 3.0,
        roll: bool = True,
        seed: int = 0,
    ):
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        self.corruption = SpanCorruption(
            sentinels_of(tokenizer), end, tokenizer.pad_token_id, density, mean_span, roll
        )
        unknown = tokenizer.unk_token_id
        self.special = np.array([index for index in tokenizer.all_special_ids if index != unknown])
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, examples: Sequence[Mapping[str, Any] | Sequence[int]]) -> dict[str, Tensor]:
        """Rows as dicts with `input_ids`, or as bare lists of ids."""
        rows = [np.asarray(row["input_ids"] if isinstance(row, Mapping) else row) for row in examples]
        rows = [row[~np.isin(row, self.special)] for row in rows]
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.full((len(rows), max(int(lengths.max()), 1)), self.corruption.pad_id)
        ids[torch.arange(ids.shape[1]) < lengths[:, None]] = torch.from_numpy(np.concatenate(rows)).long()
        return self.corruption(ids, lengths, self.generator)


class SpanBatches(TrainingBatches):
    """The batches of `TrainingBatches`, corrupted: the same texts in the same order.

    Rows are framed by one special token at each end, which is dropped.
    """

    corruption: SpanCorruption

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        step, mine = indices[0] // self.batch_size, [index % self.batch_size for index in indices]
        rows = self.plan[step]
        ids, _ = self.rows.padded(rows, self.pad)
        # Spans are drawn for the whole batch: they do not depend on how processes share it.
        generator = torch.Generator().manual_seed((self.seed << 32) + step)
        batch = self.corruption(ids[:, 1:], torch.from_numpy(self.rows.lengths[rows] - 2), generator)
        return batch if len(mine) == len(rows) else {name: value[mine] for name, value in batch.items()}


class CausalBatches(TrainingBatches):
    """The batches of `TrainingBatches` for a causal language model: the labels are the tokens themselves."""

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        batch = super().__getitems__(indices)
        return batch | {"labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)}
