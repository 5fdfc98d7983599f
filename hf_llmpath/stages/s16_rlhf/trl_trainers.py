"""Runs TRL's trainers on our models: supervised fine-tuning, reward modeling, DPO, RLOO, and GRPO.

Each function trains a model in place and resumes from the job's checkpoint if there is one.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL's trainers report their use over the network

import torch
from datasets import Dataset, disable_progress_bars
from torch import nn
from transformers import PreTrainedTokenizerBase, Trainer
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
from ...training.recipe import Recipe
from ...training.trainer import run_trainer, shared_arguments
from .policy_loop import PolicyRecipe
from .preference_data import Message, Pair
from .rewards import RewardModel


def fine_tune_on_chats(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[list[Message]],
    recipe: Recipe,
    job: Job,
    seed: int,
) -> None:
    """Fine-tunes a model on conversations with TRL's `SFTTrainer`.

    The loss is −Σ log P(token) over the assistant's words alone.

    Raises:
        UserError: If the tokenizer's chat template does not write or mark the assistant's words.
    """
    require_chat_template(tokenizer)
    options = {"assistant_only_loss": True, "loss_type": "nll", "train_sampling_strategy": "group_by_length"}
    # Batches of similar length need little padding.
    arguments = SFTConfig(**_arguments(recipe, job.folder, seed), max_length=_context(model), **options)
    rows = _dataset([{"messages": messages} for messages in conversations])
    optimizers = _optimizers(recipe, model)
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, optimizers=optimizers
    )
    _train(trainer, recipe, job)


def train_reward_model(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    recipe: Recipe,
    job: Job,
    seed: int,
) -> None:
    """Trains a reward model on whole conversations with TRL's `RewardTrainer` (see `bradley_terry_loss`)."""
    arguments = RewardConfig(**_arguments(recipe, job.folder, seed), max_length=_context(model))
    rows, optimizers = _dataset(pairs), _optimizers(recipe, model)
    trainer = RewardTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, optimizers=optimizers
    )
    _train(trainer, recipe, job)


def train_dpo(
    model: nn.Module,
    reference: nn.Module | None,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    recipe: Recipe,
    beta: float,
    job: Job,
    seed: int,
) -> None:
    """Trains by direct preference optimization, with no reward model and no rollouts (see `dpo_loss`).

    It uses TRL's `DPOTrainer`. If `model` learns by low-rank updates, `reference` is None, and the model with
    its updates switched off takes that role.
    """
    arguments = DPOConfig(**_arguments(recipe, job.folder, seed), max_length=_context(model), beta=beta)
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=arguments,
        train_dataset=_dataset(pairs),
        processing_class=tokenizer,
    )
    _train(trainer, recipe, job)


def train_rloo_or_grpo(
    method: str,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[Message]],
    reward: RewardModel,
    recipe: PolicyRecipe,
    job: Job,
    seed: int,
) -> None:
    """Trains with TRL's RLOO or GRPO; reward, penalty, and number of replies are those of our own methods.

    Args:
        method: `"rloo"` or `"grpo"`.
        model: a model loaded from a folder, from which TRL loads the reference again, or a model with
            low-rank updates, which serves as the reference with its updates switched off.
        prompts: the conversations that the policy continues.
        reward: the reward model that scores the replies.
        recipe: the settings of the training; `beta` weights the KL penalty, and `target_kl` is not used.

    Raises:
        UserError: If the replies of a round cannot be divided into groups.
    """
    require_groups(recipe.training.batch_size, recipe.group)
    config, trainer = {"rloo": (RLOOConfig, RLOOTrainer), "grpo": (GRPOConfig, GRPOTrainer)}[method]
    end = tokenizer.eos_token_id

    def score(prompts: list, completion_ids: list[list[int]], **_: Any) -> list[float]:
        # TRL passes messages and the ids of the replies; the reward model reads ids from prompt to reply.
        opened = [
            tokenizer.apply_chat_template(p, add_generation_prompt=True, return_dict=True) for p in prompts
        ]
        rows = [[*before["input_ids"], *ids] for before, ids in zip(opened, completion_ids, strict=True)]
        scores = reward.of_conversations(rows)  # (batch,)
        cut_off = torch.tensor([not ids or ids[-1] != end for ids in completion_ids])  # (batch,)
        return (scores - recipe.unfinished_penalty * cut_off).tolist()  # as in `PolicyTraining.draw_replies`

    arguments = config(
        **_arguments(recipe.training, job.folder, seed) | {"lr_scheduler_type": "linear"},
        num_generations=recipe.group,
        max_completion_length=recipe.max_new_tokens,
        beta=recipe.beta,
        temperature=1.0,  # the policy's own distribution, as in our own methods
    )
    rows = _dataset([{"prompt": prompt} for prompt in prompts])
    _train(
        trainer(
            model=model, reward_funcs=score, args=arguments, train_dataset=rows, processing_class=tokenizer
        ),
        recipe.training,
        job,
    )


def require_groups(replies: int, group: int) -> None:
    """Checks that the replies of a round form whole groups.

    Raises:
        UserError: If they do not.
    """
    if group < 2 or replies % group:
        raise UserError(
            f"a batch of {replies} replies cannot be divided into groups of {group}; a group has at least 2 "
            "replies, and the batch is a multiple of it"
        )


def _arguments(recipe: Recipe, folder: Path, seed: int) -> dict[str, Any]:
    """Returns the arguments that all of TRL's configurations take.

    They replace TRL's defaults of bf16 and gradient checkpointing, which are meant for GPUs. The learning
    rate rises over the first twentieth of the steps, whatever the recipe says.
    """
    return shared_arguments(recipe, folder, seed) | {"warmup_steps": max(1, recipe.steps // 20)}


def _context(model: nn.Module) -> int:
    """Returns the length of the longest conversation that the model can read, in tokens."""
    return model.config.max_position_embeddings


def _optimizers(recipe: Recipe, model: nn.Module) -> tuple[Any, None]:
    """Returns Muon if the recipe has a separate rate for Adam; otherwise TRL creates AdamW itself."""
    return (None if recipe.adam_learning_rate is None else recipe.optimizer(model)), None


def _train(trainer: Trainer, recipe: Recipe, job: Job) -> None:
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            # TRL rounds low-rank updates of 4-bit weights to 16 bits, but a resumed run would not round them.
            parameter.data = parameter.data.float()
    run_trainer(trainer, recipe, job)


def _dataset(rows: Sequence[dict[str, Any]]) -> Dataset:
    disable_progress_bars()
    return Dataset.from_list(list(rows))
