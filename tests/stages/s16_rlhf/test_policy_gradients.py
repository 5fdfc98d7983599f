"""REINFORCE and PPO on tasks whose optimum is known, and a stopped training that goes on as if it had not
been.
"""

import pytest
import torch

from hf_llmpath.errors import UserError
from hf_llmpath.runs import Job
from hf_llmpath.stages.s16_rlhf.policy_loop import PolicyRecipe, PolicyTraining
from hf_llmpath.stages.s16_rlhf.ppo import PPO, Clipping
from hf_llmpath.stages.s16_rlhf.reinforce import Reinforce, policy_gradient_loss
from hf_llmpath.stages.s16_rlhf.rollouts import Rollout, draw
from tests.stages.s16_rlhf.policies import END, PAD, tiny_policy
from tests.support.small import KillAt, Killed, same, weights_of

ARMS = torch.tensor([0.0, 0.2, 1.0, -0.5, 0.6, 0.1])  # reward of each token
METHODS = [pytest.param(Reinforce, id="reinforce"), pytest.param(PPO, id="ppo")]


def pull(rollout: Rollout) -> torch.Tensor:
    """A bandit: the reward of the one token that was drawn."""
    return ARMS[torch.tensor([reply[0] for reply in rollout.replies()])]


def count_threes(rollout: Rollout) -> torch.Tensor:
    return torch.tensor([float(reply.count(3)) for reply in rollout.replies()])


def train(
    method: type[PolicyTraining], reward, recipe: PolicyRecipe, vocab_size: int, seed: int = 0, **kwargs
):
    policy, reference = tiny_policy(vocab_size), tiny_policy(vocab_size)
    training = method(policy, reference, reward, [[2], [4]], recipe, PAD, END, seed)
    return policy, training.run(**kwargs)


def chances(policy, prompt: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return policy(torch.tensor([prompt])).logits[0, -1].softmax(-1)


BANDIT = PolicyRecipe(
    steps=200, prompts=64, group=2, learning_rate=4e-3, beta=0.5, max_new_tokens=1, unfinished_penalty=0.0
)


@pytest.mark.parametrize("method", METHODS)
def test_a_bandit_comes_to_the_optimum_of_reward_and_penalty(method):
    """The optimum of E[r] − β KL is known: π*(a) ∝ π_ref(a) exp(r(a) / β)."""
    policy, history = train(method, pull, BANDIT, len(ARMS))
    best = 0.0
    for prompt in ([2], [4]):
        optimum = (chances(tiny_policy(len(ARMS)), prompt).log() + ARMS / BANDIT.beta).softmax(-1)
        assert (chances(policy, prompt) - optimum).abs().max() < 0.04
        best += float((optimum * ARMS).sum()) / 2
    last = sum(entry["reward"] for entry in history[-30:]) / 30
    assert last == pytest.approx(best, abs=0.08)
    assert history[0]["reward"] < best - 0.2


@pytest.mark.parametrize("method", METHODS)
def test_without_a_penalty_the_best_arm_is_all_that_is_left(method):
    recipe = PolicyRecipe(
        steps=120, prompts=32, group=2, learning_rate=1e-2, beta=0.0, max_new_tokens=1, unfinished_penalty=0.0
    )
    policy, _ = train(method, pull, recipe, len(ARMS))
    assert chances(policy, [2])[2] > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_token_task_comes_to_the_best_sequence(method):
    """Six tokens, a point for each 3: the best reply is all threes, which also means never to end early."""
    recipe = PolicyRecipe(
        steps=120, prompts=32, group=2, learning_rate=1e-2, beta=0.0, max_new_tokens=6, unfinished_penalty=0.0
    )
    _, history = train(method, count_threes, recipe, 7)
    assert history[0]["reward"] < 1.5
    assert sum(entry["reward"] for entry in history[-10:]) / 10 > 5.5


def test_without_a_penalty_a_wrong_reward_is_followed_to_its_end():
    """What is wanted: replies of threes and fives in turn. The reward sees the threes only."""
    wanted = lambda replies: sum(min(r.count(3), r.count(5)) for r in replies) / len(replies)  # noqa: E731
    found = {}
    for beta in (0.0, 4.0):
        recipe = PolicyRecipe(
            steps=100,
            prompts=32,
            group=2,
            learning_rate=1e-2,
            beta=beta,
            max_new_tokens=6,
            unfinished_penalty=0.0,
        )
        policy, history = train(Reinforce, count_threes, recipe, 7)
        torch.manual_seed(1)
        found[beta] = history[-1]["reward"], wanted(draw(policy, [[2]] * 300, PAD, END, 6).replies())
    assert found[0.0][0] > found[4.0][0] + 2  # far more reward
    assert found[0.0][1] < 0.5 * found[4.0][1]  # and less of what it stood for


def test_the_gradient_of_reinforce_is_that_of_the_expected_reward():
    """All arms drawn as often as they are likely: the estimate is exact."""
    logits = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    rewards = ARMS.double()
    expected = (logits.softmax(-1) * rewards).sum()
    (exact,) = torch.autograd.grad(expected, logits)
    log_probs, weights = logits.log_softmax(-1), logits.softmax(-1).detach() * 6
    for baseline in (0.0, 0.7):
        (found,) = torch.autograd.grad(
            policy_gradient_loss(log_probs, weights * (rewards - baseline)), logits, retain_graph=True
        )
        torch.testing.assert_close(-found, exact)


def test_the_first_update_of_ppo_begins_at_ratio_one():
    clipping = Clipping(epochs=1, minibatches=1, value_weight=0.0)
    policy = tiny_policy(7)
    training = PPO(policy, tiny_policy(7), count_threes, [[2]], PolicyRecipe(1, 16), PAD, END, 0, clipping)
    (entry,) = training.run()
    assert entry["clipped"] == 0 and entry["kl"] == pytest.approx(0, abs=1e-5)
    assert entry["policy_loss"] == pytest.approx(0, abs=1e-5)  # whitened advantages have mean zero


def test_the_value_head_learns_what_is_to_come():
    recipe = PolicyRecipe(
        steps=80, prompts=64, learning_rate=1e-2, beta=2.0, max_new_tokens=6, unfinished_penalty=0.0
    )
    policy, reference = tiny_policy(7), tiny_policy(7)
    # The reward hangs on the first token alone, so that everything after it is known.
    reward = lambda rollout: torch.tensor([2.0 * (reply[0] > 3) for reply in rollout.replies()])  # noqa: E731
    training = PPO(policy, reference, reward, [[2]], recipe, PAD, END, 0, Clipping(value_weight=1.0))
    history = training.run()
    assert history[0]["explained_variance"] < 0.3
    assert history[-1]["explained_variance"] > 0.6


@pytest.mark.parametrize("method", METHODS)
def test_a_target_divergence_is_kept(method):
    recipe = PolicyRecipe(
        steps=150, prompts=32, group=2, learning_rate=5e-3, beta=0.05, target_kl=0.4, kl_horizon=300, max_new_tokens=6,
        unfinished_penalty=0.0,
    )  # fmt: skip
    _, history = train(method, count_threes, recipe, 7)
    kl = sum(entry["kl"] for entry in history[-40:]) / 40
    assert 0.2 < kl < 0.8
    assert history[-1]["beta"] > recipe.beta


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_goes_on_to_the_same_weights(method, tmp_path):
    recipe = PolicyRecipe(
        steps=12, prompts=4, group=2, learning_rate=1e-2, max_new_tokens=5, target_kl=1.0, saves=2
    )
    measure = lambda policy: {"draw": float(torch.rand(1))}  # noqa: E731
    whole, history = train(method, count_threes, recipe, 7, measure=measure)
    part = Job(tmp_path, "policy")
    with pytest.raises(Killed):
        train(method, count_threes, recipe, 7, part=part, progress=KillAt(10), measure=measure)
    assert list(tmp_path.glob("checkpoint-8/complete"))
    resumed, again = train(method, count_threes, recipe, 7, part=part, measure=measure)
    assert same(weights_of(resumed), weights_of(whole))
    drop = lambda rows: [{k: v for k, v in row.items() if k != "eval_draw"} for row in rows]  # noqa: E731
    assert drop(again) == drop(history)


def test_every_prompt_is_drawn_once_in_an_epoch():
    seen = []

    def reward(rollout: Rollout) -> torch.Tensor:
        seen.extend(rollout.ids[:, 0].tolist())
        return torch.zeros(len(rollout))

    prompts = [[token] for token in range(2, 8)]
    recipe = PolicyRecipe(steps=4, prompts=3, group=2, max_new_tokens=2)
    Reinforce(tiny_policy(9), tiny_policy(9), reward, prompts, recipe, PAD, END, 0).run()
    assert sorted(seen[:12]) == sorted(seen[12:]) == sorted([*range(2, 8)] * 2)
    assert seen[:12] != seen[12:]


def test_a_reply_that_was_broken_off_is_worth_less():
    policy = tiny_policy(7)
    zero = lambda rollout: torch.zeros(len(rollout))  # noqa: E731
    training = Reinforce(
        policy, tiny_policy(7), zero, [[2]], PolicyRecipe(1, 64, max_new_tokens=3), PAD, END, 0
    )
    experience = training.gather([[2]] * 64)
    assert (experience.scores == -(~experience.rollout.finished).float()).all()
    assert 0 < experience.rollout.finished.sum() < 64


def test_a_loss_that_is_not_finite_is_told():
    nan = lambda rollout: torch.full((len(rollout),), torch.nan)  # noqa: E731
    with pytest.raises(UserError, match="not finite at step 1; try a lower learning rate"):
        train(Reinforce, nan, PolicyRecipe(3, 4, 2, max_new_tokens=2), 7)
