"""What alignment minimizes, as small pure functions on tensors: losses, advantages, divergences.

Shapes: `(batch, time)` per token, `(batch,)` per reply. `mask` is 1 where a token belongs to the reply that
is learned from, and 0 for the prompt and the padding.
"""

import torch
from torch import Tensor
from torch.nn import functional


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, margin: Tensor | None = None) -> Tensor:
    """−log σ(r(chosen) − r(rejected) − margin), mean over the pairs.

    The model of Bradley and Terry (1952): the chance that one reply is preferred to the other is the
    sigmoid of the difference of their rewards. Loss of the reward model in Ouyang et al. (2022), equation
    1; the margin is that of Touvron et al. (2023), section 3.2.2.

    Args:
        chosen, rejected: rewards `(pairs,)`.
        margin: how far apart a pair should be `(pairs,)`.
    """
    difference = chosen - rejected if margin is None else chosen - rejected - margin
    return -functional.logsigmoid(difference).mean()


def dpo_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Tensor:
    """Direct preference optimization (Rafailov et al. 2023, equation 7): Bradley-Terry with β
    log(π/π_ref) as the reward.

    Args:
        chosen, rejected: log-probability of each whole reply under the policy `(pairs,)`.
        reference_chosen, reference_rejected: the same under the frozen reference.
        beta: how much the policy is held to the reference.
    """
    return bradley_terry_loss(beta * (chosen - reference_chosen), beta * (rejected - reference_rejected))


def kl_estimate(log_probs: Tensor, reference: Tensor, kind: str = "k1") -> Tensor:
    """Per token, an estimate of KL(policy ‖ reference) from tokens that the policy drew.

    With log r = log π_ref − log π (Schulman 2020, "Approximating KL divergence"):

    - `k1`: −log r; without bias, may be negative.
    - `k2`: (log r)² / 2; with bias, little variance.
    - `k3`: (r − 1) − log r; without bias, never negative.

    Args:
        log_probs, reference: log-probabilities of the drawn tokens, of any shape.
    """
    log_ratio = reference - log_probs
    if kind == "k1":
        return -log_ratio
    if kind == "k2":
        return log_ratio.square() / 2
    if kind == "k3":
        return log_ratio.exp() - 1 - log_ratio
    raise ValueError(f"unknown estimate '{kind}'; there are k1, k2 and k3")


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Reward of every token `(batch, time)`: −β KL, and at the last token of the reply the score of the
    whole.

    Ziegler et al. (2019), equation 2; a reply without a token has no reward.
    """
    rewards = -beta * kl * mask
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    last = (positions * mask).argmax(dim=1)
    there = mask.any(dim=1).to(scores.dtype)
    return rewards.scatter_add(1, last[:, None], (scores * there)[:, None])


def discounted_returns(rewards: Tensor, mask: Tensor, gamma: float = 1.0) -> Tensor:
    """What is still to come after every token: G_t = r_t + γ G_{t+1} `(batch, time)`; 0 outside the mask."""
    returns = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = (rewards[:, t] + gamma * following) * mask[:, t]
        returns[:, t] = following
    return returns


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation (Schulman et al. 2015, equation 16).

    δ_t = r_t + γ V_{t+1} − V_t and A_t = δ_t + γλ A_{t+1}; V is 0 behind the last token of a reply. λ = 1
    is return minus value, λ = 0 the one-step error.

    Args:
        rewards: reward of each token `(batch, time)`.
        values: what the value head expected before each token `(batch, time)`; read as constants.
        mask: the reply's tokens, one contiguous run in each row.

    Returns:
        Advantages, and A + V as targets of the value head, both `(batch, time)` and 0 outside the mask.
    """
    values = values.detach() * mask
    advantages = torch.zeros_like(values)
    advantage = next_value = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = (delta + gamma * lam * advantage) * mask[:, t]
        next_value = values[:, t]
        advantages[:, t] = advantage
    return advantages, advantages + values


def leave_one_out(scores: Tensor, group: int) -> Tensor:
    """Each reply's score minus the mean of the others to the same prompt (Kool et al. 2019; Ahmadian et
    al. 2024, RLOO).

    Args:
        scores: `(prompts * group,)`, the replies to a prompt side by side.
        group: replies per prompt, at least 2.
    """
    if group < 2 or len(scores) % group:
        raise ValueError(f"{len(scores)} scores cannot be groups of {group}; a group has at least 2")
    grouped = scores.view(-1, group)
    others = (grouped.sum(dim=1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).reshape(-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens where `mask` is 1."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the tokens of the mask; 0 outside it."""
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean).square(), mask)
    return (values - mean) * (variance + 1e-8).rsqrt() * mask


def clipped_surrogate(
    log_probs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> Tensor:
    """PPO's loss of the policy (Schulman et al. 2017, equation 7): −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A),
    mean over tokens.

    ρ is the ratio of the token's probability to that under the policy which drew it. Where moving on
    would pay no more than the clipped ratio does, the gradient is zero.

    Args:
        log_probs, old: log-probabilities now and when the tokens were drawn `(batch, time)`.
        advantages: `(batch, time)`.
        clip: ε.
    """
    ratio = (log_probs - old).exp()
    surrogate = torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -masked_mean(surrogate, mask)


def clipped_value_loss(values: Tensor, old: Tensor, targets: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Half the squared error of the value head, the larger of that of V and of V kept within ε of what it
    was.

    As in the implementation of Schulman et al. (2017).
    """
    near = old + (values - old).clamp(-clip, clip)
    error = torch.max((values - targets).square(), (near - targets).square())
    return masked_mean(error, mask) / 2


class AdaptiveKL:
    """The weight β of the KL penalty, steered so that the divergence comes to a target (Ziegler et al.
    2019, section 2.2).

    e = clip(KL / target − 1, ±0.2); β ← β (1 + e · replies / horizon). With no target, β stays.

    Args:
        beta: the first weight.
        target: wanted KL of a reply, in nats.
        horizon: replies over which β reacts.
    """

    def __init__(self, beta: float, target: float | None = None, horizon: int = 1000):
        self.beta, self.target, self.horizon = beta, target, horizon

    def update(self, kl: float, replies: int) -> float:
        """After a step whose `replies` diverged by `kl` on average; returns the new β."""
        if self.target is not None:
            error = max(-0.2, min(0.2, kl / self.target - 1))
            self.beta *= 1 + error * replies / self.horizon
        return self.beta


__all__ = [
    "AdaptiveKL",
    "bradley_terry_loss",
    "clipped_surrogate",
    "clipped_value_loss",
    "discounted_returns",
    "dpo_loss",
    "generalized_advantages",
    "kl_estimate",
    "leave_one_out",
    "masked_mean",
    "token_rewards",
    "whiten",
]
