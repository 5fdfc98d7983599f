"""Run by torchrun: trains a small model in one or several processes on a CPU, kills and resumes it, keeps
the weights.

torchrun --nproc_per_node 2 fit_in_processes.py stream|documents FOLDER
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from transformers import set_seed

from hf_llmpath.runs import Job, NoProgress
from hf_llmpath.training.distributed.workers import leave_group
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.trainer import fit
from tests.support.small import KillAt, Killed, documents, model_of, stream, weights_of


def train(data: str, folder: Path, progress: NoProgress) -> torch.nn.Module:
    folder.mkdir(parents=True, exist_ok=True)
    set_seed(0)
    model = model_of("lstm", num_hidden_layers=2)
    recipe = Recipe(steps=20, batch_size=8, learning_rate=0.01, carry_state=data == "stream")
    dataset = stream(streams=8, windows=7) if data == "stream" else documents(56)
    fit(model, dataset, recipe, Job(folder, "job", progress), seed=0)
    return model


def main() -> None:
    data, folder = sys.argv[1], Path(sys.argv[2])
    initial = weights_of(model_of("lstm", num_hidden_layers=2))
    trained = weights_of(train(data, folder / "whole", NoProgress()))
    assert dist.is_initialized() and dist.get_world_size() == int(os.environ["WORLD_SIZE"])
    try:
        train(data, folder / "killed", KillAt(14))
    except Killed:
        dist.barrier()
    resumed = weights_of(train(data, folder / "killed", NoProgress()))
    for value in (*trained.values(), *resumed.values()):
        of_first = value.clone()
        dist.broadcast(of_first, 0)
        assert torch.equal(of_first, value), "the processes came to different weights"
    if dist.get_rank() == 0:
        torch.save({"initial": initial, "trained": trained, "resumed": resumed}, folder / "weights.pt")


if __name__ == "__main__":
    main()
    leave_group()
