"""REINFORCE: a reply that scored better than expected becomes likelier, as a whole.

    training = Reinforce(policy, reference, reward, prompts, PolicyRecipe(steps=100, prompts=8, group=4),
    pad, end, seed) history = training.run()

∇J = E[(R − b) ∇ log π(reply | prompt)] (Williams 1992). The baseline b is the mean score of the other
replies to the same prompt (`leave_one_out`), which leaves the gradient without bias and takes away most
of its variance; so it is what Ahmadian et al. (2024) call RLOO. With one reply per prompt, b is the mean
over the other prompts of the round.
"""

import torch

from .objectives import leave_one_out
from .policy_loop import Experience, PolicyTraining
from .rollouts import reply_log_probs


class Reinforce(PolicyTraining):
    """One update per round; the KL penalty is taken off the score of the whole reply."""

    def learn(self, experience: Experience) -> dict[str, float]:
        rewards = experience.scores - self.controller.beta * experience.kl.sum(dim=1)
        group = self.recipe.group if self.recipe.group > 1 else len(rewards)
        advantages = leave_one_out(rewards, group)
        log_probs = reply_log_probs(self.policy, experience.rollout).sum(dim=1)
        loss = policy_gradient_loss(log_probs, advantages)
        norm = self.update(loss)
        return {"loss": float(loss.detach()), "grad_norm": norm, "advantage_sd": float(advantages.std())}


def policy_gradient_loss(log_probs: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """−mean(A log π): its gradient is that of the expected reward, with A as a constant.

    Args:
        log_probs: of each whole reply `(batch,)`.
        advantages: reward minus baseline `(batch,)`.
    """
    return -(advantages.detach() * log_probs).mean()
