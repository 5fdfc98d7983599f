"""Run by torchrun: trains a small decoder in one process or several on a CPU and keeps losses and weights.

torchrun --nproc_per_node 2 gpt_in_processes.py trainer|accelerate|sharded FOLDER
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from hf_llmpath import LLMPathGPTConfig
from hf_llmpath.data.token_file import TokenBlocks
from hf_llmpath.runs import NoProgress, Part
from hf_llmpath.training.gpt import GPTRecipe, fit_with_accelerate, new_model
from hf_llmpath.training.sharded import fit_sharded
from hf_llmpath.training.trainer import fit
from tests.support.fit_in_processes import InFolder
from tests.support.small import VOCAB, tokens_of, weights_of

SIZES = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
RECIPE = GPTRecipe(steps=10, batch_size=8, learning_rate=0.02, decay=0.5)


def main() -> None:
    way, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    model = new_model(LLMPathGPTConfig(**SIZES), seed=0)
    blocks = TokenBlocks(tokens_of(2000), 12, RECIPE.batch_size, RECIPE.steps, seed=0)
    local = 0
    if way == "sharded":
        dist.init_process_group("gloo")
        losses, weights = fit_sharded(model, blocks, RECIPE)
        local = sum(parameter.to_local().numel() for parameter in model.parameters())
    elif way == "accelerate":
        losses, weights = fit_with_accelerate(model, blocks, RECIPE, seed=0), weights_of(model)
    else:
        run, part = InFolder(NoProgress()), Part(folder, "part")
        trainer = fit(model, blocks, RECIPE, run, part, 0, optimizer=RECIPE.optimizer(model))
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        weights = weights_of(model)
    world = int(os.environ["WORLD_SIZE"])
    assert (dist.get_world_size() if dist.is_initialized() else 1) == world
    if not dist.is_initialized() or dist.get_rank() == 0:
        torch.save(weights, folder / "weights.pt")
        (folder / "told.json").write_text(json.dumps({"losses": losses, "local": local, "world": world}))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
