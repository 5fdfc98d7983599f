"""Computes what alignment optimizes, as small pure functions on tensors: losses, advantages, divergences.

Tensors per token have the shape `(batch, time)`, and tensors per reply `(batch,)`. `mask` is 1 where a token
belongs to the reply that the policy learns from, and 0 for the prompt and the padding.
"""

import torch
from torch import Tensor
from torch.nn import functional


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, margin: Tensor | None = None) -> Tensor:
    """Computes −log σ(r(chosen) − r(rejected) − margin), averaged over the pairs.

    In the model of Bradley and Terry (1952), the probability that one reply is preferred to another is the
    sigmoid of the difference between their rewards. Ouyang et al. (2022), equation 1, train a reward model
    with this loss; Touvron et al. (2023), section 3.2.2, add the margin.

    Args:
        chosen, rejected: the rewards of the two replies, `(pairs,)` each.
        margin: the difference in reward that each pair should exceed, `(pairs,)`; 0 if None.
    """
    difference = chosen - rejected if margin is None else chosen - rejected - margin
    # (pairs,) -> a scalar; `logsigmoid` stays finite where the sigmoid rounds to 0.
    return -functional.logsigmoid(difference).mean()


def dpo_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Tensor:
    """Computes the loss of direct preference optimization (Rafailov et al. 2023, equation 7).

    It is the Bradley-Terry loss with β log(π / π_ref) as the reward of a reply.

    Args:
        chosen, rejected: the log-probability of each whole reply under the policy, `(pairs,)` each.
        reference_chosen, reference_rejected: the same under the frozen reference, `(pairs,)` each.
        beta: how strongly the policy is held to the reference.
    """
    # r = β (log π(reply | prompt) − log π_ref(reply | prompt))
    return bradley_terry_loss(beta * (chosen - reference_chosen), beta * (rejected - reference_rejected))


def kl_estimate(log_probs: Tensor, reference: Tensor, kind: str = "k1") -> Tensor:
    """Estimates KL(policy ‖ reference) for each token from tokens that the policy drew.

    With log r = log π_ref − log π (Schulman 2020, "Approximating KL divergence"):

    - `k1`: −log r; unbiased, but may be negative.
    - `k2`: (log r)² / 2; biased, with a low variance.
    - `k3`: (r − 1) − log r; unbiased and never negative.

    Args:
        log_probs, reference: the log-probabilities of the drawn tokens under the policy and the reference, of
            any shape.
        kind: `"k1"`, `"k2"`, or `"k3"`.

    Returns:
        The estimates, of the same shape.

    Raises:
        ValueError: If there is no such kind.
    """
    log_ratio = reference - log_probs  # log r
    if kind == "k1":
        return -log_ratio
    if kind == "k2":
        return log_ratio.square() / 2
    if kind == "k3":
        return log_ratio.exp() - 1 - log_ratio
    raise ValueError(f"unknown estimate '{kind}'; there are k1, k2 and k3")


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Computes the reward of every token: −β KL, plus the score of the whole reply at its last token.

    Source: Ziegler et al. (2019), equation 2. A reply without tokens gets no reward.

    Args:
        scores: the score of each reply, `(batch,)`.
        kl: the log-ratio of policy to reference for each token, `(batch, time)`.
        mask: 1 for the tokens of the reply, `(batch, time)`.
        beta: the weight β of the KL penalty.

    Returns:
        The rewards, `(batch, time)`; 0 outside the mask.
    """
    rewards = -beta * kl * mask  # r_t = −β (log π − log π_ref), (batch, time)
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)  # (time,); from 1, since 0 is "masked"
    last = (positions * mask).argmax(dim=1)  # (batch, time) -> (batch,): the column of the last token
    there = mask.any(dim=1).to(scores.dtype)  # (batch,); 0 for a reply without tokens
    # Index and source are (batch, 1); the scores are added to the KL penalty of the last tokens.
    return rewards.scatter_add(1, last[:, None], (scores * there)[:, None])


def discounted_returns(rewards: Tensor, mask: Tensor, gamma: float = 1.0) -> Tensor:
    """Computes the return of every token, G_t = r_t + γ G_{t+1}: `(batch, time)`, 0 outside the mask."""
    returns = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])  # G_{t+1}, (batch,); nothing follows the last token
    for t in reversed(range(rewards.shape[1])):
        following = (rewards[:, t] + gamma * following) * mask[:, t]
        returns[:, t] = following
    return returns


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Computes advantages by generalized advantage estimation (Schulman et al. 2015, equation 16).

    δ_t = r_t + γ V_{t+1} − V_t and A_t = δ_t + γλ A_{t+1}, where V is 0 after the last token of a reply. With
    λ = 1, the advantage is the return minus the value; with λ = 0, it is the one-step error δ_t.

    Args:
        rewards: the reward of each token, `(batch, time)`.
        values: the value head's prediction before each token, `(batch, time)`; treated as constants.
        mask: 1 for the tokens of the reply, which form one contiguous run in each row, `(batch, time)`.
        gamma, lam: the discount γ, and λ.

    Returns:
        The advantages A, and A + V as the targets of the value head; both are `(batch, time)` and 0 outside
        the mask.
    """
    # Without `detach`, the policy's loss would also train the value head through the advantages.
    values = values.detach() * mask  # (batch, time)
    advantages = torch.zeros_like(values)
    advantage = next_value = torch.zeros_like(values[:, 0])  # A_{t+1} and V_{t+1}, (batch,) each
    for t in reversed(range(values.shape[1])):  # backward in time, because A_t needs A_{t+1}
        delta = rewards[:, t] + gamma * next_value - values[:, t]  # δ_t = r_t + γ V_{t+1} − V_t
        advantage = (delta + gamma * lam * advantage) * mask[:, t]  # A_t = δ_t + γλ A_{t+1}
        next_value = values[:, t]
        advantages[:, t] = advantage
    return advantages, advantages + values


def leave_one_out(scores: Tensor, group: int) -> Tensor:
    """Subtracts from each score the mean score of the other replies to the same prompt.

    Sources: Kool et al. 2019; Ahmadian et al. 2024 (RLOO).

    Args:
        scores: the score of each reply, `(prompts * group,)`; replies to the same prompt are adjacent.
        group: the number of replies per prompt, at least 2.

    Returns:
        The differences, `(prompts * group,)`.

    Raises:
        ValueError: If the group is too small or the scores do not form whole groups.
    """
    if group < 2 or len(scores) % group:
        raise ValueError(f"{len(scores)} scores cannot be groups of {group}; a group has at least 2")
    grouped = scores.view(-1, group)  # (prompts * group,) -> (prompts, group)
    # (prompts, 1) - (prompts, group) -> (prompts, group): the mean of the group without the reply itself
    others = (grouped.sum(dim=1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).reshape(-1)  # (prompts, group) -> (prompts * group,)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Computes the mean over all tokens where `mask` is 1, a scalar; 0 if there are none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)  # `clamp` avoids 0 / 0


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shifts and scales values to mean 0 and variance 1 over the tokens of the mask; 0 outside it."""
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean).square(), mask)
    return (values - mean) * (variance + 1e-8).rsqrt() * mask  # 1e-8: the variance may be 0


def clipped_surrogate(
    log_probs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float
) -> Tensor:
    """Computes PPO's policy loss, −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), averaged over the tokens.

    Source: Schulman et al. 2017, equation 7. ρ is the probability of a token divided by its probability under
    the policy that drew it. If ρ has left the interval in the direction that A favors, the gradient is zero.

    Args:
        log_probs, old: the log-probabilities now and when the tokens were drawn, `(batch, time)` each.
        advantages: the advantages A, `(batch, time)`.
        mask: 1 for the tokens of the reply, `(batch, time)`.
        clip: the ε that bounds the ratio.
    """
    ratio = (log_probs - old).exp()  # ρ = π(token) / π_old(token), (batch, time)
    # The minimum clips only where ρ has gone too far; a change for the worse keeps its whole penalty.
    surrogate = torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -masked_mean(surrogate, mask)


def clipped_value_loss(values: Tensor, old: Tensor, targets: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Computes half the squared error of the value head, averaged over the tokens.

    For each token, the larger of two errors counts: the error of V, and the error of V clipped to within ε of
    its old prediction. The implementation of Schulman et al. (2017) does the same.

    Args:
        values, old: the predictions V now and when the replies were drawn, `(batch, time)` each.
        targets: the targets of the value head, `(batch, time)`.
        mask: 1 for the tokens of the reply, `(batch, time)`.
        clip: the ε that bounds the change.
    """
    near = old + (values - old).clamp(-clip, clip)  # V_old + clip(V − V_old, −ε, ε), (batch, time)
    error = torch.max((values - targets).square(), (near - targets).square())
    return masked_mean(error, mask) / 2


class AdaptiveKL:
    """Adjusts the weight β of the KL penalty to keep the divergence near a target.

    e = clip(KL / target − 1, ±0.2); β ← β (1 + e · replies / horizon). Without a target, β stays constant.
    Source: Ziegler et al. 2019, section 2.2.

    Args:
        beta: the initial weight.
        target: the KL divergence per reply to aim for, in nats.
        horizon: the number of replies over which β reacts.
    """

    def __init__(self, beta: float, target: float | None = None, horizon: int = 1000):
        self.beta, self.target, self.horizon = beta, target, horizon

    def update(self, kl: float, replies: int) -> float:
        """Adjusts β after a step of `replies` replies that diverged by `kl` on average; returns the new β."""
        if self.target is not None:
            # Clipping the error keeps one unusual step from changing β by much.
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
