"""Run by torchrun: trains a small decoder in one process or several on a CPU and keeps losses and weights.

torchrun --nproc_per_node 2 gpt_in_processes.py WAY FOLDER [--dropout P] [--pieces N] [--kill STEP |
--hang STEP]

WAY is trainer, accelerate, sharded or lightning. A checkpoint in FOLDER is continued. With --kill a
whole training is done in FOLDER/whole; in another, in FOLDER/killed, the last process is killed (SIGKILL)
as it reads the batch of that step. With --hang it stands still there.
"""

import argparse
import json
import os
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from hf_llmpath import LLMPathGPTConfig
from hf_llmpath.data.batches.token_file import TokenBlocks
from hf_llmpath.errors import UserError
from hf_llmpath.runs import Job
from hf_llmpath.training import accelerate_loop, trainer
from hf_llmpath.training.distributed import workers
from hf_llmpath.training.distributed.fully_shard import fit_sharded
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.recipes.gpt import fit_with_accelerate, new_model
from hf_llmpath.training.trainer import fit
from tests.support.small import VOCAB, tokens_of, weights_of

SIZES = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
RECIPE = Recipe(10, 8, 0.02, adam_learning_rate=5e-3, decay=0.5, saves=3)  # after steps 3, 6 and 9
HANG_PATIENCE = timedelta(seconds=3)


class Deadly(TokenBlocks):
    """Blocks that send a signal to the process that reads those of a step; `first` is the first step that
    was read.
    """

    fatal: tuple[int, int] | None = None  # step, from 1, and signal
    first: int | None = None

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        step = max(indices) // RECIPE.batch_size + 1
        self.first = self.first or step
        if self.fatal and step >= self.fatal[0]:
            os.kill(os.getpid(), self.fatal[1])
        return super().__getitems__(indices)


def train(way: str, folder: Path, recipe: Recipe, dropout: float, fatal: tuple[int, int] | None) -> None:
    """Trains and keeps in `folder` what came of it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = new_model(LLMPathGPTConfig(**SIZES, dropout=dropout), seed=0)
    blocks = Deadly(tokens_of(2000), 12, RECIPE.batch_size, RECIPE.steps, seed=0)
    blocks.fatal = fatal
    local, job = 0, Job(folder, "job")
    if way == "sharded":
        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=workers.PATIENCE)
        torch.manual_seed(dist.get_rank())
        losses, weights = fit_sharded(model, blocks, recipe, job)
        local = sum(parameter.to_local().numel() for parameter in model.parameters())
    elif way == "accelerate":
        losses, weights = fit_with_accelerate(model, blocks, recipe, job, 0), weights_of(model)
    elif way == "lightning":
        from hf_llmpath.stages.s15_scaling.lightning_loop import fit_with_lightning

        losses, weights = fit_with_lightning(model, blocks, recipe, job, 0), weights_of(model)
    else:
        finished = fit(model, blocks, recipe, job, 0)
        losses = [entry["loss"] for entry in finished.state.log_history if "loss" in entry]
        weights = weights_of(model)
    world = int(os.environ["WORLD_SIZE"])
    assert (dist.get_world_size() if dist.is_initialized() else 1) == world
    if os.environ["RANK"] == "0":
        torch.save(weights, folder / "weights.pt")
        told = {"losses": losses, "local": local, "world": world, "first": blocks.first}
        (folder / "told.json").write_text(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--pieces", type=int, default=1)
    parser.add_argument("--kill", type=int)
    parser.add_argument("--hang", type=int)
    wanted = parser.parse_args()
    is_last = int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1
    folder, fatal, recipe = wanted.folder, None, replace(RECIPE, accumulation=wanted.pieces)
    if wanted.kill:
        train(wanted.way, folder / "whole", recipe, wanted.dropout, None)
        folder, fatal = folder / "killed", (wanted.kill, signal.SIGKILL)
    if wanted.hang:
        accelerate_loop.PATIENCE = trainer.PATIENCE = workers.PATIENCE = HANG_PATIENCE
        fatal = (wanted.hang, signal.SIGSTOP)
    train(wanted.way, folder, recipe, wanted.dropout, fatal if is_last else None)


def threads_of_gloo() -> list[str]:
    """Names of this process's threads that a process group has started (Linux tells)."""
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


if __name__ == "__main__":
    try:
        main()
        assert threads_of_gloo() or os.environ["WORLD_SIZE"] == "1" or not Path("/proc/self/task").exists()
        workers.leave_group()
        assert not threads_of_gloo(), "a thread that lives on as the interpreter ends can abort the process"
    except UserError as error:
        sys.exit(f"error: {error}")
