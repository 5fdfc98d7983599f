"""Trains a decoder on a stream of tokens, by the Trainer, by a bare Accelerate loop, or by Lightning: one
recipe for all.

The order of the blocks, the optimizer (Muon for hidden matrices, AdamW for the rest), the schedule and
the clipping are the same whoever runs the loop, so the loss curves are the same too; `gpt_lightning.py`
has the Lightning module.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DataLoaderConfiguration, InitProcessGroupKwargs
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedType
from accelerate.utils import set_seed as seed_process
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast, get_scheduler, set_seed

from ...data.batches.streams import as_is
from ...data.batches.token_file import TokenBlocks, read_tokens, write_tokens
from ...errors import UserError
from ...models.configuration_gpt import LLMPathGPTConfig
from ...models.modeling_gpt import LLMPathGPTForCausalLM
from ...runs import Run, write_json
from ..checkpoints import last_checkpoint, step_of, write_checkpoint
from ..distributed.workers import PATIENCE, share_of, stop_together
from ..evaluation import block_loss
from ..muon import Muon, muon_groups
from ..trainer import Recipe, fit
from .character_model import CharacterData

LOSSES_FILE = "losses.json"  # of a checkpoint


@dataclass(frozen=True)
class GPTShape:
    """Sizes of a decoder.

    Attributes:
        hidden_size, num_hidden_layers, num_attention_heads, dropout: as in `LLMPathGPTConfig`.
        context: tokens that it reads at once.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    context: int
    dropout: float = 0.0

    def config(self, tokenizer: PreTrainedTokenizerFast) -> LLMPathGPTConfig:
        return LLMPathGPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            max_position_embeddings=self.context,
            dropout=self.dropout,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )


@dataclass(frozen=True)
class GPTRecipe(Recipe):
    """How to train a decoder; `learning_rate` is Muon's, for the hidden matrices.

    Attributes:
        adam_learning_rate: of embeddings, head and norms.
        ns_steps: of Muon's Newton-Schulz iteration.
    """

    adam_learning_rate: float = 5e-3
    ns_steps: int = 5

    def optimizer(self, model: nn.Module) -> Muon:
        groups = muon_groups(model, self.learning_rate, self.adam_learning_rate, self.weight_decay)
        return Muon(groups, ns_steps=self.ns_steps, ns_dtype=torch.bfloat16 if self.bf16 else None)

    def scheduler(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """What the Trainer makes of the recipe's schedule."""
        return get_scheduler(
            self.schedule_name,
            optimizer,
            num_warmup_steps=self.warmup_steps,
            num_training_steps=self.steps,
            scheduler_specific_kwargs=self.schedule_options,
        )


@dataclass(frozen=True)
class TokenData:
    """A corpus as token files.

    Attributes:
        tokenizer: of the tokens.
        train, validation: ids, mapped from files.
    """

    tokenizer: PreTrainedTokenizerFast
    train: np.ndarray
    validation: np.ndarray

    @classmethod
    def in_folder(cls, folder: Path, data: CharacterData) -> "TokenData":
        """Writes the streams of `data` into token files in `folder` and maps them."""
        splits = {"train": data.train, "validation": data.validation}
        files = {
            name: write_tokens(folder / f"{name}.npy", ids, len(data.tokenizer))
            for name, ids in splits.items()
        }
        return cls(data.tokenizer, read_tokens(files["train"]), read_tokens(files["validation"]))


def train_gpt(
    data: TokenData, shape: GPTShape, recipe: GPTRecipe, run: Run, name: str, seed: int
) -> dict[str, Any]:
    """Trains the model `name` of `run`, or reads it back if this run has trained it already.

    Returns:
        `validation_loss` (nats per token over the whole validation split, in blocks that overlap by half,
        so that a token is guessed from half a context or more), `block_loss` (the same with blocks side
        by side), `bits_per_character`, `perplexity`, `parameters`, `tokens`, `epochs`, `flops` (6 x
        parameters x tokens; Kaplan et al. 2020, section 2.1) and `training_seconds`; the model lies in
        `run.job(name).model_dir`.
    """
    job = run.job(name)
    if job.done:
        return job.result
    model = new_model(shape.config(data.tokenizer), seed)
    blocks = TokenBlocks(data.train, shape.context, recipe.batch_size, recipe.steps, seed)
    tokens_per_step = recipe.batch_size * shape.context
    began = time.perf_counter()
    fit(model, blocks, recipe, job, seed, None, tokens_per_step, recipe.optimizer(model))
    seconds = time.perf_counter() - began
    loss = block_loss(model, data.validation, shape.context, max(1, shape.context // 2))
    parameters = model.num_parameters()
    result = {
        "validation_loss": loss,
        "block_loss": block_loss(model, data.validation, shape.context),
        "bits_per_character": loss / math.log(2),
        "perplexity": math.exp(loss),
        "parameters": parameters,
        "tokens": tokens_per_step * recipe.steps,
        "epochs": blocks.epochs,
        "flops": 6.0 * parameters * tokens_per_step * recipe.steps,
        "training_seconds": seconds,
    }
    return job.finish(result, model, data.tokenizer)


def new_model(config: LLMPathGPTConfig, seed: int) -> LLMPathGPTForCausalLM:
    """An untrained decoder, the same for the same seed."""
    set_seed(seed)
    return LLMPathGPTForCausalLM(config)


def blocks_loader(blocks: TokenBlocks, batch_size: int, first: int = 0) -> DataLoader:
    """The blocks in order from the `first` on, whole batches at a time."""
    return DataLoader(
        blocks,
        batch_size,
        sampler=range(first, len(blocks)),
        collate_fn=as_is,
        drop_last=True,
        generator=torch.Generator(),  # without one a loader would move the generator that dropout draws from
    )


def fit_with_accelerate(
    model: nn.Module,
    blocks: TokenBlocks,
    recipe: GPTRecipe,
    seed: int,
    save_in: Path | None = None,
    folder: Path | None = None,
) -> list[float]:
    """The training as one would write it with Accelerate alone; `torchrun` runs it in several processes.

    Args:
        model: trained in place.
        blocks, recipe: what and how; a batch of the recipe is one of all processes together.
        seed: of dropout.
        save_in: where the first process writes the model, gathered from all if they hold parts of it.
        folder: where checkpoints are kept, `recipe.saves` times on the way; the training goes on from the
            one that is there.

    Returns:
        The loss of every step, the mean over all processes.

    Raises:
        UserError: Muon under DeepSpeed; a batch that the processes cannot share evenly; a checkpoint that
            another number of processes wrote; another process is gone.
    """
    AcceleratorState._reset_state()  # a process may train several times, in different precision
    GradientState._reset_state()
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if recipe.bf16 else "no",
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        dataloader_config=DataLoaderConfiguration(split_batches=True),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accelerator.distributed_type == DistributedType.DEEPSPEED and type(recipe) is GPTRecipe:
        raise UserError(
            "DeepSpeed's ZeRO cuts matrices into flat pieces and Muon needs them whole: --optimizer adamw"
        )
    share_of(recipe.batch_size)
    checkpoint = None if folder is None else last_checkpoint(folder)
    # Dropout differs from process to process, the order of the blocks does not.
    seed_process(seed, device_specific=True)
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    optimizer = recipe.optimizer(model)
    # The schedule counts optimizer steps, so it is not handed to `prepare`, which would count those of
    # all processes.
    scheduler = recipe.scheduler(optimizer)
    done = 0 if checkpoint is None else step_of(checkpoint)
    first = done * recipe.batch_size * recipe.gradient_accumulation_steps
    loader = blocks_loader(blocks, recipe.batch_size, first)
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    accelerator.register_for_checkpointing(scheduler)
    losses: list[float] = []
    if checkpoint is not None:
        accelerator.load_state(str(checkpoint))
        losses = json.loads((checkpoint / LOSSES_FILE).read_text(encoding="utf-8"))

    def write_state(temporary: Path) -> None:
        accelerator.save_state(str(temporary))
        if accelerator.is_main_process:
            write_json(temporary / LOSSES_FILE, losses)

    pieces = []
    wrapped.train()
    with stop_together(folder):
        for batch in loader:
            with accelerator.accumulate(wrapped):
                loss = wrapped(**batch, use_cache=False).loss
                accelerator.backward(loss)
                pieces.append(accelerator.reduce(loss.detach(), reduction="mean"))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(wrapped.parameters(), recipe.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
            if not accelerator.sync_gradients:
                continue
            scheduler.step()
            losses.append(torch.stack(pieces).mean().item())
            pieces.clear()
            if folder is not None and len(losses) % recipe.save_every == 0 and len(losses) < recipe.steps:
                write_checkpoint(folder, len(losses), write_state)
        if save_in is not None:
            weights = accelerator.get_state_dict(wrapped)
            if accelerator.is_main_process:
                plain = accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
                plain.save_pretrained(save_in, state_dict=weights)
            accelerator.wait_for_everyone()
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    accelerator.free_memory()
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_disable()
    model.eval()
    return losses
