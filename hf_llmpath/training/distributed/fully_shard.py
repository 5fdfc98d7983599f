"""Sharded training: every process holds a part of each weight, its gradient and its optimizer state
(FSDP, ZeRO stage 3).

    torchrun --nproc_per_node 2 script.py

Layer by layer the weights are gathered just before they are used and dropped again; gradients are
averaged and scattered back. Rajbhandari et al. 2020, arXiv:1910.02054; Zhao et al. 2023,
arXiv:2304.11277. Accelerate leaves FSDP out on a CPU without a word, so this is PyTorch's `fully_shard`
itself, which works there too.
"""

import json
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as sharded_files
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel

from ...data.batches.token_file import TokenBlocks
from ...runs import write_json
from ..checkpoints import last_checkpoint, step_of, write_checkpoint
from ..recipes.gpt import LOSSES_FILE, GPTRecipe
from .workers import share_of, stop_together

OWN_FILE = "process_{}.safetensors"  # of a checkpoint: what belongs to one process


def fit_sharded(
    model: PreTrainedModel, blocks: TokenBlocks, recipe: GPTRecipe, folder: Path | None = None
) -> tuple[list[float], dict[str, Tensor]]:
    """Trains `model`, which every process has whole at first, in shards; process groups must be initialized.

    Args:
        model: trained in place; what dropout draws is the caller's seed.
        blocks, recipe: what and how; a batch of the recipe is one of all processes together, and each
            takes its slice.
        folder: where checkpoints are kept, `recipe.saves` times on the way, to which each process writes
            the shards that it holds; the training goes on from the one that is there.

    Returns:
        The loss of every step, the mean over all processes; and the whole weights, in the first process
        (empty in others), for `model.save_pretrained(folder, state_dict=...)`.

    Raises:
        ValueError: a recipe in pieces or 16 bits, which this loop, written to be read, leaves out.
        UserError: a batch that the processes cannot share evenly; a checkpoint that another number of
            processes wrote; another process is gone.

    A program that trains with this ends with `workers.leave_group`.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    share = share_of(recipe.batch_size)
    if recipe.bf16 or recipe.gradient_accumulation_steps > 1:
        raise ValueError("fit_sharded trains in 32 bits and with whole batches")
    checkpoint = None if folder is None else last_checkpoint(folder)
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world,))
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = recipe.optimizer(model)  # after sharding: its state is sharded as the weights are
    scheduler = recipe.scheduler(optimizer)
    losses: list[float] = []
    if checkpoint is not None:
        losses = _load_state(checkpoint, model, optimizer, scheduler)
    model.train()
    with stop_together(folder):
        for step in range(len(losses), recipe.steps):
            first = step * recipe.batch_size + rank * share
            batch = blocks.__getitems__(list(range(first, first + share)))
            loss = model(
                **{name: value.to(model.device) for name, value in batch.items()}, use_cache=False
            ).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            mean = loss.detach()
            dist.all_reduce(mean)
            losses.append(mean.item() / world)
            if folder is not None and len(losses) % recipe.save_every == 0 and len(losses) < recipe.steps:
                write_checkpoint(
                    folder, len(losses), lambda temporary: _write_state(temporary, model, optimizer, losses)
                )
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        whole = get_model_state_dict(model, options=options)
    _let_go_of_groups(mesh)
    return losses, whole


def _let_go_of_groups(mesh: DeviceMesh) -> None:
    """DTensor's caches keep the mesh until the interpreter ends, and the mesh its groups:
    `workers.leave_group` could not end them. By name it finds them as long as they are there."""
    getattr(mesh, "_pg_registry", {}).clear()


def _write_state(folder: Path, model: nn.Module, optimizer: Optimizer, losses: list[float]) -> None:
    weights, moments = get_state_dict(model, optimizer)
    sharded_files.save({"model": weights, "optimizer": moments}, checkpoint_id=folder)
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    save_file(random, folder / OWN_FILE.format(dist.get_rank()))
    if dist.get_rank() == 0:
        write_json(folder / LOSSES_FILE, losses)


def _load_state(folder: Path, model: nn.Module, optimizer: Optimizer, scheduler: LRScheduler) -> list[float]:
    """Takes up weights, optimizer, schedule and random numbers; returns the losses so far."""
    weights, moments = get_state_dict(model, optimizer)  # makes what is to be filled
    sharded_files.load({"model": weights, "optimizer": moments}, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)
    random = load_file(folder / OWN_FILE.format(dist.get_rank()))
    torch.set_rng_state(random["cpu"])
    if "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"])
    scheduler.last_epoch = step_of(folder)
    return json.loads((folder / LOSSES_FILE).read_text(encoding="utf-8"))
