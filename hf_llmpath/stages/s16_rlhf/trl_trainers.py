"""TRL's trainers on our models: supervised fine-tuning, reward model, DPO, RLOO, GRPO.

Each is a function: it trains a model in place and goes on from the job's checkpoint, if there is one.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # every TRL trainer counts its uses over the network

import torch
from datasets import Dataset, disable_progress_bars
from torch import nn
from transformers import PreTrainedTokenizerBase, PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
    SFTConfig,
    SFTTrainer,
)

from ...data.tokenizers.chat_template import require_chat_template
from ...errors import UserError
from ...runs import Job
from ...training.callbacks import History, ReportProgress, StopOnInterrupt
from ...training.checkpoints import last_checkpoint, mark_complete, wait_for_all
from ...training.muon import Muon, muon_groups
from .policy_loop import PolicyRecipe
from .preference_data import Message, Pair
from .rewards import RewardModel

SAVES = 3  # checkpoints on the way


@dataclass(frozen=True)
class Plan:
    """How to train with one of TRL's trainers.

    Attributes:
        steps: optimizer steps.
        batch_size: conversations, or pairs, per step.
        learning_rate: peak of the cosine schedule of AdamW.
        context: tokens of the longest conversation.
        weight_decay: decoupled.
        muon_learning_rate: peak for the hidden matrices, which Muon moves then; all is AdamW's if none.
        rate_setting: the stage's setting that is `learning_rate`, which advice names.
    """

    steps: int
    batch_size: int
    learning_rate: float
    context: int
    weight_decay: float = 0.01
    muon_learning_rate: float | None = None
    rate_setting: str = "learning_rate"

    def optimizer(self, model: nn.Module) -> dict[str, Any]:
        """What a trainer takes for another optimizer than AdamW."""
        if self.muon_learning_rate is None:
            return {}
        groups = muon_groups(model, self.muon_learning_rate, self.learning_rate, self.weight_decay)
        return {"optimizer_cls_and_kwargs": (Muon, {"params": groups})}

    def arguments(self, folder: Path, seed: int) -> dict[str, Any]:
        """What all of TRL's configurations take. They default to bf16 and gradient checkpointing, both
        made for GPUs.
        """
        return {
            "output_dir": str(folder),
            "max_steps": self.steps,
            "per_device_train_batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "adam_beta2": 0.98,
            "lr_scheduler_type": "cosine",
            "warmup_steps": max(1, self.steps // 20),
            "max_grad_norm": 1.0,
            "logging_steps": max(1, self.steps // 100),
            "logging_nan_inf_filter": False,  # ReportProgress must see a loss that is not finite
            "save_strategy": "steps",
            "save_steps": max(1, self.steps // (SAVES + 1)),
            "save_total_limit": 2,
            "eval_strategy": "no",
            "use_cpu": not torch.cuda.is_available(),
            "bf16": False,
            "activation_checkpointing": False,
            "dataloader_pin_memory": False,
            "report_to": "none",
            "disable_tqdm": True,
            "seed": seed,
        }


def fine_tune_on_chats(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[list[Message]],
    plan: Plan,
    job: Job,
    seed: int,
) -> None:
    """Supervised fine-tuning: −Σ log P(token) over what the assistant says, and nothing else (TRL's
    `SFTTrainer`).

    Raises:
        UserError: the tokenizer's chat template does not write or mark the assistant's words.
        KeyboardInterrupt: Ctrl-C came; a checkpoint is on disk.
    """
    require_chat_template(tokenizer)
    arguments = SFTConfig(
        **plan.arguments(job.folder, seed),
        max_length=plan.context,
        assistant_only_loss=True,
        loss_type="nll",
        train_sampling_strategy="group_by_length",
    )
    rows = _dataset([{"messages": messages} for messages in conversations])
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, **plan.optimizer(model)
    )
    _train(trainer, plan, job)


def train_reward_model(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    plan: Plan,
    job: Job,
    seed: int,
) -> None:
    """Bradley-Terry on whole conversations (TRL's `RewardTrainer`; its loss is `bradley_terry_loss`)."""
    arguments = RewardConfig(**plan.arguments(job.folder, seed), max_length=plan.context)
    rows = _dataset(pairs)
    trainer = RewardTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, **plan.optimizer(model)
    )
    _train(trainer, plan, job)


def optimize_directly(
    model: nn.Module,
    reference: nn.Module | None,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    plan: Plan,
    beta: float,
    job: Job,
    seed: int,
) -> None:
    """Direct preference optimization: no reward model, no rollouts (TRL's `DPOTrainer`; its loss is
    `dpo_loss`).

    `reference` is none where `model` learns by low-rank updates: it is then the model without them.
    """
    arguments = DPOConfig(**plan.arguments(job.folder, seed), max_length=plan.context, beta=beta)
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=arguments,
        train_dataset=_dataset(pairs),
        processing_class=tokenizer,
    )
    _train(trainer, plan, job)


def optimize_in_groups(
    method: str,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[Message]],
    reward: RewardModel,
    recipe: PolicyRecipe,
    context: int,
    job: Job,
    seed: int,
) -> None:
    """RLOO or GRPO by TRL, with the same reward, penalty and number of replies as our own methods.

    Args:
        method: `"rloo"` or `"grpo"`.
        model: loaded from a folder: TRL loads the reference from there again; or with low-rank updates,
            without which it is the reference.
        prompts: what users say.
        reward: scores the replies.
        recipe: `beta` is the weight of the KL penalty; `target_kl` is not theirs.

    Raises:
        UserError: the replies of a round cannot be divided into groups.
    """
    replies = recipe.prompts * recipe.group
    require_groups(replies, recipe.group)
    config, trainer = {"rloo": (RLOOConfig, RLOOTrainer), "grpo": (GRPOConfig, GRPOTrainer)}[method]
    plan = Plan(recipe.steps, replies, recipe.learning_rate, context, 0.0, rate_setting=recipe.rate_setting)
    end = tokenizer.eos_token_id

    def score(prompts: list, completion_ids: list[list[int]], **_: Any) -> list[float]:
        opened = [
            tokenizer.apply_chat_template(p, add_generation_prompt=True, return_dict=True) for p in prompts
        ]
        rows = [[*before["input_ids"], *ids] for before, ids in zip(opened, completion_ids, strict=True)]
        scores = reward.of_conversations(rows)
        broken_off = torch.tensor([not ids or ids[-1] != end for ids in completion_ids])
        return (scores - recipe.unfinished_penalty * broken_off).tolist()

    arguments = config(
        **plan.arguments(job.folder, seed) | {"lr_scheduler_type": "linear"},
        num_generations=recipe.group,
        max_completion_length=recipe.max_new_tokens,
        beta=recipe.beta,
        temperature=1.0,
    )
    rows = _dataset([{"prompt": prompt} for prompt in prompts])
    _train(
        trainer(
            model=model, reward_funcs=score, args=arguments, train_dataset=rows, processing_class=tokenizer
        ),
        plan,
        job,
    )


def require_groups(replies: int, group: int) -> None:
    """Checks that the replies of a round are whole groups.

    Raises:
        UserError: they are not.
    """
    if group < 2 or replies % group:
        raise UserError(
            f"a batch of {replies} replies cannot be divided into groups of {group}; a group has at least 2 replies, and the "
            "batch is a multiple of it"
        )


class _MarkComplete(TrainerCallback):
    """A checkpoint that was written to the end says so."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        wait_for_all()
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def _train(trainer: Trainer, plan: Plan, job: Job) -> None:
    for parameter in trainer.model.parameters():
        if (
            parameter.requires_grad
        ):  # TRL rounds low-rank updates beside 4 bits to 16; a resumed training would not
            parameter.data = parameter.data.float()
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    stop = StopOnInterrupt()
    with job.progress.task(job.name, plan.steps) as task:
        report = ReportProgress(task, rate_setting=plan.rate_setting)
        for callback in (History(job.folder / "history.jsonl"), stop, _MarkComplete(), report):
            trainer.add_callback(callback)
        checkpoint = last_checkpoint(job.folder)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.interrupted:
        raise KeyboardInterrupt
    trainer.model.eval()


def _dataset(rows: Sequence[dict[str, Any]]) -> Dataset:
    disable_progress_bars()
    return Dataset.from_list(list(rows))
