"""Makes training batches from rows of tokens of any length; each batch depends only on the seed and the step.

A training run that was stopped and resumed therefore reads and masks exactly the same tokens as an
uninterrupted run.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .collators import Masking, length_grouped_batches


class TokenRows:
    """The token ids of many texts in one flat array.

    Args:
        rows: token ids of each text.

    Attributes:
        tokens: all ids, row after row.
        lengths: number of tokens in each row, `(rows,)`.
    """

    def __init__(self, rows: Iterable[Sequence[int]]):
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        # (tokens of all rows,); the empty array makes this work without any rows
        self.tokens: np.ndarray = np.concatenate([*arrays, np.zeros(0, dtype=np.int32)])
        self.lengths = np.array([len(row) for row in arrays], dtype=np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths

    @classmethod
    def in_file(cls, rows: Iterable[Sequence[int]], path: Path) -> "TokenRows":
        """Works like the constructor, but reads row by row and stores the tokens in a memory-mapped file."""
        lengths = array("q")
        with path.open("wb") as file:
            for row in rows:
                np.asarray(row, dtype=np.int32).tofile(file)
                lengths.append(len(row))
        mapped = cls(())
        if sum(lengths):  # an empty file cannot be mapped
            mapped.tokens = np.memmap(path, dtype=np.int32, mode="r")
        mapped.lengths = np.array(lengths, dtype=np.int64)
        mapped._starts = np.cumsum(mapped.lengths) - mapped.lengths
        return mapped

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(self, indices: np.ndarray, pad: int) -> tuple[Tensor, Tensor]:
        """Returns the ids and attention mask of some rows, `(rows, longest)` each, with one gather."""
        lengths = self.lengths[indices]  # (rows,)
        columns = np.arange(lengths.max(initial=1))  # (longest,)
        mask = columns < lengths[:, None]  # (longest,) < (rows, 1) -> (rows, longest)
        # Padding reads token 0, only to have a valid index; the next line overwrites it.
        positions = np.where(mask, self._starts[indices][:, None] + columns, 0)  # (rows, longest)
        ids = np.where(mask, self.tokens[positions], pad).astype(np.int64)  # (rows, longest)
        return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


def second_segment(ids: Tensor, second: np.ndarray) -> Tensor:
    """Returns the `token_type_ids` of a batch, `(rows, length)`: 1 from the start of the second segment."""
    # (length,) >= (rows, 1) -> (rows, length)
    return (torch.arange(ids.shape[1]) >= torch.from_numpy(second)[:, None]).long()


class TrainingBatches(Dataset):
    """The batches of a training run: a map-style data set of `steps * batch_size` places, read in sequence.

    The rows of an epoch are shuffled and grouped by length; rows that do not fill a batch wait for the next
    epoch.

    Args:
        rows: rows to read.
        batch_size: number of rows per step (all of them if there are fewer).
        steps: number of optimizer steps.
        pad: id of the padding token.
        seed: seed of the order and of the masks.
        labels: class of each row, or several targets of each row, by the names of the model's arguments.
        masking: masks for masked language modeling, in place of `labels`.
        special: ids that `masking` never masks.
        pool: number of batches that are sorted by length together; 1 for no grouping.
        second: where the second segment of each row begins, for `token_type_ids`; None if each row is one
            segment.
    """

    sequential = True

    def __init__(
        self,
        rows: TokenRows,
        batch_size: int,
        steps: int,
        pad: int,
        seed: int,
        labels: np.ndarray | Mapping[str, np.ndarray] | None = None,
        masking: Masking | None = None,
        special: Sequence[int] = (),
        pool: int = 32,
        second: np.ndarray | None = None,
    ):
        self.rows, self.pad, self.seed, self.masking = rows, pad, seed, masking
        self.batch_size = min(batch_size, len(rows))
        self.steps = steps
        targets = labels if isinstance(labels, Mapping) else {} if labels is None else {"labels": labels}
        self.targets = {
            name: torch.from_numpy(np.asarray(value, dtype=np.int64)) for name, value in targets.items()
        }
        self.second = second
        self.special = torch.tensor(list(special), dtype=torch.long)
        self.plan = self._plan(pool)

    def _plan(self, pool: int) -> np.ndarray:
        """Returns the rows of every step, `(steps, batch_size)`."""
        rng = np.random.default_rng(self.seed)
        plan: list[np.ndarray] = []
        while len(plan) < self.steps:
            epoch = length_grouped_batches(self.rows.lengths, self.batch_size, rng, pool)
            plan += [batch for batch in epoch if len(batch) == self.batch_size]
        return np.stack(plan[: self.steps])  # (steps, batch_size)

    @property
    def tokens_per_step(self) -> int:
        """Returns the mean number of tokens in a step, without padding."""
        return int(self.rows.lengths[self.plan].sum() / self.steps)

    @property
    def epochs(self) -> float:
        """Returns the average number of times that a row is read."""
        return self.plan.size / len(self.rows)

    def __len__(self) -> int:
        return self.steps * self.batch_size

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        step, mine = indices[0] // self.batch_size, [index % self.batch_size for index in indices]
        rows = self.plan[step]
        ids, mask = self.rows.padded(rows, self.pad)
        batch = {"input_ids": ids, "attention_mask": mask}
        if self.second is not None:
            batch["token_type_ids"] = second_segment(ids, self.second[rows]) * mask
        batch |= {name: value[rows] for name, value in self.targets.items()}
        if self.masking is not None:
            # Masks are drawn for the whole batch, so they do not depend on how processes share it.
            generator = torch.Generator().manual_seed((self.seed << 32) + step)
            batch["input_ids"], batch["labels"] = self.masking(ids, ~torch.isin(ids, self.special), generator)
        return batch if len(mine) == len(rows) else {name: value[mine] for name, value in batch.items()}
