"""Fine-tunes a chatbot, trains a reward model on preferences, and aligns the chatbot by several methods."""

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    set_seed,
)

from ...data.tokenizers.chat_template import chat_tokenizer, conversation_ids, prompt_ids, require_context
from ...errors import UserError, nearest
from ...models.configuration_gpt import LLMPathGPTConfig
from ...models.modeling_gpt import LLMPathGPTForCausalLM
from ...runs import Goal, Job, Run, add_mean
from ...training.recipe import Recipe
from ...world import generate
from . import BY_TRL, METHODS, RLHFSettings
from .judging import Examination, Replies, win_rate, world_judge
from .low_rank import low_rank_policy, with_updates
from .policy_loop import PolicyRecipe, PolicyTask
from .ppo import train_ppo
from .preference_data import Message, Preferences, load_preferences
from .reinforce import train_reinforce
from .rewards import RewardModel, pairwise_accuracy
from .trl_trainers import (
    fine_tune_on_chats,
    require_groups,
    train_dpo,
    train_reward_model,
    train_rloo_or_grpo,
)

REWARD_ACCURACY = 0.9  # goal: share of held-out pairs that the reward model ranks correctly
WIN_RATE = 0.75  # goal: share of prompts on which the aligned reply scores higher than the fine-tuned one
SHOWN = 8  # prompts whose replies are saved for the picture and the page


@dataclass(frozen=True)
class Study:
    """Holds the data and the tokenizer that every method starts from."""

    settings: RLHFSettings
    run: Run
    tokenizer: PreTrainedTokenizerFast
    preferences: Preferences
    conversations: list[list[Message]]
    prompts: list[list[Message]]
    exam_prompts: list[list[Message]]
    of_the_world: bool

    def ids(self, prompts: list[list[Message]]) -> list[list[int]]:
        """Encodes each prompt as token ids.

        Raises:
            UserError: If a prompt leaves no room for a reply in the context.
        """
        ids = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        require_context(self.tokenizer, ids, self.settings.context - self.settings.max_new_tokens)
        return ids


@dataclass
class Results:
    """Holds every policy's replies to the held-out prompts and the accuracy of the reward model."""

    before: Replies
    reward_accuracy: float
    accuracy_by_fault: dict[str, float]
    replies: dict[str, list[Replies]] = field(default_factory=dict)  # method -> one entry per seed
    seconds: dict[str, list[float]] = field(default_factory=dict)
    hacked: Replies | None = None


def train(settings: RLHFSettings, run: Run) -> None:
    """Fills `run` with the aligned chatbot, its fine-tuned predecessor, the reward model, and the metrics."""
    _check(settings)  # first: a mistake in the settings should not surface after minutes of training
    study = _study(settings, run)
    run.once("sft", lambda job: _fine_tune(study, job))
    run.once("reward", lambda job: _train_reward_model(study, job))
    sft = AutoModelForCausalLM.from_pretrained(run.job("sft").model_dir)
    reward = RewardModel(
        AutoModelForSequenceClassification.from_pretrained(run.job("reward").model_dir),
        study.tokenizer.pad_token_id,
    )
    accuracy, by_fault = _reward_accuracy(study, reward)  # differences of raw scores need no calibration
    exam = _examination(study, reward)
    results = Results(exam.of(sft), accuracy, by_fault)
    # The fine-tuned chatbot's own replies become the zero point, so every reward is a gain over it.
    reward.calibrate(results.before.rollout)
    for method in settings.methods:
        for seed in range(settings.seed, settings.seed + settings.seeds):
            replies, seconds = _aligned(study, method, f"{method}-{seed}", reward, exam, seed)
            results.replies.setdefault(method, []).append(replies)
            results.seconds.setdefault(method, []).append(seconds)
    if settings.hacking_steps:
        results.hacked, _ = _aligned(study, "no-kl", "no-kl", reward, exam, settings.seed)
    _save(study, sft, reward)
    _report(study, exam, reward, results)


def _check(settings: RLHFSettings) -> None:
    if not settings.methods:
        raise UserError(
            f"methods is empty; choose from {', '.join(METHODS)}, for example --set methods=ppo,dpo"
        )
    for method in settings.methods:
        if method not in METHODS:
            known = ", ".join(METHODS)
            raise UserError(f"unknown method '{method}'; there are {known}{nearest(method, METHODS)}")
    others = [method for method in settings.methods if method not in BY_TRL]
    if settings.lora_rank is not None and (others or settings.hacking_steps):
        raise UserError(
            f"low-rank updates work with {', '.join(BY_TRL)}; {', '.join(others) or 'hacking_steps'} "
            "trains all weights: --set methods=dpo --set hacking_steps=0, or leave out lora_rank"
        )
    if settings.lora_rank is None and settings.frozen_bits != 32:
        raise UserError("frozen_bits needs low-rank updates; give their rank too: --set lora_rank=8")
    require_groups(settings.prompts * settings.group, settings.group)  # rejects groups of fewer than two
    if settings.max_new_tokens >= settings.context:
        raise UserError(
            f"max_new_tokens ({settings.max_new_tokens}) leaves no room for a prompt in context "
            f"({settings.context})"
        )


def _study(settings: RLHFSettings, run: Run) -> Study:
    dataset = "world/preferences" if settings.dataset == "world" else settings.dataset
    preferences = load_preferences(dataset, settings.pairs)
    world_data = preferences.name.startswith("world/")
    of_the_world = settings.chats == "world" or (settings.chats == "auto" and world_data)
    if of_the_world:
        conversations = [row["messages"] for row in generate("chats", "train", settings.conversations)]
        exam_prompts = [row["prompt"] for row in generate("chats", "test", settings.examined)]
    else:
        pairs = preferences.train[: settings.conversations]
        conversations = [pair["prompt"] + pair["chosen"] for pair in pairs]
        exam_prompts = [pair["prompt"] for pair in preferences.test[: settings.examined]]
    # The policies practice on the prompts of the training pairs, never on those of the examination.
    prompts = [pair["prompt"] for pair in preferences.train]
    run.progress.say("training the tokenizer")
    texts = [message["content"] for messages in conversations for message in messages]
    texts += [message["content"] for pair in preferences.train for side in pair.values() for message in side]
    tokenizer = chat_tokenizer(texts, settings.tokenizer, settings.vocab_size, settings.context)
    return Study(settings, run, tokenizer, preferences, conversations, prompts, exam_prompts, of_the_world)


def _fine_tune(study: Study, job: Job) -> dict[str, float]:
    settings, tokenizer = study.settings, study.tokenizer
    set_seed(settings.seed)
    config = LLMPathGPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        max_position_embeddings=settings.context,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.eos_token_id,  # the vocabulary has one token for both ends of a text
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LLMPathGPTForCausalLM(config)
    began = time.perf_counter()
    fine_tune_on_chats(model, tokenizer, study.conversations, settings.sft, job, settings.seed)
    seconds = time.perf_counter() - began
    job.save_model(model, tokenizer)
    return {"seconds": seconds}


def _train_reward_model(study: Study, job: Job) -> dict[str, float]:
    """Trains the fine-tuned model, with a head of one output, to score conversations.

    Additional layers on top start from random weights. They give the reward model room to compare a reply
    with what the lower layers expect.
    """
    settings, tokenizer = study.settings, study.tokenizer
    set_seed(settings.seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        study.run.job("sft").model_dir,
        num_labels=1,
        num_hidden_layers=max(settings.reward_layers, settings.num_hidden_layers),
    )
    began = time.perf_counter()
    train_reward_model(model, tokenizer, study.preferences.train, settings.reward, job, settings.seed)
    seconds = time.perf_counter() - began
    job.save_model(model, tokenizer)
    return {"seconds": seconds}


def _reward_accuracy(study: Study, reward: RewardModel) -> tuple[float, dict[str, float]]:
    """Measures accuracy on held-out pairs, and for each fault of the rejected reply if the data names it."""
    pairs, context = study.preferences.test, study.settings.context
    # (pairs,) each; a conversation is cut to the length that the model can read.
    chosen, rejected = (
        reward.of_conversations(
            [conversation_ids(study.tokenizer, pair["prompt"] + pair[side])[:context] for pair in pairs]
        )
        for side in ("chosen", "rejected")
    )
    by_fault: dict[str, float] = {}
    if study.preferences.name == "world/preferences":
        faults = [row["fault"] for row in generate("preferences", "test")]
        for fault in sorted(set(faults)):
            rows = torch.tensor([name == fault for name in faults])  # (pairs,), a boolean mask
            by_fault[fault] = pairwise_accuracy(chosen[rows], rejected[rows])
    return pairwise_accuracy(chosen, rejected), by_fault


def _examination(study: Study, reward: RewardModel) -> Examination:
    """Builds the examination; for data without a judge, the reward model scores the replies."""

    def by_reward(prompts: Any, texts: Any, rollout: Any) -> list[float]:
        return reward(rollout).tolist()

    return Examination(
        study.exam_prompts,
        study.ids(study.exam_prompts),
        study.tokenizer,
        study.settings.max_new_tokens,
        study.settings.seed + 1,  # not the seed with which the first policy is trained
        world_judge if study.of_the_world else by_reward,
    )


def _aligned(
    study: Study, method: str, name: str, reward: RewardModel, exam: Examination, seed: int
) -> tuple[Replies, float]:
    """Trains one policy, once; returns its replies to the held-out prompts and the seconds of training."""
    job = study.run.job(name)
    result = job.once(lambda job: _align(study, method, job, reward, exam, seed))
    return exam.of(AutoModelForCausalLM.from_pretrained(job.model_dir)), result["seconds"]


def _align(
    study: Study, method: str, job: Job, reward: RewardModel, exam: Examination, seed: int
) -> dict[str, float]:
    settings, tokenizer = study.settings, study.tokenizer
    start, reference = study.run.job("sft").model_dir, None
    if settings.lora_rank is not None:
        set_seed(seed)  # for the random weights of the low-rank updates
        policy = low_rank_policy(start, settings.lora_rank, settings.frozen_bits == 4)
    else:
        policy, reference = (AutoModelForCausalLM.from_pretrained(start) for _ in range(2))
    began = time.perf_counter()
    if method == "dpo":
        pairs = study.preferences.train
        train_dpo(policy, reference, tokenizer, pairs, settings.dpo, settings.dpo_beta, job, seed)
    elif method in BY_TRL:
        recipe = _policy_recipe(settings, method)
        train_rloo_or_grpo(method, policy, tokenizer, study.prompts, reward, recipe, job, seed)
    else:
        assert reference is not None  # `_check` rejects low-rank updates for these methods
        prompts = study.ids(study.prompts)
        task = PolicyTask(reference, reward, prompts, tokenizer.pad_token_id, tokenizer.eos_token_id)
        train_policy = train_ppo if method == "ppo" else train_reinforce
        train_policy(
            policy,
            task,
            _policy_recipe(settings, method),
            job,
            seed,
            measure=lambda model: {"score": exam.of(model).score},
        )
    seconds = time.perf_counter() - began
    if settings.lora_rank is not None:
        policy = with_updates(start, policy)
    job.save_model(policy, tokenizer)
    return {"seconds": seconds}


def _policy_recipe(settings: RLHFSettings, method: str) -> PolicyRecipe:
    """Returns the recipe of a policy gradient method.

    PPO learns several times from each round and therefore has a lower rate. "no-kl" is REINFORCE without the
    KL penalty, which shows reward hacking.
    """
    rate = {"ppo": "learning_rate", "no-kl": "hacking_learning_rate"}.get(method, "single_learning_rate")
    training = Recipe(
        settings.hacking_steps if method == "no-kl" else settings.steps,
        settings.prompts * settings.group,
        getattr(settings, rate),
        adam_beta2=0.98 if method in BY_TRL else 0.999,
        evaluations=4,
        saves=3,
        rate_setting=rate,
    )
    beta = 0.0 if method == "no-kl" else settings.beta
    return PolicyRecipe(training, settings.group, beta, max_new_tokens=settings.max_new_tokens)


def _save(study: Study, sft: LLMPathGPTForCausalLM, reward: RewardModel) -> None:
    """Saves the first method's first policy as the stage's model and all other models under their names."""
    settings, run, tokenizer = study.settings, study.run, study.tokenizer
    policies = {method: f"{method}-{settings.seed}" for method in settings.methods}
    policies |= {"no-kl": "no-kl"} if settings.hacking_steps else {}
    for method, name in policies.items():
        model = AutoModelForCausalLM.from_pretrained(run.job(name).model_dir)
        run.save_model(model, tokenizer, name=None if method == settings.methods[0] else method)
    run.save_model(sft, tokenizer, name="sft")
    run.save_model(reward.model, tokenizer, name="reward")


def _report(study: Study, exam: Examination, reward: RewardModel, results: Results) -> None:
    settings, run, before, hacked = study.settings, study.run, results.before, results.hacked
    score = "judge_score" if study.of_the_world else "reward_score"
    metrics: dict[str, Any] = {"reward_accuracy": results.reward_accuracy}
    goals = [Goal("reward_accuracy", REWARD_ACCURACY, higher_is_better=True)]
    # The win rate that the path promises is a mean over seeds, which the full preset measures.
    wanted = WIN_RATE if settings.seeds >= 3 else 0.5
    for method, policies in results.replies.items():
        prefix = "" if method == settings.methods[0] else f"{method}/"
        add_mean(metrics, f"{prefix}win_rate", [win_rate(one.scores, before.scores) for one in policies])
        add_mean(metrics, f"{prefix}{score}", [one.score for one in policies])
        add_mean(metrics, f"{prefix}reward", _mean_rewards(policies, reward))
        metrics[f"{prefix}method_seconds"] = statistics.fmean(results.seconds[method])
        goals.append(Goal(f"{prefix}win_rate", wanted, higher_is_better=True))
    # PPO may lie behind RLOO by one standard error, which takes at least two seeds to estimate.
    if {"ppo", "rloo"} <= results.replies.keys() and settings.seeds > 1 and study.of_the_world:
        gap, error = _gap(*(_mean_rewards(results.replies[method], reward) for method in ("ppo", "rloo")))
        metrics |= {"ppo_reward_behind_rloo": gap}
        goals.append(Goal("ppo_reward_behind_rloo", error, higher_is_better=False))
    if hacked is not None:
        metrics |= {f"no_kl/{score}": hacked.score, "no_kl/reward": _mean_rewards([hacked], reward)[0]}
        if study.of_the_world:  # reward hacking: the reward rises while the quality that it stands for falls
            goals.append(Goal("no_kl/reward", metrics["reward"], higher_is_better=True))
            goals.append(Goal("no_kl/judge_score", metrics["judge_score"], higher_is_better=False))
    metrics |= {f"reward_accuracy/{fault}": value for fault, value in results.accuracy_by_fault.items()}
    metrics["parameters"] = AutoModelForCausalLM.from_pretrained(run.job("sft").model_dir).num_parameters()
    metrics["training_seconds"] = sum(
        job.result["seconds"] for job in run.jobs if job.done and "seconds" in job.result
    )
    # A policy ties with itself, calibrated rewards have mean 0, and guessing ranks half of the pairs right.
    baselines = {"win_rate": 0.5, score: before.score, "reward": 0.0, "reward_accuracy": 0.5}
    shown = {"sft": before} | {method: policies[0] for method, policies in results.replies.items()}
    shown |= {"no-kl": hacked} if hacked else {}
    run.save_figure_data("replies", _transcript(exam, shown, reward))
    run.report(
        study.preferences.provenance, metrics, baselines, goals if study.of_the_world else [], "win_rate"
    )


def _mean_rewards(policies: list[Replies], reward: RewardModel) -> list[float]:
    return [float(reward(replies.rollout).mean()) for replies in policies]


def _gap(first: list[float], second: list[float]) -> tuple[float, float]:
    """Returns how far the first mean lies below the second, and the standard error of the difference."""
    # √(s₁² / n₁ + s₂² / n₂)
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (first, second)))
    return statistics.fmean(second) - statistics.fmean(first), error


def _transcript(exam: Examination, replies: dict[str, Replies], reward: RewardModel) -> list[dict[str, Any]]:
    """Collects replies to the same prompts before and after alignment, with their scores and rewards."""
    rewards = {name: reward(one.rollout).tolist() for name, one in replies.items()}
    return [
        {
            "prompt": exam.prompts[index][-1]["content"],
            "replies": {
                name: {"text": one.texts[index], "score": one.scores[index], "reward": rewards[name][index]}
                for name, one in replies.items()
            },
        }
        for index in range(min(SHOWN, len(exam.prompts)))
    ]
