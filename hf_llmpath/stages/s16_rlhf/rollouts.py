"""Draws replies from a policy in batches, with the KV cache, and computes their log-probabilities.

While replies are drawn, prompts are padded on the left, which makes all replies begin at the same position.
Afterward, each row begins with its prompt and is padded on the right, which gives every model the positions
it saw in training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...decoding.bare_steps import BareStepper
from ...decoding.generation import sample
from ...decoding.sampling import Sampling


@dataclass(frozen=True)
class Rollout:
    """Holds prompts with the replies that a policy drew.

    Attributes:
        ids: the prompt, the reply, and padding, `(batch, time)`.
        attention_mask: 0 for padding and 1 elsewhere, `(batch, time)`.
        reply: 1 for the tokens of the reply, including its end token, and 0 elsewhere, `(batch, time)`.
        finished: whether each reply has its end token, `(batch,)`.
    """

    ids: Tensor
    attention_mask: Tensor
    reply: Tensor
    finished: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Tensor) -> "Rollout":
        """Selects some of the replies and drops the padding that none of them needs."""
        longest = int(self.attention_mask[index].sum(dim=1).max())
        # Three tensors of the shape (rows, longest).
        cut = (values[index, :longest] for values in (self.ids, self.attention_mask, self.reply))
        return Rollout(*cut, self.finished[index])

    def replies(self) -> list[list[int]]:
        """Returns the token ids of each reply, without its prompt or padding."""
        return [row[mask.bool()].tolist() for row, mask in zip(self.ids, self.reply, strict=True)]


Reward = Callable[[Rollout], Tensor]  # the score of each reply, `(batch,)`


@torch.no_grad()
def draw(
    policy: Any,
    prompts: Sequence[Sequence[int]],
    pad: int,
    end: int,
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
) -> Rollout:
    """Draws one reply to every prompt, from the policy's own distribution unless `sampling` modifies it.

    Args:
        policy: a causal language model.
        prompts: the token ids of each prompt.
        pad, end: the ids of the padding token and of the token that ends a reply.
        max_new_tokens: the length at which a reply is cut off.
        sampling: the way a token is chosen.
    """
    longest = max(map(len, prompts))
    device = next(policy.parameters()).device
    ids = torch.full((len(prompts), longest), pad, device=device)  # (batch, longest)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt), device=device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)  # (batch,)
    # (longest,) >= (batch, 1) -> (batch, longest)
    attention_mask = (torch.arange(longest, device=device) >= (longest - lengths)[:, None]).long()
    was_training = policy.training
    policy.eval()
    limits = {"max_new_tokens": max_new_tokens, "eos_token_id": end}
    # Bare steps are faster than `generate`, but they do not fit models with adapters or in 4 bits.
    if BareStepper.fits(policy):
        whole = sample(policy, ids, attention_mask, sampling, **limits)  # (batch, longest + new tokens)
    else:
        options = {"do_sample": not sampling.greedy, "pad_token_id": pad, "use_cache": True}
        if not sampling.greedy:
            options |= {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p")}
        # (batch, longest + new tokens)
        whole = policy.generate(ids, attention_mask=attention_mask, **limits, **options)
    policy.train(was_training)
    return _from_left_padded(whole, lengths, longest, pad, end)


def _from_left_padded(whole: Tensor, lengths: Tensor, longest: int, pad: int, end: int) -> Rollout:
    # The padding of each row moves from the left of its prompt to the right of its reply.
    is_end = whole[:, longest:] == end  # (batch, new tokens)
    # (batch, new tokens): true up to and including the first end token, before which no end was counted.
    is_reply = (is_end.cumsum(dim=1) - is_end.long()) == 0
    positions = torch.arange(whole.shape[1], device=whole.device)  # (time,), with time = longest + new tokens
    # (time,) + (batch, 1) -> (batch, time): the column that each token comes from when its row moves left by
    # the width of its padding. Columns beyond the end are masked below.
    source = (positions + (longest - lengths)[:, None]).clamp(max=whole.shape[1] - 1)
    total = lengths + is_reply.sum(dim=1)  # (batch,): prompt and reply, without padding
    attention_mask = positions < total[:, None]  # (batch, time)
    ids = torch.where(attention_mask, whole.gather(1, source), pad)  # (batch, time)
    mask = attention_mask & (positions >= lengths[:, None])  # (batch, time)
    width = int(total.max())  # columns beyond it are padding in every row
    tensors = (ids, attention_mask.long(), mask.long())
    # (batch, width) three times, and (batch,)
    return Rollout(*(tensor[:, :width] for tensor in tensors), is_end.any(dim=1))


def token_log_probs(logits: Tensor, ids: Tensor) -> Tensor:
    """Computes log P(token | earlier tokens) for every token but the first: `(batch, time - 1)`.

    Args:
        logits: the model's output, `(batch, time, vocabulary)`.
        ids: the token ids, `(batch, time)`.
    """
    logits = logits[:, :-1]  # (batch, time - 1, vocabulary); nothing follows the last position
    # The index is (batch, time - 1, 1); the squeeze leaves (batch, time - 1).
    chosen = logits.gather(-1, ids[:, 1:, None]).squeeze(-1)
    # log softmax(z)_k = z_k − logsumexp(z), (batch, time - 1): no second tensor as large as the logits
    return chosen - logits.logsumexp(dim=-1)


def reply_log_probs(model: nn.Module, rollout: Rollout) -> Tensor:
    """Computes `token_log_probs` of a rollout under `model`: `(batch, time - 1)`, 0 outside the replies."""
    # (batch, time, vocabulary)
    logits = model(input_ids=rollout.ids, attention_mask=rollout.attention_mask, use_cache=False).logits
    return token_log_probs(logits, rollout.ids) * rollout.reply[:, 1:]
