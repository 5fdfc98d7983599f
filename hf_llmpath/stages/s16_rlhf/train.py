"""Fine-tunes a chatbot, trains a reward model on preferences, and aligns the chatbot with it by several
methods.
"""

import math
import statistics
import time
from dataclasses import dataclass
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
from .preference_data import Message, Pair, Preferences, load_preferences
from .reinforce import train_reinforce
from .rewards import RewardModel, pairwise_accuracy
from .trl_trainers import (
    fine_tune_on_chats,
    require_groups,
    train_dpo,
    train_reward_model,
    train_rloo_or_grpo,
)

REWARD_ACCURACY = 0.9
WIN_RATE = 0.75
SHOWN = 8  # prompts whose replies are kept for the picture and the page


@dataclass
class Study:
    """What every method starts from."""

    settings: RLHFSettings
    run: Run
    tokenizer: PreTrainedTokenizerFast
    preferences: Preferences
    conversations: list[list[Message]]
    prompts: list[list[Message]]
    exam_prompts: list[list[Message]]
    of_the_world: bool

    def ids(self, prompts: list[list[Message]]) -> list[list[int]]:
        found = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        require_context(self.tokenizer, found, self.settings.context - self.settings.max_new_tokens)
        return found


def train(settings: RLHFSettings, run: Run) -> None:
    """Fills `run` with the aligned chatbot, what it came from, its reward model and their numbers."""
    _check(settings)
    study = _study(settings, run)
    sft = _fine_tuned(study)
    reward, reward_accuracy, by_fault = _reward_model(study, sft)
    exam = _examination(study, reward)
    before = exam.of(sft)
    reward.calibrate(before.rollout)
    found: dict[str, list[Replies]] = {}
    seconds: dict[str, list[float]] = {}
    for method in settings.methods:
        for seed in range(settings.seed, settings.seed + settings.seeds):
            job = run.job(f"{method}-{seed}")
            _align(study, method, job, reward, exam, seed)
            policy = AutoModelForCausalLM.from_pretrained(job.model_dir)
            found.setdefault(method, []).append(exam.of(policy))
            seconds.setdefault(method, []).append(job.result["seconds"])
    hacked = None
    if settings.hacking_steps:
        job = run.job("no-kl")
        _align(study, "no-kl", job, reward, exam, settings.seed)
        hacked = exam.of(AutoModelForCausalLM.from_pretrained(job.model_dir))
    _save(study, sft, reward)
    _report(study, exam, before, found, hacked, reward, reward_accuracy, by_fault, seconds)


def _check(settings: RLHFSettings) -> None:
    for method in settings.methods:
        if method not in METHODS:
            raise UserError(
                f"unknown method '{method}'; there are {', '.join(METHODS)}{nearest(method, METHODS)}"
            )
    if not settings.methods:
        raise UserError(
            f"methods is empty; choose of {', '.join(METHODS)}, for example --set methods=ppo,dpo"
        )
    others = [method for method in settings.methods if method not in BY_TRL]
    if settings.lora_rank is not None and (others or settings.hacking_steps):
        raise UserError(
            f"low-rank updates are there for {', '.join(BY_TRL)}; {', '.join(others) or 'the rounds of hacking_steps'} train all "
            "weights: --set methods=dpo --set hacking_steps=0, or without lora_rank"
        )
    if settings.lora_rank is None and settings.frozen_bits != 32:
        raise UserError(
            "frozen_bits is of the weights beside low-rank updates; give their rank too: --set lora_rank=8"
        )
    require_groups(settings.prompts * settings.group, settings.group)
    if settings.max_new_tokens >= settings.context:
        raise UserError(
            f"max_new_tokens ({settings.max_new_tokens}) leaves no room for a prompt in context ({settings.context})"
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
        conversations = [
            pair["prompt"] + pair["chosen"] for pair in preferences.train[: settings.conversations]
        ]
        exam_prompts = [pair["prompt"] for pair in preferences.test[: settings.examined]]
    prompts = [pair["prompt"] for pair in preferences.train]
    run.progress.say("training the tokenizer")
    pairs = [message for pair in preferences.train for side in pair.values() for message in side]
    texts = [message["content"] for messages in conversations for message in messages]
    texts += [message["content"] for message in pairs]
    tokenizer = chat_tokenizer(texts, settings.tokenizer, settings.vocab_size, settings.context)
    return Study(settings, run, tokenizer, preferences, conversations, prompts, exam_prompts, of_the_world)


def _config(study: Study) -> LLMPathGPTConfig:
    settings, tokenizer = study.settings, study.tokenizer
    return LLMPathGPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        max_position_embeddings=settings.context,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _fine_tuned(study: Study) -> LLMPathGPTForCausalLM:
    settings, job = study.settings, study.run.job("sft")
    if not job.done:
        set_seed(settings.seed)
        model = LLMPathGPTForCausalLM(_config(study))
        recipe = Recipe(
            settings.sft_steps,
            settings.sft_batch_size,
            settings.sft_learning_rate,
            weight_decay=0.01,
            adam_learning_rate=settings.sft_adam_learning_rate,
            saves=3,
            rate_setting="sft_learning_rate",
            adam_rate_setting="sft_adam_learning_rate",
        )
        began = time.perf_counter()
        fine_tune_on_chats(model, study.tokenizer, study.conversations, recipe, job, settings.seed)
        job.finish({"seconds": time.perf_counter() - began}, model, study.tokenizer)
    return AutoModelForCausalLM.from_pretrained(job.model_dir)


def _reward_model(study: Study, sft: LLMPathGPTForCausalLM) -> tuple[RewardModel, float, dict[str, float]]:
    """The reward model, its accuracy on held-out pairs, and that by fault where the data set names them."""
    settings, job, tokenizer = study.settings, study.run.job("reward"), study.tokenizer
    if not job.done:
        set_seed(settings.seed)
        start, layers = (
            study.run.job("sft").model_dir,
            max(settings.reward_layers, settings.num_hidden_layers),
        )
        model = AutoModelForSequenceClassification.from_pretrained(
            start, num_labels=1, num_hidden_layers=layers
        )
        recipe = Recipe(
            settings.reward_steps,
            settings.reward_batch_size,
            settings.reward_learning_rate,
            weight_decay=0.01,
            adam_learning_rate=settings.reward_adam_learning_rate,
            saves=3,
            rate_setting="reward_learning_rate",
            adam_rate_setting="reward_adam_learning_rate",
        )
        began = time.perf_counter()
        train_reward_model(model, tokenizer, study.preferences.train, recipe, job, settings.seed)
        job.finish({"seconds": time.perf_counter() - began}, model, tokenizer)
    model = AutoModelForSequenceClassification.from_pretrained(job.model_dir)
    reward = RewardModel(model, tokenizer.pad_token_id)
    chosen, rejected = (_scores(study, reward, side) for side in ("chosen", "rejected"))
    by_fault: dict[str, float] = {}
    if study.preferences.name == "world/preferences":
        faults = [row["fault"] for row in generate("preferences", "test")]
        for fault in sorted(set(faults)):
            rows = torch.tensor([name == fault for name in faults])
            by_fault[fault] = pairwise_accuracy(chosen[rows], rejected[rows])
    return reward, pairwise_accuracy(chosen, rejected), by_fault


def _scores(study: Study, reward: RewardModel, side: str) -> torch.Tensor:
    pairs, context = study.preferences.test, study.settings.context
    rows = [conversation_ids(study.tokenizer, pair["prompt"] + pair[side])[:context] for pair in pairs]
    return reward.of_conversations(rows)


def _examination(study: Study, reward: RewardModel) -> Examination:
    """By the judge of the world; for other data, which have none, by the reward model."""

    def by_reward(prompts: Any, texts: Any, rollout: Any) -> list[float]:
        return reward(rollout).tolist()

    judge = world_judge if study.of_the_world else by_reward
    return Examination(
        study.exam_prompts,
        study.ids(study.exam_prompts),
        study.tokenizer,
        study.settings.max_new_tokens,
        study.settings.seed + 1,
        judge,
    )


def _align(study: Study, method: str, job: Job, reward: RewardModel, exam: Examination, seed: int) -> None:
    """Trains one policy, once."""
    if job.done:
        return
    settings, run, tokenizer = study.settings, study.run, study.tokenizer
    start = run.job("sft").model_dir
    reference = None
    if settings.lora_rank is not None:
        set_seed(seed)
        policy = low_rank_policy(start, settings.lora_rank, settings.frozen_bits == 4)
    else:
        policy, reference = (AutoModelForCausalLM.from_pretrained(start) for _ in range(2))
    rate = {"ppo": "learning_rate", "no-kl": "hacking_learning_rate"}.get(method, "single_learning_rate")
    recipe = PolicyRecipe(
        Recipe(
            settings.hacking_steps if method == "no-kl" else settings.steps,
            settings.prompts * settings.group,
            getattr(settings, rate),
            adam_beta2=0.98 if method in BY_TRL else 0.999,
            evaluations=4,
            saves=3,
            rate_setting=rate,
        ),
        group=settings.group,
        beta=0.0 if method == "no-kl" else settings.beta,
        max_new_tokens=settings.max_new_tokens,
    )
    began = time.perf_counter()
    if method == "dpo":
        dpo = Recipe(
            settings.dpo_steps,
            settings.dpo_batch_size,
            settings.dpo_learning_rate,
            weight_decay=0.01,
            adam_beta2=0.98,
            saves=3,
            rate_setting="dpo_learning_rate",
        )
        pairs: list[Pair] = study.preferences.train
        train_dpo(policy, reference, tokenizer, pairs, dpo, settings.dpo_beta, job, seed)
    elif method in ("rloo", "grpo"):
        train_rloo_or_grpo(method, policy, tokenizer, study.prompts, reward, recipe, job, seed)
    else:
        assert reference is not None
        prompts = study.ids(study.prompts)
        task = PolicyTask(reference, reward, prompts, tokenizer.pad_token_id, tokenizer.eos_token_id)
        train_policy = train_ppo if method == "ppo" else train_reinforce
        train_policy(
            policy, task, recipe, job, seed, measure=lambda model: {"score": exam.of(model).score}
        )
    seconds = time.perf_counter() - began
    if settings.lora_rank is not None:
        policy = with_updates(start, policy)
    job.finish({"seconds": seconds}, policy, tokenizer)


def _save(study: Study, sft: LLMPathGPTForCausalLM, reward: RewardModel) -> None:
    """The first method's first policy is the stage's model; the others, where it came from, and the
    reward model beside it."""
    settings, run, tokenizer = study.settings, study.run, study.tokenizer
    for method in (*settings.methods, *(("no-kl",) if settings.hacking_steps else ())):
        job = run.job("no-kl" if method == "no-kl" else f"{method}-{settings.seed}")
        model = AutoModelForCausalLM.from_pretrained(job.model_dir)
        run.save_model(model, tokenizer, name=None if method == settings.methods[0] else method)
    run.save_model(sft, tokenizer, name="sft")
    run.save_model(reward.model, tokenizer, name="reward")


def _report(
    study: Study,
    exam: Examination,
    before: Replies,
    found: dict[str, list[Replies]],
    hacked: Replies | None,
    reward: RewardModel,
    reward_accuracy: float,
    by_fault: dict[str, float],
    seconds: dict[str, list[float]],
) -> None:
    settings, run = study.settings, study.run
    first = settings.methods[0]
    score = "judge_score" if study.of_the_world else "reward_score"
    metrics: dict[str, Any] = {"reward_accuracy": reward_accuracy}
    goals = [Goal("reward_accuracy", REWARD_ACCURACY, higher_is_better=True)] if study.of_the_world else []
    for method, replies in found.items():
        prefix = "" if method == first else f"{method}/"
        wins = [win_rate(one.scores, before.scores) for one in replies]
        add_mean(metrics, f"{prefix}win_rate", wins)
        add_mean(metrics, f"{prefix}{score}", [one.score for one in replies])
        add_mean(metrics, f"{prefix}reward", [float(reward(one.rollout).mean()) for one in replies])
        metrics[f"{prefix}method_seconds"] = statistics.fmean(seconds[method])
        if study.of_the_world:
            # The win rate that the path promises is the full preset's, the mean of several seeds.
            goals.append(
                Goal(f"{prefix}win_rate", WIN_RATE if settings.seeds >= 3 else 0.5, higher_is_better=True)
            )
    if {"ppo", "rloo"} <= found.keys() and settings.seeds > 1 and study.of_the_world:
        gap, error = _gap(found["ppo"], found["rloo"], reward)
        metrics |= {"ppo_reward_behind_rloo": gap}
        goals.append(Goal("ppo_reward_behind_rloo", error, higher_is_better=False))
    if hacked is not None:
        metrics |= {f"no_kl/{score}": hacked.score, "no_kl/reward": float(reward(hacked.rollout).mean())}
        if study.of_the_world:  # more of the reward, less of what it stands for
            goals.append(Goal("no_kl/reward", metrics["reward"], higher_is_better=True))
            goals.append(Goal("no_kl/judge_score", metrics["judge_score"], higher_is_better=False))
    metrics |= {f"reward_accuracy/{fault}": value for fault, value in by_fault.items()}
    metrics["parameters"] = AutoModelForCausalLM.from_pretrained(run.job("sft").model_dir).num_parameters()
    metrics["training_seconds"] = sum(
        job.result["seconds"] for job in run.jobs if job.done and "seconds" in job.result
    )
    baselines = {"win_rate": 0.5, score: before.score, "reward": 0.0, "reward_accuracy": 0.5}
    aligned = {method: replies[0] for method, replies in found.items()} | (
        {"no-kl": hacked} if hacked else {}
    )
    run.save_figure_data("replies", _transcript(exam, before, aligned, reward))
    run.report(study.preferences.provenance, metrics, baselines, goals, "win_rate")


def _gap(own: list[Replies], other: list[Replies], reward: RewardModel) -> tuple[float, float]:
    """How far the mean reward of the first lies behind the second's, and the standard error of that
    difference.
    """
    means = [[float(reward(one.rollout).mean()) for one in replies] for replies in (own, other)]
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in means))
    return statistics.fmean(means[1]) - statistics.fmean(means[0]), error


def _transcript(
    exam: Examination, before: Replies, aligned: dict[str, Replies], reward: RewardModel
) -> list[dict[str, Any]]:
    """The same prompts before and after: replies, their scores and rewards."""
    everyone = {"sft": before} | aligned
    rewards = {name: reward(replies.rollout).tolist() for name, replies in everyone.items()}
    return [
        {
            "prompt": exam.prompts[place][-1]["content"],
            "replies": {
                name: {
                    "text": replies.texts[place],
                    "score": replies.scores[place],
                    "reward": rewards[name][place],
                }
                for name, replies in everyone.items()
            },
        }
        for place in range(min(SHOWN, len(exam.prompts)))
    ]
