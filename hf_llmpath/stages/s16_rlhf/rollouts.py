"""Replies drawn from a policy in batches, with the KV cache, and their log-probabilities under a model.

While replies are drawn, prompts are padded on the left: all replies begin at the same position. From then
on, rows begin with the prompt and are padded on the right: positions are what they were in training, for any
model.
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
    """Prompts with the replies that a policy drew.

    Attributes:
        ids: prompt, reply and padding `(batch, time)`.
        attention_mask: 0 for padding, 1 elsewhere.
        reply: 1 for the tokens of the reply, including the end token.
        finished: whether the reply has its end token `(batch,)`.
    """

    ids: Tensor
    attention_mask: Tensor
    reply: Tensor
    finished: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Tensor) -> "Rollout":
        """Some of the replies, without padding that none of them needs."""
        longest = int(self.attention_mask[index].sum(dim=1).max())
        cut = (values[index, :longest] for values in (self.ids, self.attention_mask, self.reply))
        return Rollout(*cut, self.finished[index])

    def replies(self) -> list[list[int]]:
        """Token ids of each reply."""
        return [row[mask.bool()].tolist() for row, mask in zip(self.ids, self.reply, strict=True)]


Reward = Callable[[Rollout], Tensor]  # score of each reply `(batch,)`


@torch.no_grad()
def draw(
    policy: Any,
    prompts: Sequence[Sequence[int]],
    pad: int,
    end: int,
    max_new_tokens: int,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
) -> Rollout:
    """One reply to every prompt, sampled from the policy itself unless `sampling` says otherwise.

    Args:
        policy: a causal language model.
        prompts: token ids of each prompt.
        pad, end: ids of the padding token and of the token that ends a reply.
        max_new_tokens: where a reply is cut off.
        sampling: how a token is chosen.
    """
    longest = max(map(len, prompts))
    device = next(policy.parameters()).device
    ids = torch.full((len(prompts), longest), pad, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt), device=device)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    attention_mask = (torch.arange(longest, device=device) >= (longest - lengths)[:, None]).long()
    was_training = policy.training
    policy.eval()
    limits = {"max_new_tokens": max_new_tokens, "eos_token_id": end}
    if BareStepper.fits(policy):
        whole = sample(policy, ids, attention_mask, sampling, **limits)
    else:
        options = {"do_sample": not sampling.greedy, "pad_token_id": pad, "use_cache": True}
        if not sampling.greedy:
            options |= {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p")}
        whole = policy.generate(ids, attention_mask=attention_mask, **limits, **options)
    policy.train(was_training)
    return _from_left_padded(whole, lengths, longest, pad, end)


def _from_left_padded(whole: Tensor, lengths: Tensor, longest: int, pad: int, end: int) -> Rollout:
    is_end = whole[:, longest:] == end  # (batch, new tokens)
    is_reply = (is_end.cumsum(dim=1) - is_end.long()) == 0  # up to and including the first end token
    positions = torch.arange(whole.shape[1], device=whole.device)
    # Shift every row to the left by its padding: (batch, time).
    source = (positions + (longest - lengths)[:, None]).clamp(max=whole.shape[1] - 1)
    total = lengths + is_reply.sum(dim=1)
    attention_mask = positions < total[:, None]
    ids = torch.where(attention_mask, whole.gather(1, source), pad)
    mask = attention_mask & (positions >= lengths[:, None])
    width = int(total.max())
    tensors = (ids, attention_mask.long(), mask.long())
    return Rollout(*(tensor[:, :width] for tensor in tensors), is_end.any(dim=1))


def token_log_probs(logits: Tensor, ids: Tensor) -> Tensor:
    """log P(token | those before it) for every token but the first `(batch, time - 1)`.

    Args:
        logits: `(batch, time, vocabulary)`.
        ids: `(batch, time)`.
    """
    logits = logits[:, :-1]
    chosen = logits.gather(-1, ids[:, 1:, None]).squeeze(-1)  # (batch, time - 1)
    return chosen - logits.logsumexp(dim=-1)


def reply_log_probs(model: nn.Module, rollout: Rollout) -> Tensor:
    """`token_log_probs` under `model` for a rollout, 0 outside the replies: `(batch, time - 1)`."""
    logits = model(input_ids=rollout.ids, attention_mask=rollout.attention_mask, use_cache=False).logits
    return token_log_probs(logits, rollout.ids) * rollout.reply[:, 1:]
