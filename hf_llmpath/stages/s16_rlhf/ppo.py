"""Implements proximal policy optimization (PPO; Schulman et al. 2017) for language models.

The language-model form follows Ziegler et al. (2019) and Ouyang et al. (2022).

    recipe = PolicyRecipe(Recipe(steps=100, batch_size=32, learning_rate=3e-4))
    history = train_ppo(policy, PolicyTask(reference, reward, prompts, pad, end), recipe, job, seed=0)

A round of PPO has five parts, in the order of the code below:

1. The policy draws replies.
2. Each token gets a reward: the KL penalty and, at the last token, also the score.
3. A value head predicts the reward still to come, and generalized advantage estimation turns rewards and
   values into advantages.
4. The policy learns from the same replies several times.
5. The ratio of the new probability to the old one is clipped, which keeps each token's probability close to
   the value it had when the reply was drawn.

Three common ingredients are left out: an entropy bonus, early stopping by KL within a round, and a separate
value network.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...runs import Job
from .objectives import (
    clipped_surrogate,
    clipped_value_loss,
    generalized_advantages,
    masked_mean,
    token_rewards,
    whiten,
)
from .policy_loop import Measure, PolicyRecipe, PolicyTask, PolicyTraining
from .rollouts import Rollout, token_log_probs


@dataclass(frozen=True)
class Clipping:
    """Holds the hyperparameters that only PPO has.

    Attributes:
        epochs: the number of passes over the replies of a round.
        minibatches: the number of updates per epoch.
        ratio: the ε that clips the policy's probability ratio.
        value: the ε that clips the value head's change.
        value_weight: the weight of the value head's loss.
        gamma, lam: the discount γ and the λ of generalized advantage estimation.
    """

    epochs: int = 2
    minibatches: int = 2
    ratio: float = 0.2
    value: float = 0.5
    value_weight: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95


class ValueHead(nn.Module):
    """Predicts the reward still to come from the policy's last hidden state.

    It maps `(batch, time, hidden)` to `(batch, time)` and starts out predicting 0 everywhere.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(hidden).squeeze(-1)  # (batch, time, 1) -> (batch, time)


def train_ppo(
    policy: nn.Module,
    task: PolicyTask,
    recipe: PolicyRecipe,
    job: Job,
    seed: int,
    clipping: Clipping = Clipping(),
    measure: Measure | None = None,
) -> list[dict[str, float]]:
    """Trains `policy` in place, with a value head on the policy's hidden states, and returns the history.

    Args:
        policy, task, recipe, job, seed, measure: see `PolicyTraining`.
        clipping: the hyperparameters that only PPO has.

    Raises:
        UserError: If the loss is not finite.
        KeyboardInterrupt: If Ctrl-C was pressed; a checkpoint has been saved.
    """
    value_head = ValueHead(policy.config.hidden_size).to(next(policy.parameters()).device)
    training = PolicyTraining(policy, task, recipe, job, seed, value_head, measure)

    def evaluate(rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Returns each token's log-probability and the value of the text before it: both `(batch, time - 1)`.

        The first token has neither.
        """
        outputs = policy.base_model(
            input_ids=rollout.ids, attention_mask=rollout.attention_mask, use_cache=False
        )
        states = outputs.last_hidden_state  # (batch, time, hidden)
        logits = policy.get_output_embeddings()(states)  # (batch, time, vocabulary)
        # The state at one position gives the value of the text up to it, hence of acting at the next one.
        return token_log_probs(logits, rollout.ids), value_head(states[:, :-1])

    with training.loop as loop:
        while loop.step < loop.steps:
            # Rollout: draw replies, score them, and get their probabilities under policy and reference.
            experience = training.draw_replies()
            mask = experience.mask  # (batch, time - 1), like every per-token tensor below

            # Compute rewards and advantages per token; the updates below treat them as constants.
            with torch.no_grad():
                values = evaluate(experience.rollout)[1] * mask  # (batch, time - 1)
                # (batch, time - 1)
                rewards = token_rewards(experience.scores, experience.kl, mask, training.beta)
                advantages, targets = generalized_advantages(
                    rewards, values, mask, clipping.gamma, clipping.lam
                )
                advantages = whiten(advantages, mask)

            updates: list[dict[str, float]] = []
            for _ in range(clipping.epochs):
                for index in torch.randperm(len(mask)).chunk(clipping.minibatches):  # (minibatch,)
                    rollout = experience.rollout.rows(index)
                    width = rollout.ids.shape[1] - 1  # shorter replies lose the padding of longer ones
                    # Five tensors of the shape (minibatch, width).
                    old, old_values, advantage, target, in_reply = (
                        tensor[index, :width]
                        for tensor in (experience.log_probs, values, advantages, targets, mask)
                    )

                    # Compute the clipped losses of the policy and the value head.
                    log_probs, new_values = (tensor * in_reply for tensor in evaluate(rollout))
                    policy_loss = clipped_surrogate(log_probs, old, advantage, in_reply, clipping.ratio)
                    value_loss = clipped_value_loss(new_values, old_values, target, in_reply, clipping.value)
                    loss = policy_loss + clipping.value_weight * value_loss

                    norm = training.update(loss)
                    change = ((log_probs.detach() - old).exp() - 1).abs()  # (minibatch, width)
                    is_clipped = change.gt(clipping.ratio).to(in_reply.dtype)
                    updates.append(
                        {
                            "loss": float(loss.detach()),
                            "policy_loss": float(policy_loss.detach()),
                            "value_loss": float(value_loss.detach()),
                            "clipped": float(masked_mean(is_clipped, in_reply)),
                            "grad_norm": norm,
                        }
                    )

            means = {name: sum(update[name] for update in updates) / len(updates) for name in updates[0]}
            # Explained variance: 1 minus the value head's squared error over the variance of its targets.
            spread = masked_mean((targets - masked_mean(targets, mask)).square(), mask)
            unexplained = masked_mean((targets - values).square(), mask)
            means["explained_variance"] = float(1 - unexplained / spread.clamp(min=1e-8))
            training.after_round(experience, means)
    return loop.rows
