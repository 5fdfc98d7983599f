"""Implements REINFORCE, which makes a whole reply likelier if it scored better than expected.

    recipe = PolicyRecipe(Recipe(steps=100, batch_size=32, learning_rate=3e-4), group=4)
    history = train_reinforce(policy, PolicyTask(reference, reward, prompts, pad, end), recipe, job, seed=0)

The gradient is ∇J = E[(R − b) ∇ log π(reply | prompt)] (Williams 1992). The baseline b is the mean score of
the other replies to the same prompt (`leave_one_out`). It keeps the gradient unbiased and removes most of
its variance; Ahmadian et al. (2024) call this method RLOO. With one reply per prompt, b is the mean over the
other prompts of the round.
"""

import torch
from torch import nn

from ...runs import Job
from .objectives import leave_one_out
from .policy_loop import Measure, PolicyRecipe, PolicyTask, PolicyTraining
from .rollouts import reply_log_probs


def train_reinforce(
    policy: nn.Module,
    task: PolicyTask,
    recipe: PolicyRecipe,
    job: Job,
    seed: int,
    measure: Measure | None = None,
) -> list[dict[str, float]]:
    """Trains `policy` in place, with one update per round, and returns the history.

    The reward of a reply is its score minus β times its KL divergence from the reference.

    Args:
        policy, task, recipe, job, seed, measure: see `PolicyTraining`.

    Raises:
        UserError: If the loss is not finite.
        KeyboardInterrupt: If Ctrl-C was pressed; a checkpoint has been saved.
    """
    training = PolicyTraining(policy, task, recipe, job, seed, measure=measure)
    with training.loop as loop:
        while loop.step < loop.steps:
            experience = training.draw_replies()
            # R = score − β Σ_t (log π − log π_ref): (batch, time - 1) -> (batch,)
            rewards = experience.scores - training.beta * experience.kl.sum(dim=1)
            # R − b, (batch,); with one reply per prompt, the whole round serves as one group.
            advantages = leave_one_out(rewards, recipe.group if recipe.group > 1 else len(rewards))
            # log π(reply) = Σ_t log π(token_t), this time with gradients: (batch, time - 1) -> (batch,)
            log_probs = reply_log_probs(policy, experience.rollout).sum(dim=1)
            loss = policy_gradient_loss(log_probs, advantages)
            norm = training.update(loss)
            numbers = {"grad_norm": norm, "advantage_sd": float(advantages.std())}
            training.after_round(experience, {"loss": float(loss.detach())} | numbers)
    return loop.rows


def policy_gradient_loss(log_probs: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """Computes −mean(A log π), whose descent direction raises the expected reward; A is held constant.

    Args:
        log_probs: the log-probability of each whole reply, `(batch,)`.
        advantages: the reward minus the baseline, `(batch,)`.
    """
    return -(advantages.detach() * log_probs).mean()
