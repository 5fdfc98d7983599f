"""Sharded training: every process holds a part of each weight, its gradient and its optimiser state (FSDP, ZeRO stage 3).

    torchrun --nproc_per_node 2 script.py

Layer by layer the weights are gathered just before they are used and dropped again; gradients are averaged and scattered
back. Rajbhandari et al. 2020, arXiv:1910.02054; Zhao et al. 2023, arXiv:2304.11277. Accelerate leaves FSDP out on a CPU
without a word, so this is PyTorch's `fully_shard` itself, which works there too.
"""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from ..data.token_file import TokenBlocks
from .gpt import GPTRecipe


def fit_sharded(
    model: PreTrainedModel, blocks: TokenBlocks, recipe: GPTRecipe
) -> tuple[list[float], dict[str, Tensor]]:
    """Trains `model`, which every process has whole at first, in shards; process groups must be initialised.

    A batch of the recipe is one of all processes together; each takes its slice.

    Returns:
        The loss of every step, the mean over all processes; and the whole weights, in the first process (empty in others),
        for `model.save_pretrained(folder, state_dict=...)`.

    Raises:
        ValueError: a batch that the processes cannot share evenly, or a recipe in pieces or 16 bits, which this loop, written
            to be read, leaves out.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    if recipe.batch_size % world:
        raise ValueError(f"batch_size ({recipe.batch_size}) must be a multiple of the number of processes ({world})")
    if recipe.bf16 or recipe.gradient_accumulation_steps > 1:
        raise ValueError("fit_sharded trains in 32 bits and with whole batches")
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world,))
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = recipe.optimizer(model)  # after sharding: its state is sharded as the weights are
    scheduler = recipe.scheduler(optimizer)
    share, losses = recipe.batch_size // world, []
    model.train()
    for step in range(recipe.steps):
        first = step * recipe.batch_size + rank * share
        batch = blocks.__getitems__(list(range(first, first + share)))
        loss = model(**{name: value.to(model.device) for name, value in batch.items()}, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        mean = loss.detach()
        dist.all_reduce(mean)
        losses.append(mean.item() / world)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return losses, get_model_state_dict(model, options=options)
