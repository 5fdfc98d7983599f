"""Stores a corpus as one array of token ids in a file, and reads blocks of it as training batches.

    write_tokens(path, ids, vocab_size)        # once
    blocks = TokenBlocks(read_tokens(path), 128, batch_size=16, steps=1000, seed=0)

The text is tokenized when the file is written. During training, a batch is one gather from the file's pages,
which are mapped into memory and which all processes of a machine share. The corpus may be larger than memory.
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import UserError


def write_tokens(path: Path, ids: np.ndarray, vocab_size: int) -> Path:
    """Writes ids `(n,)` as a .npy file.

    An id takes two bytes if the vocabulary has at most 65,536 tokens, and four otherwise.

    Raises:
        ValueError: an id is outside the vocabulary.
    """
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        raise ValueError(f"token ids from {ids.min()} to {ids.max()} do not fit a vocabulary of {vocab_size}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.save(file, ids.astype(np.uint16 if vocab_size <= 2**16 else np.uint32), allow_pickle=False)
    os.replace(temporary, path)  # atomic, so no reader can see half a file
    return path


def read_tokens(path: Path) -> np.ndarray:
    """Maps the ids `(n,)` in a file made by `write_tokens` into memory, read-only.

    Raises:
        UserError: the file does not exist or does not hold token ids.
    """
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"no token file {path}; write one with write_tokens") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is no token file: {error}") from None
    if tokens.ndim != 1 or tokens.dtype not in (np.uint16, np.uint32):
        raise UserError(
            f"{path} holds {tokens.dtype} of shape {tokens.shape}; token ids are one row of uint16 or uint32"
        )
    return tokens


class TokenBlocks(Dataset):
    """The batches of a training run: a map-style data set of `steps * batch_size` places, read in sequence.

    Every epoch cuts the text, from a new random offset, into blocks of `length` tokens that do not overlap,
    and reads the blocks in a new order; tokens that do not fill a block are left out. The content of a place
    depends only on the seed and the place, so a resumed run, or a run in several processes, reads the same
    blocks as an uninterrupted run in a single process.

    Args:
        tokens: token ids `(n,)`, for example from `read_tokens`.
        length: number of tokens in a block.
        batch_size, steps: their product is the number of blocks to read.
        seed: seed of the offsets and the order.

    Raises:
        UserError: there are fewer tokens than a block and its last target need.
    """

    sequential = True

    def __init__(self, tokens: np.ndarray, length: int, batch_size: int, steps: int, seed: int):
        if len(tokens) < length + 1:
            raise UserError(
                f"the training text has {len(tokens)} tokens; a context of {length} needs at least "
                f"{length + 1}: give "
                "more text, or --set context=..."
            )
        self.tokens, self.length = tokens, length
        self.starts = self._plan(batch_size * steps, seed)

    def _plan(self, count: int, seed: int) -> np.ndarray:
        """Returns where each block begins, `(count,)`."""
        rng = np.random.default_rng(seed)
        epochs: list[np.ndarray] = []
        planned = 0
        while planned < count:
            spare = len(self.tokens) - 1 - self.length  # tokens beyond one block and its last target
            offset = int(rng.integers(0, min(self.length, spare + 1)))
            blocks = (len(self.tokens) - 1 - offset) // self.length
            epochs.append(offset + self.length * rng.permutation(blocks))
            planned += blocks
        # (blocks of all epochs,) -> (count,); the empty array keeps the dtype if count is 0
        return np.concatenate([*epochs, np.zeros(0, dtype=np.int64)])[:count]

    @property
    def epochs(self) -> float:
        """Returns the average number of times that a token is read."""
        return len(self.starts) * self.length / len(self.tokens)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        # (blocks, 1) + (length + 1,) -> (blocks, length + 1): the inputs, and one more for the last target
        places = self.starts[indices][:, None] + np.arange(self.length + 1)
        rows = torch.from_numpy(self.tokens[places].astype(np.int64))
        # Each (blocks, length); the labels are one token ahead.
        return {"input_ids": rows[:, :-1].contiguous(), "shift_labels": rows[:, 1:].contiguous()}
