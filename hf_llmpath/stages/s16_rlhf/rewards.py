"""Turns a reward model into a function of replies and measures how often it prefers the chosen reply."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .rollouts import Rollout

_BATCH = 128  # conversations scored at once


@dataclass
class RewardModel:
    """Scores whole conversations with a sequence classifier that has a single output.

    Attributes:
        model: the classifier.
        pad: the id of the padding token.
        mean, deviation: the numbers that normalize a raw score: score = (raw − mean) / deviation. The
            training loss depends only on differences between scores and thus leaves their zero point open.
            `calibrate` gives a policy's replies mean 0 and standard deviation 1 (Stiennon et al. 2020).
    """

    model: nn.Module
    pad: int
    mean: float = 0.0
    deviation: float = 1.0

    def __call__(self, rollout: Rollout) -> Tensor:
        """Computes the score of each reply, `(batch,)`."""
        return (self._raw(rollout.ids, rollout.attention_mask) - self.mean) / self.deviation

    def of_conversations(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Computes the score of each conversation, given as token ids: `(conversations,)`."""
        scores = []
        for start in range(0, len(rows), _BATCH):
            ids, mask = right_padded(rows[start : start + _BATCH], self.pad)  # (batch, longest) each
            scores.append((self._raw(ids, mask) - self.mean) / self.deviation)  # (batch,)
        return torch.cat(scores)  # (conversations,)

    def calibrate(self, rollout: Rollout) -> None:
        """Normalizes the scores so that these replies have mean 0 and standard deviation 1."""
        raw = self._raw(rollout.ids, rollout.attention_mask)  # (batch,)
        # The lower limit avoids a division by 0 if all replies score the same.
        self.mean, self.deviation = float(raw.mean()), max(1e-6, float(raw.std()))

    @torch.no_grad()
    def _raw(self, ids: Tensor, mask: Tensor) -> Tensor:
        device = next(self.model.parameters()).device
        self.model.eval()
        logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits  # (batch, 1)
        return logits[:, 0].to(ids.device)  # (batch, 1) -> (batch,)


def right_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Pads rows on the right; returns token ids and an attention mask, both `(rows, longest)`."""
    tensors = [torch.tensor(list(row)) for row in rows]
    ids = nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=pad)  # (rows, longest)
    lengths = torch.tensor([len(row) for row in rows])  # (rows,)
    # The mask compares (longest,) with (rows, 1) and is (rows, longest).
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


def pairwise_accuracy(chosen: Tensor, rejected: Tensor) -> float:
    """Returns the share of pairs in which the chosen reply scores higher; a tie counts half."""
    return float(((chosen > rejected).double() + (chosen == rejected).double() / 2).mean())
