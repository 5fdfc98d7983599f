"""Proximal policy optimization (Schulman et al. 2017), as Ziegler et al. (2019) and Ouyang et al. (2022)
use it for language.

    training = PPO(policy, reference, reward, prompts, PolicyRecipe(steps=100, prompts=32), pad, end, seed)
    history = training.run()

A round's replies are learned from several times. Each token has a reward of its own (the KL penalty; at
the end, the score), a value head says how much is still to come, and generalized advantage estimation
turns the two into the token's advantage. The ratio of the new probability to the old one is clipped, so
that no token is pushed further than the round can vouch for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .objectives import (
    clipped_surrogate,
    clipped_value_loss,
    generalized_advantages,
    masked_mean,
    token_rewards,
    whiten,
)
from .policy_loop import Experience, PolicyRecipe, PolicyTraining
from .rollouts import Reward, Rollout, token_log_probs


@dataclass(frozen=True)
class Clipping:
    """PPO's own choices.

    Attributes:
        epochs: how often a round's replies are learned from.
        minibatches: updates per epoch.
        ratio: ε of the policy's ratio.
        value: ε of the value head.
        value_weight: weight of the value head's loss.
        gamma, lam: discount, and λ of the advantages.
    """

    epochs: int = 2
    minibatches: int = 2
    ratio: float = 0.2
    value: float = 0.5
    value_weight: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95


class ValueHead(nn.Module):
    """How much reward is still to come, from the policy's last hidden state: `(batch, time, hidden)` ->
    `(batch, time)`.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(hidden).squeeze(-1)


class PPO(PolicyTraining):
    """PPO with a value head on the policy's own hidden states."""

    def __init__(
        self,
        policy: nn.Module,
        reference: nn.Module,
        reward: Reward,
        prompts: Sequence[Sequence[int]],
        recipe: PolicyRecipe,
        pad: int,
        end: int,
        seed: int,
        clipping: Clipping | None = None,
    ):
        self.clipping = clipping or Clipping()
        self.value_head = ValueHead(policy.config.hidden_size).to(next(policy.parameters()).device)
        super().__init__(policy, reference, reward, prompts, recipe, pad, end, seed)

    @property
    def modules(self) -> list[nn.Module]:
        return [self.policy, self.value_head]

    def look(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Log-probability of each token from the second on, and the value before it: both `(batch, time -
        1)`.
        """
        read = self.policy.base_model(
            input_ids=rollout.ids, attention_mask=rollout.attention_mask, use_cache=False
        )
        states = read.last_hidden_state  # (batch, time, hidden)
        logits = self.policy.get_output_embeddings()(states)
        return token_log_probs(logits, rollout.ids), self.value_head(states[:, :-1])

    def learn(self, experience: Experience) -> dict[str, float]:
        choices, mask = self.clipping, experience.mask
        with torch.no_grad():
            _, values = self.look(experience.rollout)
            values = values * mask
            rewards = token_rewards(experience.scores, experience.kl, mask, self.controller.beta)
            advantages, targets = generalized_advantages(rewards, values, mask, choices.gamma, choices.lam)
            advantages = whiten(advantages, mask)
        logs: list[dict[str, float]] = []
        for _ in range(choices.epochs):
            for index in torch.randperm(len(mask)).chunk(choices.minibatches):
                logs.append(self._update_on(experience, index, values, advantages, targets))
        means = {name: sum(log[name] for log in logs) / len(logs) for name in logs[0]}
        spread = masked_mean((targets - masked_mean(targets, mask)).square(), mask)
        unexplained = masked_mean((targets - values).square(), mask)
        return means | {"explained_variance": float(1 - unexplained / spread.clamp(min=1e-8))}

    def _update_on(
        self, experience: Experience, index: Tensor, values: Tensor, advantages: Tensor, targets: Tensor
    ) -> dict[str, float]:
        choices = self.clipping
        rollout = experience.rollout.rows(index)
        width = rollout.ids.shape[1] - 1

        def of(part: Tensor) -> Tensor:
            return part[index, :width]

        mask, old = of(experience.mask), of(experience.log_probs)
        log_probs, new_values = self.look(rollout)
        log_probs, new_values = log_probs * mask, new_values * mask
        policy_loss = clipped_surrogate(log_probs, old, of(advantages), mask, choices.ratio)
        value_loss = clipped_value_loss(new_values, of(values), of(targets), mask, choices.value)
        loss = policy_loss + choices.value_weight * value_loss
        norm = self.update(loss)
        with torch.no_grad():
            clipped = masked_mean(((log_probs - old).exp() - 1).abs().gt(choices.ratio).to(mask.dtype), mask)
        found: dict[str, Any] = {"loss": loss.detach(), "policy_loss": policy_loss.detach()}
        found |= {"value_loss": value_loss.detach(), "clipped": clipped, "grad_norm": norm}
        return {name: float(value) for name, value in found.items()}
