"""REINFORCE and PPO on tasks whose optimum is known."""

from functools import partial

import pytest
import torch

from hf_llmpath.runs import Job
from hf_llmpath.stages.s16_rlhf.policy_loop import PolicyRecipe, PolicyTask, PolicyTraining
from hf_llmpath.stages.s16_rlhf.ppo import Clipping, train_ppo
from hf_llmpath.stages.s16_rlhf.reinforce import policy_gradient_loss, train_reinforce
from hf_llmpath.stages.s16_rlhf.rollouts import Rollout, draw
from hf_llmpath.training.recipe import Recipe
from tests.stages.s16_rlhf.policies import END, PAD, tiny_policy

ARMS = torch.tensor([0.0, 0.2, 1.0, -0.5, 0.6, 0.1])  # reward of each token
METHODS = [pytest.param(train_reinforce, id="reinforce"), pytest.param(train_ppo, id="ppo")]


def pull(rollout: Rollout) -> torch.Tensor:
    """A bandit: the reward of the one token that was drawn."""
    return ARMS[torch.tensor([reply[0] for reply in rollout.replies()])]


def count_threes(rollout: Rollout) -> torch.Tensor:
    return torch.tensor([float(reply.count(3)) for reply in rollout.replies()])


def recipe_of(
    steps: int, prompts: int, learning_rate: float = 3e-4, group: int = 1, **choices
) -> PolicyRecipe:
    training = Recipe(steps, prompts * group, learning_rate, adam_beta2=0.999, evaluations=4, saves=3)
    return PolicyRecipe(training, group, **{"unfinished_penalty": 0.0} | choices)


def task_of(reward, vocab_size: int, prompts=([2], [4])) -> PolicyTask:
    return PolicyTask(tiny_policy(vocab_size), reward, prompts, PAD, END)


@pytest.fixture
def train(tmp_path):
    """Trains a new policy once; returns it with the history."""

    def train(method, reward, recipe: PolicyRecipe, vocab_size: int, prompts=([2], [4])):
        policy = tiny_policy(vocab_size)
        job = Job(tmp_path / str(len(list(tmp_path.iterdir()))), "policy")
        return policy, method(policy, task_of(reward, vocab_size, prompts), recipe, job, 0)

    return train


def chances(policy, prompt: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return policy(torch.tensor([prompt])).logits[0, -1].softmax(-1)


BANDIT = recipe_of(200, 64, 4e-3, group=2, beta=0.5, max_new_tokens=1)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_bandit_comes_to_the_optimum_of_reward_and_penalty(train, method):
    """The optimum of E[r] − β KL is known: π*(a) ∝ π_ref(a) exp(r(a) / β)."""
    policy, history = train(method, pull, BANDIT, len(ARMS))
    best = 0.0
    for prompt in ([2], [4]):
        optimum = (chances(tiny_policy(len(ARMS)), prompt).log() + ARMS / BANDIT.beta).softmax(-1)
        assert (chances(policy, prompt) - optimum).abs().max() < 0.04
        best += float((optimum * ARMS).sum()) / 2
    last = sum(row["reward"] for row in history[-30:]) / 30
    assert last == pytest.approx(best, abs=0.08)
    assert history[0]["reward"] < best - 0.2


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_without_a_penalty_the_best_arm_is_all_that_is_left(train, method):
    recipe = recipe_of(120, 32, 1e-2, group=2, beta=0.0, max_new_tokens=1)
    policy, _ = train(method, pull, recipe, len(ARMS))
    assert chances(policy, [2])[2] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_token_task_comes_to_the_best_sequence(train, method):
    """Six tokens, a point for each 3: the best reply is all threes, which also means never to end early."""
    recipe = recipe_of(120, 32, 1e-2, group=2, beta=0.0, max_new_tokens=6)
    _, history = train(method, count_threes, recipe, 7)
    assert history[0]["reward"] < 1.5
    assert sum(row["reward"] for row in history[-10:]) / 10 > 5.5


@pytest.mark.slow
def test_without_a_penalty_a_wrong_reward_is_followed_to_its_end(train):
    """What is wanted: replies of threes and fives in turn. The reward sees the threes only."""
    wanted = lambda replies: sum(min(r.count(3), r.count(5)) for r in replies) / len(replies)  # noqa: E731
    found = {}
    for beta in (0.0, 4.0):
        recipe = recipe_of(100, 32, 1e-2, group=2, beta=beta, max_new_tokens=6)
        policy, history = train(train_reinforce, count_threes, recipe, 7)
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


def test_the_first_update_of_ppo_begins_at_ratio_one(train):
    ppo = partial(train_ppo, clipping=Clipping(epochs=1, minibatches=1, value_weight=0.0))
    _, (row,) = train(ppo, count_threes, recipe_of(1, 16), 7, [[2]])
    assert row["clipped"] == 0 and row["kl"] == pytest.approx(0, abs=1e-5)
    assert row["policy_loss"] == pytest.approx(0, abs=1e-5)  # whitened advantages have mean zero


@pytest.mark.slow
def test_the_value_head_learns_what_is_to_come(train):
    recipe = recipe_of(80, 64, 1e-2, beta=2.0, max_new_tokens=6)
    # The reward depends on the first token alone, so everything after it is known.
    reward = lambda rollout: torch.tensor([2.0 * (reply[0] > 3) for reply in rollout.replies()])  # noqa: E731
    ppo = partial(train_ppo, clipping=Clipping(value_weight=1.0))
    _, history = train(ppo, reward, recipe, 7, [[2]])
    assert history[0]["explained_variance"] < 0.3
    assert history[-1]["explained_variance"] > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_target_divergence_is_kept(train, method):
    recipe = recipe_of(150, 32, 5e-3, group=2, target_kl=0.4, kl_horizon=300, max_new_tokens=6)
    _, history = train(method, count_threes, recipe, 7)
    kl = sum(row["kl"] for row in history[-40:]) / 40
    assert 0.2 < kl < 0.8
    assert history[-1]["beta"] > recipe.beta


def test_measuring_on_the_way_does_not_change_what_is_drawn(train):
    recipe = recipe_of(6, 4, 1e-2, group=2, max_new_tokens=5)
    measure = lambda policy: {"draw": float(torch.rand(1))}  # noqa: E731
    _, watched = train(partial(train_ppo, measure=measure), count_threes, recipe, 7)
    _, alone = train(train_ppo, count_threes, recipe, 7)
    assert [row["step"] for row in watched if "eval_draw" in row] == [0, 2, 4, 6]
    assert [{k: v for k, v in row.items() if k != "eval_draw"} for row in watched[1:]] == alone


def test_every_prompt_is_drawn_once_in_an_epoch(train):
    seen = []

    def reward(rollout: Rollout) -> torch.Tensor:
        seen.extend(rollout.ids[:, 0].tolist())
        return torch.zeros(len(rollout))

    prompts = [[token] for token in range(2, 8)]
    train(train_reinforce, reward, recipe_of(4, 3, group=2, max_new_tokens=2), 9, prompts)
    assert sorted(seen[:12]) == sorted(seen[12:]) == sorted([*range(2, 8)] * 2)
    assert seen[:12] != seen[12:]


def test_a_reply_that_was_cut_off_is_worth_less(tmp_path):
    task = task_of(lambda rollout: torch.zeros(len(rollout)), 7)
    recipe = recipe_of(1, 64, max_new_tokens=3, unfinished_penalty=1.0)
    experience = PolicyTraining(tiny_policy(7), task, recipe, Job(tmp_path, "x"), 0).draw_replies([[2]] * 64)
    assert (experience.scores == -(~experience.rollout.finished).float()).all()
    assert 0 < experience.rollout.finished.sum() < 64
