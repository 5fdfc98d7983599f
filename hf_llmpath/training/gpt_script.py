"""Trains a decoder on a text file with the bare Accelerate loop, in one process or in as many as a launcher starts.

    python -m hf_llmpath.training.gpt_script TEXT FOLDER
    torchrun --nproc_per_node 2 -m hf_llmpath.training.gpt_script TEXT FOLDER --max-steps 200
    accelerate launch --config_file accelerate_fsdp2.yaml -m hf_llmpath.training.gpt_script TEXT FOLDER

FOLDER then holds the model with its tokenizer, and losses.json. The launchers' files are in `hf_llmpath/training/configs`.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..data.sources import load_texts
from ..data.token_file import TokenBlocks
from ..errors import UserError
from ..runs import check_writable, write_text
from .gpt import GPTRecipe, GPTShape, TokenData, fit_with_accelerate, new_model
from .language_model import CharacterData


@dataclass(frozen=True)
class AdamWRecipe(GPTRecipe):
    """The recipe with AdamW for all weights, at `adam_learning_rate`: for ZeRO, which cuts matrices into flat pieces."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:  # type: ignore[override]
        return torch.optim.AdamW(model.parameters(), self.adam_learning_rate, betas=(0.9, 0.95), weight_decay=0.0)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a decoder on a text file with the bare Accelerate loop.")
    parser.add_argument("text", help="a text file, or another data set that --dataset of llmpath takes")
    parser.add_argument("folder", type=Path, help="where the model is written")
    for name, value in (
        ("--hidden-size", 128),
        ("--num-hidden-layers", 4),
        ("--num-attention-heads", 2),
        ("--context", 128),
        ("--batch-size", 16),
        ("--max-steps", 900),
        ("--accumulation", 1),
        ("--seed", 0),
    ):
        parser.add_argument(name, type=int, default=value)
    parser.add_argument("--learning-rate", type=float, default=0.02, help="Muon's")
    parser.add_argument("--adam-learning-rate", type=float, default=1e-2)
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--bf16", action="store_true", help="products in 16 bits")
    parser.add_argument(
        "--checkpointing", action="store_true", help="compute activations again instead of keeping them"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the training that the command line asks for."""
    wanted = _arguments(arguments)
    check_writable(wanted.folder)
    characters = CharacterData.from_texts(load_texts(wanted.text), documents=False)
    shape = GPTShape(wanted.hidden_size, wanted.num_hidden_layers, wanted.num_attention_heads, wanted.context)
    kind = GPTRecipe if wanted.optimizer == "muon" else AdamWRecipe
    recipe = kind(
        wanted.max_steps,
        wanted.batch_size,
        wanted.learning_rate,
        warmup=0.0,
        decay=0.5,
        bf16=wanted.bf16,
        gradient_accumulation_steps=wanted.accumulation,
        gradient_checkpointing=wanted.checkpointing,
        adam_learning_rate=wanted.adam_learning_rate,
    )
    # Every process writes files of its own: they need not wait for each other, nor share a disk.
    own = wanted.folder / "tokens" / _rank()
    data = TokenData.in_folder(own, characters)
    rows = recipe.batch_size * recipe.gradient_accumulation_steps
    model = new_model(shape.config(data.tokenizer), wanted.seed)
    blocks = TokenBlocks(data.train, shape.context, rows, recipe.steps, wanted.seed)
    losses = fit_with_accelerate(model, blocks, recipe, wanted.seed, save_in=wanted.folder)
    if _rank() == "0":
        data.tokenizer.save_pretrained(wanted.folder)
        write_text(wanted.folder / "losses.json", json.dumps(losses))
        print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last; the model is in {wanted.folder}")


def _rank() -> str:
    return os.environ.get("RANK", "0")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
