"""Losses and advantages against loops that spell the formula out, against known values, and against TRL."""

import math

import pytest
import torch
from torch.nn import functional

from hf_llmpath.stages.s16_rlhf.objectives import (
    AdaptiveKL,
    bradley_terry_loss,
    clipped_surrogate,
    clipped_value_loss,
    discounted_returns,
    dpo_loss,
    generalized_advantages,
    kl_estimate,
    leave_one_out,
    token_rewards,
    whiten,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def replies(batch: int = 5, time: int = 9) -> torch.Tensor:
    """Masks of replies that begin and end in different places."""
    places = torch.arange(time)
    starts, ends = torch.tensor([0, 2, 1, 3, 4]), torch.tensor([9, 6, 2, 9, 5])
    return ((places >= starts[:batch, None]) & (places < ends[:batch, None])).double()


@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.9, 0.5), (0.99, 1.0), (1.0, 0.0)])
def test_advantages_equal_a_loop_over_the_sum_of_the_paper(gamma, lam):
    mask, rewards, values = replies(), random(5, 9), random(5, 9, seed=1)
    found, targets = generalized_advantages(rewards * mask, values, mask, gamma, lam)
    for row in range(len(mask)):
        places = mask[row].nonzero()[:, 0].tolist()
        for first in range(len(places)):
            total = 0.0
            for k, t in enumerate(places[first:]):
                after = float(values[row, t + 1]) if t != places[-1] else 0.0
                total += (gamma * lam) ** k * (float(rewards[row, t]) + gamma * after - float(values[row, t]))
            t = places[first]
            assert float(found[row, t]) == pytest.approx(total, abs=1e-12)
            assert float(targets[row, t]) == pytest.approx(total + float(values[row, t]), abs=1e-12)
    assert not found[mask == 0].any() and not targets[mask == 0].any()


def test_advantages_with_lambda_one_are_returns_minus_values():
    mask, rewards, values = replies(), random(5, 9), random(5, 9, seed=1)
    found, targets = generalized_advantages(rewards * mask, values, mask, gamma=0.97, lam=1.0)
    returns = discounted_returns(rewards, mask, gamma=0.97)
    torch.testing.assert_close(found, (returns - values) * mask)
    torch.testing.assert_close(targets, returns)


def test_returns_equal_a_loop():
    mask, rewards = replies(), random(5, 9)
    found = discounted_returns(rewards, mask, gamma=0.9)
    for row in range(len(mask)):
        places = mask[row].nonzero()[:, 0].tolist()
        for first, t in enumerate(places):
            expected = sum(0.9**k * float(rewards[row, later]) for k, later in enumerate(places[first:]))
            assert float(found[row, t]) == pytest.approx(expected, abs=1e-12)


def test_the_score_comes_with_the_last_token_of_the_reply():
    mask = replies()
    scores, kl = random(5), random(5, 9, seed=2)
    found = token_rewards(scores, kl, mask, beta=0.3)
    for row in range(len(mask)):
        places = mask[row].nonzero()[:, 0].tolist()
        for t in range(mask.shape[1]):
            expected = -0.3 * float(kl[row, t]) if t in places else 0.0
            expected += float(scores[row]) if t == places[-1] else 0.0
            assert float(found[row, t]) == pytest.approx(expected)
    assert not token_rewards(scores, kl, torch.zeros_like(mask), beta=0.3).any()


def test_the_kl_penalty_of_a_reply_adds_up():
    mask, kl, scores = replies(), random(5, 9), random(5, seed=3)
    total = token_rewards(scores, kl, mask, beta=0.1).sum(dim=1)
    torch.testing.assert_close(total, scores - 0.1 * (kl * mask).sum(dim=1))


def test_leave_one_out_equals_a_loop_and_has_no_bias():
    scores = random(12)
    found = leave_one_out(scores, 4)
    for place in range(12):
        others = [float(scores[i]) for i in range(place // 4 * 4, place // 4 * 4 + 4) if i != place]
        assert float(found[place]) == pytest.approx(float(scores[place]) - sum(others) / 3)
    torch.testing.assert_close(
        found.view(3, 4).sum(dim=1), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("count, group", [(6, 1), (7, 2), (5, 3)])
def test_scores_that_make_no_groups_are_refused(count, group):
    with pytest.raises(ValueError, match=f"{count} scores cannot be groups of {group}"):
        leave_one_out(torch.zeros(count), group)


@pytest.mark.parametrize("kind, tolerance", [("k1", 0.02), ("k3", 0.02)])
def test_estimates_of_the_divergence_come_to_the_exact_one(kind, tolerance):
    policy, reference = random(8).log_softmax(-1), (0.7 * random(8) + 0.3 * random(8, seed=1)).log_softmax(-1)
    exact = float((policy.exp() * (policy - reference)).sum())
    drawn = torch.multinomial(
        policy.exp(), 200_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    estimates = kl_estimate(policy[drawn], reference[drawn], kind)
    assert float(estimates.mean()) == pytest.approx(exact, abs=tolerance * max(1.0, exact))
    if kind == "k3":
        assert (estimates >= 0).all()


def test_k3_varies_less_than_k1_near_the_reference_and_an_unknown_one_is_refused():
    policy = random(50)
    reference = policy + 0.05 * random(50, seed=1)
    both = [kl_estimate(policy, reference, kind).std() for kind in ("k1", "k3")]
    assert both[1] < 0.2 * both[0]
    torch.testing.assert_close(kl_estimate(policy, reference, "k2"), (policy - reference).square() / 2)
    with pytest.raises(ValueError, match="there are k1, k2 and k3"):
        kl_estimate(policy, reference, "k4")


def test_whitened_values_have_mean_zero_and_variance_one():
    mask, values = replies(), 3 + 5 * random(5, 9)
    found = whiten(values, mask)[mask.bool()]
    assert float(found.mean()) == pytest.approx(0, abs=1e-9)
    assert float(found.var(unbiased=False)) == pytest.approx(1, abs=1e-6)
    assert not whiten(values, mask)[mask == 0].any()


def test_clipping_stops_the_gradient_where_it_would_lead_too_far():
    old = torch.zeros(1, 4, dtype=torch.float64)
    ratio = torch.tensor([[1.5, 0.5, 1.5, 0.5]], dtype=torch.float64)
    advantages = torch.tensor([[1.0, -1.0, -1.0, 1.0]], dtype=torch.float64)
    log_probs = ratio.log().requires_grad_()
    loss = clipped_surrogate(log_probs, old, advantages, torch.ones(1, 4), clip=0.2)
    expected = -(1.2 * 1 + 0.8 * -1 + 1.5 * -1 + 0.5 * 1) / 4
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    # Too far already in the wanted direction: none. In the other: the gradient of the ratio.
    torch.testing.assert_close(log_probs.grad, torch.tensor([[0, 0, 1.5 / 4, -0.5 / 4]], dtype=torch.float64))


def test_at_ratio_one_the_gradient_is_that_of_the_policy_gradient():
    mask, advantages = replies(), random(5, 9)
    log_probs = random(5, 9, seed=1).requires_grad_()
    clipped_surrogate(log_probs, log_probs.detach(), advantages, mask, clip=0.2).backward()
    torch.testing.assert_close(log_probs.grad, -advantages * mask / mask.sum())


def test_the_value_loss_equals_a_loop():
    mask, values, old, targets = replies(), random(5, 9), random(5, 9, seed=1), random(5, 9, seed=2)
    total = 0.0
    for row, t in mask.nonzero().tolist():
        v, o, g = (float(part[row, t]) for part in (values, old, targets))
        near = o + max(-0.2, min(0.2, v - o))
        total += max((v - g) ** 2, (near - g) ** 2)
    assert float(clipped_value_loss(values, old, targets, mask, 0.2)) == pytest.approx(
        total / 2 / float(mask.sum())
    )


def test_the_bradley_terry_loss_and_its_gradient_are_the_formula():
    chosen, rejected = random(7).requires_grad_(), random(7, seed=1).requires_grad_()
    loss = bradley_terry_loss(chosen, rejected)
    pairs = zip(chosen.tolist(), rejected.tolist(), strict=True)
    assert loss.item() == pytest.approx(sum(math.log1p(math.exp(r - c)) for c, r in pairs) / 7)
    loss.backward()
    torch.testing.assert_close(chosen.grad, -torch.sigmoid(rejected - chosen).detach() / 7)
    torch.testing.assert_close(rejected.grad, -chosen.grad)
    apart = bradley_terry_loss(chosen, rejected, margin=torch.full((7,), 0.5, dtype=torch.float64))
    assert apart > loss


def test_dpo_is_bradley_terry_with_log_ratios_as_rewards():
    parts = [random(6, seed=seed) for seed in range(4)]
    found = dpo_loss(*parts, beta=0.3)
    logits = 0.3 * ((parts[0] - parts[2]) - (parts[1] - parts[3]))
    torch.testing.assert_close(
        found, functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    )


def test_the_controller_brings_the_divergence_to_its_target():
    """A policy whose divergence falls as β rises: KL = 2 / β."""
    controller = AdaptiveKL(0.05, target=5.0, horizon=500)
    for _ in range(200):
        controller.update(2 / controller.beta, replies=32)
    assert controller.beta == pytest.approx(0.4, rel=0.02)
    assert AdaptiveKL(0.05).update(100.0, 32) == 0.05
    assert AdaptiveKL(0.1, target=1.0, horizon=100).update(50.0, 10) == pytest.approx(0.1 * (1 + 0.2 * 0.1))
