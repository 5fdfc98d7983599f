"""Trains in shards: every process holds a part of each weight, its gradient, and its optimizer state.

This is known as FSDP or ZeRO stage 3.

    torchrun --nproc_per_node 2 script.py

Layer by layer, the weights are gathered just before they are used and then dropped; gradients are averaged
and scattered back (Rajbhandari et al. 2020, arXiv:1910.02054; Zhao et al. 2023, arXiv:2304.11277). On a CPU,
Accelerate silently skips FSDP, so this module uses PyTorch's own `fully_shard`, which works there too.
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
    """Trains `model` in shards.

    When the function starts, every process has the whole model, and the process group is initialized. A
    program that calls this function must end with `workers.leave_group`.

    Args:
        model: model to train, in place; dropout depends on the caller's seed.
        blocks, recipe: the data and how to train; a batch belongs to all processes together, and each
            takes its slice.
        job: where checkpoints, history, and progress go; each process writes the shards that it holds.

    Returns:
        The loss of every step as the mean over all processes, and the whole weights in the first process
        (empty in the others) for `model.save_pretrained(folder, state_dict=...)`.

    Raises:
        ValueError: the recipe asks for pieces or for 16 bits, which this loop leaves out to stay readable.
        UserError: the processes cannot share a batch evenly, or `Loop` raised an error.
    """
    if recipe.bf16 or recipe.accumulation > 1:
        raise ValueError("fit_sharded trains in 32 bits and with whole batches")
    rank, world, share = dist.get_rank(), dist.get_world_size(), share_of(recipe.batch_size)
    loop = Loop(job, recipe.steps, recipe.advice, recipe.saves, log_every=1)
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world,))
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    # Layers first: each is then gathered on its own, and the last call takes only what remains.
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = recipe.optimizer(model)  # after sharding, so its state is sharded like the weights
    scheduler = recipe.scheduler(optimizer)

    def write(folder: Path) -> None:
        weights, moments = get_state_dict(model, optimizer)
        sharded_files.save({"model": weights, "optimizer": moments}, checkpoint_id=folder)
        random = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        save_file(random, folder / PROCESS_FILE.format(rank))

    if loop.checkpoint is not None:
        weights, moments = get_state_dict(model, optimizer)  # placeholders that the load fills in place
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
            # Each process reads its own slice of the batch.
            first = loop.step * recipe.batch_size + rank * share
            batch = blocks.__getitems__(list(range(first, first + share)))
            batch = {name: value.to(model.device) for name, value in batch.items()}
            loss = model(**batch, use_cache=False).loss
            loss.backward()
            # This clips the norm of the whole gradient, because DTensors sum over all shards.
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm or math.inf)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            mean = loss.detach()
            dist.all_reduce(mean)
            loop.after_step(mean / world, save=write)
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        whole = get_model_state_dict(model, options=options)
    # DTensor's caches hold the mesh until the interpreter ends, and the mesh holds its groups, so
    # `workers.leave_group` could not end them. PyTorch can still find the groups by their names.
    getattr(mesh, "_pg_registry", {}).clear()
    return loop.losses, whole
