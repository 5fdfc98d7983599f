"""Measures how good a policy's replies are, by the world's judge (never a training signal) or a reward model.

examination = Examination(prompts, ids, tokenizer, 64, seed, judge)
replies = examination.of(model)
win_rate(replies.scores, before.scores)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ...world import judge
from .preference_data import Message
from .rollouts import Rollout, draw

# Prompts, the texts of their replies, and the rollout -> the score of each reply
Judge = Callable[[Sequence[list[Message]], Sequence[str], Rollout], list[float]]


@dataclass(frozen=True)
class Replies:
    """Holds a policy's replies to the prompts of an examination, with a score for each."""

    texts: list[str]
    scores: list[float]
    rollout: Rollout

    @property
    def score(self) -> float:
        return fmean(self.scores)


@dataclass(frozen=True)
class Examination:
    """Tests policies on held-out prompts; each prompt is answered once, by sampling at temperature 1.

    Attributes:
        prompts: the conversations to be continued.
        ids: the token ids of each prompt.
        tokenizer: the tokenizer that all policies share.
        max_new_tokens: the length at which a reply is cut off.
        seed: the seed of the sampling, the same for every policy.
        judge: the function that scores the replies.
    """

    prompts: Sequence[list[Message]]
    ids: Sequence[Sequence[int]]
    tokenizer: PreTrainedTokenizerBase
    max_new_tokens: int
    seed: int
    judge: Judge

    def of(self, policy: nn.Module) -> Replies:
        """Draws one reply of the policy to each prompt and scores the replies."""
        pad, end = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        with torch.random.fork_rng(devices=[]):  # an examination must not change what training draws next
            torch.manual_seed(self.seed)  # policies then differ by their probabilities, not by their luck
            rollout = draw(policy, self.ids, pad, end, self.max_new_tokens)
        texts = self.tokenizer.batch_decode(rollout.replies(), skip_special_tokens=True)
        return Replies(texts, self.judge(self.prompts, texts, rollout), rollout)


def world_judge(prompts: Sequence[list[Message]], texts: Sequence[str], rollout: Rollout) -> list[float]:
    """Scores replies by the world's judge, which knows the truth by construction."""
    return [judge(prompt, text).score for prompt, text in zip(prompts, texts, strict=True)]


def win_rate(scores: Sequence[float], others: Sequence[float]) -> float:
    """Returns the share of prompts on which the first policy's reply scores higher; a tie counts half."""
    pairs = list(zip(scores, others, strict=True))
    # True counts as 1 and False as 0.
    return sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs)
