"""Sharded training: every process holds a part of each weight, its gradient and its optimizer state
(FSDP, ZeRO stage 3).

    torchrun --nproc_per_node 2 script.py

Layer by layer the weights are gathered just before they are used and dropped again; gradients are
averaged and scattered back. Rajbhandari et al. 2020, arXiv:1910.02054; Zhao et al. 2023,
arXiv:2304.11277. Accelerate leaves FSDP out on a CPU without a word, so this is PyTorch's `fully_shard`
itself, which works there too.
"""

import math
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as sharded_files
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from ...data.batches.token_file import TokenBlocks
from ...runs import Job
from ..accelerate_loop import PROCESS_FILE
from ..loop import Loop
from ..recipe import Recipe
from .workers import share_of


def fit_sharded(
    model: PreTrainedModel, blocks: TokenBlocks, recipe: Recipe, job: Job
) -> tuple[list[float], dict[str, Tensor]]:
    """Trains `model` in shards; every process has it whole at first, and process groups are initialized.

    Args:
        model: trained in place; what dropout draws depends on the caller's seed.
        blocks, recipe: the data and how to train; a batch is one of all processes together, and each
            takes its slice.
        job: where checkpoints, history and progress go; each process writes the shards that it holds.

    Returns:
        The loss of every step, the mean over all processes; and the whole weights, in the first process
        (empty in others), for `model.save_pretrained(folder, state_dict=...)`.

    Raises:
        ValueError: a recipe in pieces or in 16 bits, which this loop leaves out to stay readable.
        UserError: a batch that the processes cannot share evenly; what `Loop` raises.

    A program that trains with this ends with `workers.leave_group`.
    """
    if recipe.bf16 or recipe.accumulation > 1:
        raise ValueError("fit_sharded trains in 32 bits and with whole batches")
    rank, world, share = dist.get_rank(), dist.get_world_size(), share_of(recipe.batch_size)
    loop = Loop(job, recipe.steps, recipe.advice, recipe.saves, log_every=1)
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world,))
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = recipe.optimizer(model)  # after sharding: its state is sharded as the weights are
    scheduler = recipe.scheduler(optimizer)

    def write(folder: Path) -> None:
        weights, moments = get_state_dict(model, optimizer)
        sharded_files.save({"model": weights, "optimizer": moments}, checkpoint_id=folder)
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        save_file(random, folder / PROCESS_FILE.format(rank))

    if loop.checkpoint is not None:
        weights, moments = get_state_dict(model, optimizer)  # makes what is to be filled
        sharded_files.load({"model": weights, "optimizer": moments}, checkpoint_id=loop.checkpoint)
        set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)
        random = load_file(loop.checkpoint / PROCESS_FILE.format(rank))
        torch.set_rng_state(random["cpu"])
        if "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])
        scheduler.last_epoch = loop.step

    model.train()
    with loop:
        while loop.step < loop.steps:
            first = loop.step * recipe.batch_size + rank * share
            batch = blocks.__getitems__(list(range(first, first + share)))
            batch = {name: value.to(model.device) for name, value in batch.items()}
            loss = model(**batch, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm or math.inf)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            mean = loss.detach()
            dist.all_reduce(mean)
            loop.after_step(mean / world, save=write)
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        whole = get_model_state_dict(model, options=options)
    # DTensor's caches keep the mesh until the interpreter ends, and the mesh its groups, which
    # `workers.leave_group` could then not end. Groups are still found by their names.
    getattr(mesh, "_pg_registry", {}).clear()
    return loop.losses, whole
