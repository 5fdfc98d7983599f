"""REINFORCE: a reply that scored better than expected becomes likelier, as a whole.

    recipe = PolicyRecipe(Recipe(steps=100, batch_size=32, learning_rate=3e-4), group=4)
    history = train_reinforce(policy, PolicyTask(reference, reward, prompts, pad, end), recipe, job, seed=0)

∇J = E[(R − b) ∇ log π(reply | prompt)] (Williams 1992). The baseline b is the mean score of the other
replies to the same prompt (`leave_one_out`). It leaves the gradient without bias and removes most of its
variance; Ahmadian et al. (2024) call this RLOO. With one reply per prompt, b is the mean over the other
prompts of the round.
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
    """Trains `policy` in place, with one update per round; the KL penalty is subtracted from the score of
    the whole reply. Returns the history.

    Args:
        policy, task, recipe, job, seed, measure: see `PolicyTraining`.

    Raises:
        UserError: the loss is not finite.
        KeyboardInterrupt: Ctrl-C came; a checkpoint is on disk.
    """
    training = PolicyTraining(policy, task, recipe, job, seed, measure=measure)
    with training.loop as loop:
        while loop.step < loop.steps:
            experience = training.draw_replies()
            rewards = experience.scores - training.beta * experience.kl.sum(dim=1)  # (batch,)
            advantages = leave_one_out(rewards, recipe.group if recipe.group > 1 else len(rewards))
            log_probs = reply_log_probs(policy, experience.rollout).sum(dim=1)  # (batch,)
            loss = policy_gradient_loss(log_probs, advantages)
            norm = training.update(loss)
            numbers = {"grad_norm": norm, "advantage_sd": float(advantages.std())}
            training.after_round(experience, {"loss": float(loss.detach())} | numbers)
    return loop.rows


def policy_gradient_loss(log_probs: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """−mean(A log π): its gradient is that of the expected reward, with A as a constant.

    Args:
        log_probs: of each whole reply `(batch,)`.
        advantages: reward minus baseline `(batch,)`.
    """
    return -(advantages.detach() * log_probs).mean()
