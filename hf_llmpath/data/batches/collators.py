"""Turns tokenized examples into a batch: pads them to the longest row and masks tokens to be predicted.

loader = DataLoader(rows, batch_size=32, collate_fn=MaskingCollator(tokenizer, rate=0.15, seed=0))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .streams import IGNORED

NO_WORD = -1  # word index of a special or padding token, which is never chosen


@dataclass(frozen=True)
class Masking:
    """Chooses the tokens that a masked language model must predict, and what it sees in their place.

    A share `mask` of the chosen tokens becomes the mask token, a share `random` becomes a token drawn from
    the vocabulary, and the rest stay as they are. Fine-tuning has no mask tokens, so the model must not rely
    on them (Devlin et al. 2018, section 3.1).

    Attributes:
        mask_id, vocab_size: id of the mask token, and vocabulary size of the tokenizer.
        rate: probability that a token (or word) is chosen.
        mask, random: shares of the chosen tokens.

    Raises:
        ValueError: a share is outside [0, 1], or the shares sum to more than 1.
    """

    mask_id: int
    vocab_size: int
    rate: float = 0.15
    mask: float = 0.8
    random: float = 0.1

    def __post_init__(self) -> None:
        for name in ("rate", "mask", "random"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} ({value}) must be from 0 to 1")
        if self.mask + self.random > 1:
            raise ValueError(f"mask ({self.mask}) and random ({self.random}) must not sum to more than 1")

    def __call__(
        self, ids: Tensor, maskable: Tensor, generator: torch.Generator, words: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Masks a batch.

        Args:
            ids: token ids `(batch, length)`; not changed.
            maskable: booleans `(batch, length)`, false for special and padding tokens.
            generator: source of randomness.
            words: index of each token's word within its row `(batch, length)`, for whole-word masking. The
                tokens of a word are chosen together, and each is then replaced on its own, as in BERT.

        Returns:
            The inputs that the model sees `(batch, length)`, and the labels `(batch, length)`: the original
            token where a token was chosen, and -100 elsewhere.
        """
        draws = torch.rand(ids.shape, generator=generator)  # (batch, length)
        if words is not None:
            # All tokens of a word read the same draw, at the index of the word. The clamp only makes -1 a
            # valid index: `maskable` excludes those tokens.
            draws = draws.gather(1, words.clamp(min=0))  # (batch, length)
        chosen = (draws < self.rate) & maskable
        # An independent second draw decides what a chosen token becomes.
        fate = torch.rand(ids.shape, generator=generator)
        tokens = torch.randint(self.vocab_size, ids.shape, generator=generator)
        inputs = torch.where(chosen & (fate < self.mask), self.mask_id, ids)
        inputs = torch.where(chosen & (fate >= self.mask) & (fate < self.mask + self.random), tokens, inputs)
        return inputs, torch.where(chosen, ids, IGNORED)


class PaddingCollator:
    """Pads token ids and token types to the longest row of the batch, adds attention masks, and keeps labels.

    Args:
        tokenizer: tokenizer whose padding token is used.
        multiple_of: the length is rounded up to a multiple of this number (8 for the tensor cores of a GPU).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, multiple_of: int = 1):
        self.pad, self.multiple_of = tokenizer.pad_token_id, multiple_of

    def __call__(self, examples: Sequence[Mapping[str, Any] | Sequence[int]]) -> dict[str, Tensor]:
        """Turns rows, dicts with `input_ids` or bare lists of ids, into tensors `(batch, longest)`."""
        rows = [row if isinstance(row, Mapping) else {"input_ids": row} for row in examples]
        lengths = np.array([len(row["input_ids"]) for row in rows])
        longest = -(-int(lengths.max()) // self.multiple_of) * self.multiple_of  # -(-a // b) rounds up
        mask = np.arange(longest) < lengths[:, None]  # (longest,) < (batch, 1) -> (batch, longest)
        batch = {"attention_mask": torch.from_numpy(mask.astype(np.int64))}
        for name, fill in (("input_ids", self.pad), ("token_type_ids", 0), ("word_ids", NO_WORD)):
            if name in rows[0]:
                values = np.full((len(rows), longest), fill, dtype=np.int64)
                # The mask selects the places of the tokens row by row: (tokens of all rows,).
                values[mask] = np.concatenate([np.asarray(row[name]) for row in rows])
                batch[name] = torch.from_numpy(values)
        label = next((name for name in ("labels", "label") if name in rows[0]), None)
        if label is not None:
            batch["labels"] = torch.tensor([row[label] for row in rows])
        return batch


class MaskingCollator(PaddingCollator):
    """Pads a batch, and then masks it with its own random generator.

    Two collators with the same seed give equal batches, even if other code draws random numbers in between.

    Args:
        tokenizer: tokenizer whose padding, mask, and other special tokens are used.
        rate, mask, random: see `Masking`.
        whole_word: whether to choose whole words; the rows need `word_ids` (see `word_ids_of`).
        seed: seed of the generator.
        multiple_of: see `PaddingCollator`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rate: float = 0.15,
        mask: float = 0.8,
        random: float = 0.1,
        whole_word: bool = False,
        seed: int = 0,
        multiple_of: int = 1,
    ):
        super().__init__(tokenizer, multiple_of)
        if tokenizer.mask_token_id is None:
            raise ValueError("this tokenizer has no mask token; masked language modeling needs one")
        self.masking = Masking(tokenizer.mask_token_id, len(tokenizer), rate, mask, random)
        self.special = torch.tensor(tokenizer.all_special_ids)
        self.whole_word = whole_word
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, examples: Sequence[Mapping[str, Any] | Sequence[int]]) -> dict[str, Tensor]:
        batch = super().__call__(examples)
        words = batch.pop("word_ids", None)
        if self.whole_word and words is None:
            raise ValueError("whole-word masking needs word_ids in every row; add them with word_ids_of")
        maskable = ~torch.isin(batch["input_ids"], self.special)  # (batch, longest)
        batch["input_ids"], batch["labels"] = self.masking(
            batch["input_ids"], maskable, self.generator, words if self.whole_word else None
        )
        return batch


def word_ids_of(encoding: Any, row: int = 0) -> list[int]:
    """Returns the index of each token's word, counting from 0; -1 for special tokens."""
    return [NO_WORD if word is None else word for word in encoding.word_ids(row)]


def length_grouped_batches(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator, pool: int = 32
) -> list[np.ndarray]:
    """Splits the rows of one epoch into batches of similar length, in random order.

    The rows are shuffled, sorted by length in pools of `pool` batches, and cut into batches, which are then
    shuffled. The batches need little padding, and a row has different neighbors in every epoch. One batch
    may be smaller than the others.

    Args:
        lengths: length of each row, `(rows,)`.
        batch_size: number of rows per batch.
        rng: source of the order.
        pool: number of batches that are sorted together; 1 for no grouping.
    """
    order = rng.permutation(len(lengths))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), batch_size * pool):
        rows = order[start : start + batch_size * pool]
        if pool > 1:
            rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]
