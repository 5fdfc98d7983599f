"""Makes batches for a language model from windows of one long stream or from padded short documents.

Both kinds are ordinary `torch.utils.data.Dataset`s whose `__getitems__` builds a whole batch with one gather,
which limits the cost of loading to microseconds.
"""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

IGNORED = -100  # label that the loss skips


def as_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the batch unchanged: the collate function for data sets that build whole batches."""
    return batch


class StreamWindows(Dataset):
    """A long text, cut for truncated backpropagation through time.

    The text becomes `streams` parallel pieces. Batch k holds window k of every piece, so a recurrent
    model that keeps its state from batch to batch reads each piece from end to end (Williams & Peng
    1990). Read it in order, with batch size `streams`. Labels are the next tokens themselves
    (`shift_labels`).

    Args:
        tokens: token ids `(n,)`.
        streams: number of pieces, which is the batch size.
        length: number of tokens in a window.

    Raises:
        ValueError: there are fewer tokens than one window per piece needs.
    """

    sequential = True

    def __init__(self, tokens: np.ndarray, streams: int, length: int):
        self.streams, self.length = streams, length
        self.windows = (len(tokens) - 1) // (streams * length)
        if self.windows < 1:
            raise ValueError(f"{len(tokens)} tokens are too few for {streams} streams of {length} tokens")
        piece = self.windows * length
        table = torch.from_numpy(np.ascontiguousarray(tokens[: streams * piece + 1], dtype=np.int64))
        # (streams * piece,) -> (streams, piece); the targets are one token ahead of the inputs
        self.inputs, self.targets = table[:-1].view(streams, piece), table[1:].view(streams, piece)

    def __len__(self) -> int:
        return self.windows * self.streams

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        window = indices[0] // self.streams
        rows = slice(indices[0] % self.streams, indices[0] % self.streams + len(indices))
        columns = slice(window * self.length, (window + 1) * self.length)
        return {
            "input_ids": self.inputs[rows, columns].contiguous(),  # (rows, length)
            "shift_labels": self.targets[rows, columns].contiguous(),
            "first": torch.tensor(window == 0),  # whether the recurrent state must start anew
        }


class Documents(Dataset):
    """Short texts, each between two end-of-text tokens, padded to the longest.

    Args:
        texts: token ids of each document.
        end: id of the end-of-text token, which also starts a document.
        pad: id of the padding token.
    """

    sequential = False

    def __init__(self, texts: list[np.ndarray], end: int, pad: int):
        longest = max(len(text) for text in texts)
        inputs = np.full((len(texts), longest + 1), pad, dtype=np.int64)
        labels = np.full((len(texts), longest + 1), IGNORED, dtype=np.int64)
        inputs[:, 0] = end
        # The inputs are [end, text], and the labels, one token ahead, are [text, end].
        for row, text in enumerate(texts):
            inputs[row, 1 : len(text) + 1] = text
            labels[row, : len(text)] = text
            labels[row, len(text)] = end
        self.inputs, self.labels = torch.from_numpy(inputs), torch.from_numpy(labels)
        self.lengths = torch.tensor([len(text) + 1 for text in texts])

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        longest = int(self.lengths[indices].max())  # each tensor of the batch is (batch, longest)
        return {"input_ids": self.inputs[indices, :longest], "shift_labels": self.labels[indices, :longest]}
