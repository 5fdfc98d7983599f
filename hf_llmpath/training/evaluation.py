"""Loss of a language model on a whole validation split."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..data.batches.streams import IGNORED, Documents


def stream_loss(model: nn.Module, tokens: np.ndarray, streams: int = 64, length: int = 256) -> float:
    """Mean negative log-likelihood in nats of every token of `tokens` but the first.

    The text is read as `streams` pieces side by side, each from end to end with the recurrent state kept;
    a piece starts from an empty state, one character before its first target.
    """
    targets = len(tokens) - 1
    streams = min(streams, max(1, targets // 16))
    piece = -(-targets // streams)
    padded = np.full(streams * piece + 1, IGNORED, dtype=np.int64)
    padded[: targets + 1] = tokens
    inputs = torch.from_numpy(padded[:-1].copy()).view(streams, piece).clamp(min=0)
    labels = torch.from_numpy(padded[1:].copy()).view(streams, piece)
    total, cache = 0.0, None
    model.eval()
    with torch.no_grad():
        for start in range(0, piece, length):
            window = slice(start, start + length)
            outputs = model(input_ids=inputs[:, window], cache=cache, use_cache=True)
            cache = outputs.cache
            logits, target = outputs.logits.flatten(0, 1), labels[:, window].reshape(-1)
            total += F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="sum").item()
    return total / targets


def document_loss(model: nn.Module, documents: Documents, batch_size: int = 512) -> float:
    """Mean negative log-likelihood in nats per token of short documents, the end-of-text token counted."""
    total, count = 0.0, 0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(documents), batch_size):
            batch = documents.__getitems__(list(range(start, min(start + batch_size, len(documents)))))
            logits = model(input_ids=batch["input_ids"], use_cache=False).logits
            labels = batch["shift_labels"]
            total += F.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
            ).item()
            count += int((labels != IGNORED).sum())
    return total / count


def block_loss(
    model: nn.Module, tokens: np.ndarray, length: int, stride: int | None = None, batch_size: int = 64
) -> float:
    """Mean negative log-likelihood in nats of every token of `tokens` but the first, for a model without
    a state.

    Args:
        tokens: ids, `(n,)`.
        length: most tokens that the model sees at once.
        stride: how far one block begins after the one before. `length` if not given: blocks side by side,
            so that on average a token is guessed from half a block. With less the blocks overlap and each
            token is counted once, where it is guessed from at least `length - stride` others (but for the
            beginning of the text).
        batch_size: blocks per pass.
    """
    stride = stride or length
    targets = len(tokens) - 1
    starts = np.arange(0, max(1, targets - (length - stride)), stride)
    padded = np.concatenate([tokens[:-1], np.zeros(length, dtype=np.int64)]).astype(np.int64)
    labels = np.concatenate([tokens[1:], np.full(length, IGNORED)]).astype(np.int64)
    model.eval()
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(starts), batch_size):
            places = starts[first : first + batch_size, None] + np.arange(length)
            target = labels[places]
            if first == 0:
                target[1:, : length - stride] = IGNORED
            else:
                target[:, : length - stride] = IGNORED
            logits = model(input_ids=torch.from_numpy(padded[places]), use_cache=False).logits
            total += F.cross_entropy(
                logits.float().flatten(0, 1),
                torch.from_numpy(target).flatten(),
                ignore_index=IGNORED,
                reduction="sum",
            ).item()
    return total / targets
