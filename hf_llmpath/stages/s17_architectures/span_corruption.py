"""T5's objective: spans of a text are replaced by sentinels, and the target tells what stood there.

    the text    Thank you for inviting me to your party last week .
    input       Thank you <extra_id_0> me to your party <extra_id_1> week .
    target      <extra_id_0> for inviting <extra_id_1> last <extra_id_2>

Raffel et al. 2020, section 3.1.4 and figure 2: 15 % of the tokens, in spans of 3 on average. Nothing here
runs row by row.
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


def going_on(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy of a tokenizer of `train_subwords` that leaves the end open, for a decoder that goes on from
    there.
    """
    return _reframed(tokenizer, f"{tokenizer.cls_token} $A")


def _reframed(tokenizer: PreTrainedTokenizerBase, single: str) -> PreTrainedTokenizerBase:
    made = copy.deepcopy(tokenizer)
    special = [(made.cls_token, made.cls_token_id), (made.sep_token, made.sep_token_id)]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=f"{single} $B {made.sep_token}", special_tokens=special
    )
    made.bos_token, made.eos_token = made.cls_token, made.sep_token
    made.model_input_names = ["input_ids", "attention_mask"]
    return made


def sentinels_of(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids of the sentinels in a vocabulary, in order: none, if there are none."""
    found, vocabulary = [], tokenizer.get_vocab()
    while (name := SENTINEL.format(len(found))) in vocabulary:
        found.append(vocabulary[name])
    return tuple(found)


@dataclass(frozen=True)
class SpanCorruption:
    """Which spans of a text a model must restore.

    Of n tokens, round(n · density) are noise, at least one and never all; they form round(noise /
    mean_span) spans. Noise and what is left are cut into as many pieces, every way of doing so being
    equally likely, and laid out in turn. With `roll` the pattern is turned round by a random number of
    places, so that every place is noise equally often: otherwise a text would always end in a span, which
    matters where texts are short.

    Attributes:
        sentinels: ids, one for every span and one for the end of the target.
        eos_id, pad_id: of the tokenizer.
        density: share of the tokens that are noise.
        mean_span: mean length of a span.
        roll: see above.

    Raises:
        ValueError: a density outside (0, 1), a mean below 1, or fewer than two sentinels.
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
        """Of texts of these lengths `(rows,)`: how many tokens are noise, and in how many spans."""
        noise = (lengths * self.density).round().long().clamp(min=1)
        noise = torch.minimum(noise, (lengths - 1).clamp(min=0))
        count = (noise / self.mean_span).round().long().clamp(min=1)
        return noise, torch.minimum(count, torch.minimum(noise, lengths - noise))

    def noise_mask(self, lengths: Tensor, generator: torch.Generator) -> Tensor:
        """Which tokens of texts of these lengths `(rows,)` are noise: bool `(rows, longest)`."""
        noise, count = self.spans(lengths)
        kept, lost = (_cut(items, count, generator) for items in (lengths - noise, noise))
        ends = torch.stack([kept, lost], dim=2).flatten(1).cumsum(1)  # kept, lost, kept, lost, ...
        places = torch.arange(max(int(lengths.max()), 1)).expand(len(lengths), -1).contiguous()
        mask = torch.searchsorted(ends, places, right=True) % 2 == 1
        if self.roll:
            shift = (torch.rand(len(lengths), 1, generator=generator) * lengths[:, None]).long()
            mask = mask.gather(1, (places - shift) % lengths[:, None].clamp(min=1))
        return mask & (places < lengths[:, None])

    def __call__(self, ids: Tensor, lengths: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Corrupts a batch.

        Args:
            ids: token ids without special tokens `(rows, longest)`; what stands beyond a row's length is
                not read.
            lengths: `(rows,)`.
            generator: where the randomness comes from.

        Returns:
            `input_ids` and `attention_mask` `(rows, longest input)`, `labels` `(rows, longest target)`,
            -100 behind the end; both end with the end token.

        Raises:
            ValueError: more spans than sentinels.
        """
        mask = self.noise_mask(lengths, generator)
        ids = ids[:, : mask.shape[1]]
        there = torch.arange(mask.shape[1]) < lengths[:, None]
        begins = mask & ~torch.nn.functional.pad(mask, (1, 0))[:, :-1]
        number = begins.long().cumsum(1)  # of the span, from 1
        spans, noise = number[:, -1], mask.sum(1)
        if int(spans.max()) >= len(self.sentinels):
            raise ValueError(
                f"a text of {int(lengths.max())} tokens has {int(spans.max())} spans, which need one sentinel more than "
                f"that; the tokenizer has {len(self.sentinels)}"
            )
        sentinels = torch.tensor(self.sentinels)
        marks = sentinels[(number - 1).clamp(min=0)]

        stays = (begins | ~mask) & there
        size = stays.sum(1)
        inputs = _scatter(
            stays.long().cumsum(1) - 1, torch.where(begins, marks, ids), stays, size + 1, self.pad_id
        )
        inputs.scatter_(1, size[:, None], self.eos_id)

        place = mask.long().cumsum(1) - 1 + number  # a sentinel stands before every span
        labels = _scatter(place, ids, mask, noise + spans + 2, IGNORED)
        marked = _scatter(place - 1, marks, begins, noise + spans + 2, IGNORED)
        labels = torch.where(marked == IGNORED, labels, marked)
        end = (noise + spans)[:, None]
        labels.scatter_(1, end, sentinels[spans][:, None]).scatter_(1, end + 1, self.eos_id)
        attention = (torch.arange(inputs.shape[1]) <= size[:, None]).long()
        return {"input_ids": inputs, "attention_mask": attention, "labels": labels}


def _cut(items: Tensor, parts: Tensor, generator: torch.Generator) -> Tensor:
    """Lengths `(rows, most parts)` of `items` cut into `parts` pieces of at least one, every way equally
    likely.
    """
    longest = max(int(items.max()), 1)
    places = torch.arange(longest)
    draws = torch.rand(len(items), longest, generator=generator)
    draws = draws.masked_fill(places >= items[:, None] - 1, 2.0)  # no cut behind the last item
    rank = draws.argsort(1).argsort(1)
    cuts = (rank < parts[:, None] - 1).long()
    piece = torch.nn.functional.pad(cuts.cumsum(1), (1, 0))[:, :longest]
    lengths = torch.zeros(len(items), max(int(parts.max()), 1), dtype=torch.long)
    return lengths.scatter_add_(1, piece, (places < items[:, None]).long())


def _scatter(place: Tensor, values: Tensor, chosen: Tensor, sizes: Tensor, fill: int) -> Tensor:
    """The chosen values `(rows, length)` at their places in rows of the largest of `sizes`, the rest filled."""
    width = int(sizes.max())
    spare = torch.full((len(values), width + 1), fill)  # the last column takes what is not chosen
    return spare.scatter_(1, torch.where(chosen, place, width), torch.where(chosen, values, fill))[
        :, :width
    ].contiguous()


def restore(source: Sequence[int], target: Sequence[int], sentinels: Sequence[int]) -> list[int]:
    """The text: every sentinel of the source replaced by what follows it in the target, up to the next
    sentinel.

    A sentinel that the target does not have becomes nothing.
    """
    known, spans, current = set(sentinels), {}, None
    for token in target:
        if token in known:
            current = spans.setdefault(token, [])
        elif current is not None:
            current.append(token)
    return [token for place in source for token in (spans.get(place, []) if place in known else [place])]


class SpanCorruptionCollator:
    """Token ids of texts, special tokens included or not, as a batch for an encoder-decoder. It has a
    random generator of its
    own: the batches of two collators with the same seed are equal.

    Args:
        tokenizer: with sentinels (see `add_sentinels`), a padding token, and an end or separator token.
        density, mean_span, roll: see `SpanCorruption`.
        seed: of the generator.

    Raises:
        ValueError: a tokenizer without sentinels.
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
    """The batches of `TrainingBatches`, the same texts in the same order, corrupted: rows framed by one
    special token at either end, which are left out."""

    corruption: SpanCorruption

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        step, mine = indices[0] // self.batch_size, [index % self.batch_size for index in indices]
        rows = self.plan[step]
        ids, _ = self.rows.padded(rows, self.pad)
        # Spans are drawn for the whole batch, so that they do not depend on how processes share it.
        generator = torch.Generator().manual_seed((self.seed << 32) + step)
        batch = self.corruption(ids[:, 1:], torch.from_numpy(self.rows.lengths[rows] - 2), generator)
        return batch if len(mine) == len(rows) else {name: value[mine] for name, value in batch.items()}


class CausalBatches(TrainingBatches):
    """The batches of `TrainingBatches` for a causal language model: the labels are the tokens themselves."""

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        batch = super().__getitems__(indices)
        return batch | {"labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)}
