"""Implements T5's objective: sentinels replace spans of a text, and the target restores the spans.

    the text    Thank you for inviting me to your party last week .
    input       Thank you <extra_id_0> me to your party <extra_id_1> week .
    target      <extra_id_0> for inviting <extra_id_1> last <extra_id_2>

As in Raffel et al. 2020, section 3.1.4 and figure 2, 15% of the tokens are replaced, in spans of 3 tokens on
average. All rows of a batch are corrupted at once.
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

SENTINEL = "<extra_id_{}>"  # T5's name for a sentinel


def add_sentinels(tokenizer: PreTrainedTokenizerBase, count: int) -> tuple[int, ...]:
    """Adds `count` sentinels to the vocabulary as special tokens and returns their ids, in order."""
    names = [SENTINEL.format(number) for number in range(count)]
    tokenizer.add_special_tokens({"extra_special_tokens": names}, replace_extra_special_tokens=False)
    return tuple(tokenizer.convert_tokens_to_ids(names))


def text_to_text(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Copies a tokenizer of `train_subwords` and makes it write what T5 reads: the text and an end token."""
    return _reframed(tokenizer, f"$A {tokenizer.sep_token}")


def open_ended(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Copies a tokenizer of `train_subwords` and drops the end token, for a decoder that continues a text."""
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
    """Returns the ids of the sentinels in a vocabulary, in order; an empty tuple if there are none."""
    ids: list[int] = []
    vocabulary = tokenizer.get_vocab()
    while (name := SENTINEL.format(len(ids))) in vocabulary:
        ids.append(vocabulary[name])
    return tuple(ids)


@dataclass(frozen=True)
class SpanCorruption:
    """Draws the spans of a text that a model must restore, and builds its inputs and labels.

    Of n tokens, round(n · density) are noise: at least one and never all. They form round(noise / mean_span)
    spans. The noise tokens and the other tokens are each cut into that many pieces, with every way of
    cutting equally likely, and the pieces alternate. With `roll`, the pattern is rotated by a random number
    of positions, which makes every position noise equally often. Without it, a text always ends in a span,
    which matters for short texts.

    Attributes:
        sentinels: the ids of the sentinels: one for every span and one for the end of the target.
        eos_id, pad_id: the ids of the tokenizer's end and padding tokens.
        density: the share of the tokens that are noise.
        mean_span: the mean length of a span.
        roll: whether the pattern is rotated.

    Raises:
        ValueError: If the density is outside (0, 1), the mean is below 1, or there are fewer than two
            sentinels.
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
        """Returns how many tokens are noise in texts of the given lengths, and in how many spans.

        All three are `(rows,)`.
        """
        noise = (lengths * self.density).round().long().clamp(min=1)
        noise = torch.minimum(noise, (lengths - 1).clamp(min=0))
        count = (noise / self.mean_span).round().long().clamp(min=1)
        # No span may be empty, nor may a piece between two spans.
        return noise, torch.minimum(count, torch.minimum(noise, lengths - noise))

    def noise_mask(self, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """Draws which tokens are noise.

        Args:
            lengths: the length of each text, `(rows,)`.
            generator: the source of randomness.

        Returns:
            A boolean mask, `(rows, longest)`.
        """
        noise, count = self.spans(lengths)  # (rows,) each
        # (rows, most spans) each
        kept, lost = (_cut(items, count, generator) for items in (lengths - noise, noise))
        # (rows, 2 * most spans): where the pieces end, in the order kept, lost, kept, lost, ...
        ends = torch.stack([kept, lost], dim=2).flatten(1).cumsum(1)
        # (longest,) -> (rows, longest); `searchsorted` warns about memory that is not contiguous.
        positions = torch.arange(max(int(lengths.max()), 1)).expand(len(lengths), -1).contiguous()
        # (rows, longest): counting from 0, the odd pieces are noise.
        mask = torch.searchsorted(ends, positions, right=True) % 2 == 1
        if self.roll:
            # (rows, 1)
            shift = (torch.rand(len(lengths), 1, generator=generator) * lengths[:, None]).long()
            # (rows, longest): each row rotates within its own length.
            mask = mask.gather(1, (positions - shift) % lengths[:, None].clamp(min=1))
        return mask & (positions < lengths[:, None])  # (rows, longest)

    def __call__(self, ids: Tensor, lengths: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Corrupts a batch.

        Args:
            ids: token ids without special tokens, `(rows, longest)`; only a row's own length is read.
            lengths: the length of each row, `(rows,)`.
            generator: the source of randomness.

        Returns:
            The `input_ids` and `attention_mask`, `(rows, longest input)`, and the `labels`,
            `(rows, longest target)`, which are -100 after their end. Both end with the end token.

        Raises:
            ValueError: If there are more spans than sentinels.
        """
        mask = self.noise_mask(lengths, generator)  # (rows, longest)
        ids = ids[:, : mask.shape[1]]  # (rows, longest)
        is_text = torch.arange(mask.shape[1]) < lengths[:, None]  # (rows, longest)
        # (rows, longest): noise whose left neighbor is not; the padding shifts the mask by one position.
        begins = mask & ~torch.nn.functional.pad(mask, (1, 0))[:, :-1]
        number = begins.long().cumsum(1)  # (rows, longest): the number of the current span, from 1
        spans, noise = number[:, -1], mask.sum(1)  # (rows,) each
        if int(spans.max()) >= len(self.sentinels):
            raise ValueError(
                f"a text of {int(lengths.max())} tokens has {int(spans.max())} spans, which need "
                f"{int(spans.max()) + 1} sentinels; the tokenizer has {len(self.sentinels)}"
            )
        sentinels = torch.tensor(self.sentinels)  # (sentinels,)
        marks = sentinels[(number - 1).clamp(min=0)]  # (rows, longest)

        # The input keeps what is not noise; a sentinel takes the place of the first token of every span.
        stays = (begins | ~mask) & is_text  # (rows, longest)
        size = stays.sum(1)  # (rows,)
        # (rows, longest input): the running count of what stays gives each token its new position.
        inputs = _scatter(
            stays.long().cumsum(1) - 1, torch.where(begins, marks, ids), stays, size + 1, self.pad_id
        )
        inputs.scatter_(1, size[:, None], self.eos_id)  # the index is (rows, 1)

        # The target holds the noise, with a sentinel before every span.
        position = mask.long().cumsum(1) - 1 + number  # (rows, longest); each span so far adds its sentinel
        labels = _scatter(position, ids, mask, noise + spans + 2, IGNORED)  # (rows, longest target)
        # (rows, longest target): the sentinels alone, one position before their spans.
        marked = _scatter(position - 1, marks, begins, noise + spans + 2, IGNORED)
        labels = torch.where(marked == IGNORED, labels, marked)  # (rows, longest target)
        end = (noise + spans)[:, None]  # (rows, 1)
        # The target closes with the next sentinel and the end token, each scattered as (rows, 1).
        labels.scatter_(1, end, sentinels[spans][:, None]).scatter_(1, end + 1, self.eos_id)
        attention = (torch.arange(inputs.shape[1]) <= size[:, None]).long()  # (rows, longest input)
        return {"input_ids": inputs, "attention_mask": attention, "labels": labels}


def _cut(items: Tensor, parts: Tensor, generator: torch.Generator) -> Tensor:
    """Cuts `items` into `parts` non-empty pieces, with every way of cutting equally likely.

    Args:
        items: the number of items in each row, `(rows,)`.
        parts: the number of pieces in each row, `(rows,)`.
        generator: the source of randomness.

    Returns:
        The lengths of the pieces, `(rows, most parts)`, with zeros where a row has fewer.
    """
    longest = max(int(items.max()), 1)
    positions = torch.arange(longest)  # (longest,)
    draws = torch.rand(len(items), longest, generator=generator)  # (rows, longest)
    draws = draws.masked_fill(positions >= items[:, None] - 1, 2.0)  # no cut after the last item
    # (rows, longest): sorting twice gives ranks, and the smallest draws are the cuts.
    rank = draws.argsort(1).argsort(1)
    cuts = (rank < parts[:, None] - 1).long()  # (rows, longest): 1 where a cut follows the item
    # (rows, longest): the number of cuts before an item is the index of its piece.
    piece = torch.nn.functional.pad(cuts.cumsum(1), (1, 0))[:, :longest]
    # (rows, most parts)
    lengths = torch.zeros(len(items), max(int(parts.max()), 1), dtype=torch.long)
    # Every real item adds 1 to its piece; the padding beyond a row's items adds 0.
    return lengths.scatter_add_(1, piece, (positions < items[:, None]).long())


def _scatter(position: Tensor, values: Tensor, chosen: Tensor, sizes: Tensor, fill: int) -> Tensor:
    """Moves the chosen values to their positions and fills the rest.

    Args:
        position, values, chosen: the target column of each value, the values, and which of them to move,
            `(rows, length)` each.
        sizes: the width that each row needs, `(rows,)`.
        fill: the number in all other places.

    Returns:
        A new tensor, `(rows, largest of sizes)`.
    """
    width = int(sizes.max())
    # (rows, width + 1): the spare last column takes whatever is not chosen.
    spare = torch.full((len(values), width + 1), fill)
    spare.scatter_(1, torch.where(chosen, position, width), torch.where(chosen, values, fill))
    return spare[:, :width].contiguous()  # (rows, width)


def restore(source: Sequence[int], target: Sequence[int], sentinels: Sequence[int]) -> list[int]:
    """Restores the text by replacing every sentinel of the source with what follows it in the target.

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

    It has its own random generator, so two collators with the same seed give equal batches.

    Args:
        tokenizer: a tokenizer with sentinels (see `add_sentinels`), a padding token, and an end or separator
            token.
        density, mean_span, roll: see `SpanCorruption`.
        seed: the seed of the generator.

    Raises:
        ValueError: If the tokenizer has no sentinels.
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
        """Corrupts rows, given as dicts with `input_ids` or as bare lists of ids."""
        rows = [np.asarray(row["input_ids"] if isinstance(row, Mapping) else row) for row in examples]
        rows = [row[~np.isin(row, self.special)] for row in rows]
        lengths = torch.tensor([len(row) for row in rows])  # (rows,)
        ids = torch.full((len(rows), max(int(lengths.max()), 1)), self.corruption.pad_id)  # (rows, longest)
        # A mask (rows, longest) takes the ids of all rows in one assignment.
        ids[torch.arange(ids.shape[1]) < lengths[:, None]] = torch.from_numpy(np.concatenate(rows)).long()
        return self.corruption(ids, lengths, self.generator)


class SpanBatches(TrainingBatches):
    """Corrupts the batches of `TrainingBatches`, with the same texts in the same order.

    Rows have one special token at each end, which is dropped.
    """

    corruption: SpanCorruption

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        step, mine = indices[0] // self.batch_size, [index % self.batch_size for index in indices]
        rows = self.plan[step]
        ids, _ = self.rows.padded(rows, self.pad)  # (batch, length)
        # Spans are drawn for the whole batch and thus do not depend on how processes share it.
        generator = torch.Generator().manual_seed((self.seed << 32) + step)
        batch = self.corruption(ids[:, 1:], torch.from_numpy(self.rows.lengths[rows] - 2), generator)
        return batch if len(mine) == len(rows) else {name: value[mine] for name, value in batch.items()}


class CausalBatches(TrainingBatches):
    """Turns `TrainingBatches` into batches for a causal language model, with the tokens as labels."""

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        batch = super().__getitems__(indices)
        return batch | {"labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)}
