"""The reward model as a function of replies, and how often it prefers the reply that was chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .rollouts import Rollout

_BATCH = 128


@dataclass
class RewardModel:
    """Scores whole conversations with a sequence classifier of one label.

    Attributes:
        model: the classifier.
        pad: id of the padding token.
        mean, deviation: subtracted from and divided into the raw scores. The loss of a reward model fixes
            differences only; its zero and its scale are free. `calibrate` gives a policy's replies mean 0
            and standard deviation 1 (Stiennon et al. 2020).
    """

    model: nn.Module
    pad: int
    mean: float = 0.0
    deviation: float = 1.0

    def __call__(self, rollout: Rollout) -> Tensor:
        """Score of each reply `(batch,)`."""
        return (self._raw(rollout.ids, rollout.attention_mask) - self.mean) / self.deviation

    def of_conversations(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Score of each conversation, given as token ids `(len(rows),)`."""
        scores = []
        for start in range(0, len(rows), _BATCH):
            ids, mask = right_padded(rows[start : start + _BATCH], self.pad)
            scores.append((self._raw(ids, mask) - self.mean) / self.deviation)
        return torch.cat(scores)

    def calibrate(self, rollout: Rollout) -> None:
        """Makes the scores of these replies have mean 0 and standard deviation 1."""
        raw = self._raw(rollout.ids, rollout.attention_mask)
        self.mean, self.deviation = float(raw.mean()), max(1e-6, float(raw.std()))

    @torch.no_grad()
    def _raw(self, ids: Tensor, mask: Tensor) -> Tensor:
        device = next(self.model.parameters()).device
        self.model.eval()
        logits = self.model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits  # (batch, 1)
        return logits[:, 0].to(ids.device)


def right_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask `(rows, longest)`."""
    tensors = [torch.tensor(list(row)) for row in rows]
    ids = nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


def pairwise_accuracy(chosen: Tensor, rejected: Tensor) -> float:
    """Share of the pairs in which the chosen reply scores higher; a tie counts half."""
    return float(((chosen > rejected).double() + (chosen == rejected).double() / 2).mean())
