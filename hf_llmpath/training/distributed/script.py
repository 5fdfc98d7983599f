"""Trains a decoder on a text file with the bare Accelerate loop.

It runs in one process or in as many as a launcher starts:

    python -m hf_llmpath.training.distributed.script TEXT FOLDER
    torchrun --nproc_per_node 2 -m hf_llmpath.training.distributed.script TEXT FOLDER --max-steps 200
    accelerate launch --config_file accelerate_fsdp2.yaml \\
        -m hf_llmpath.training.distributed.script TEXT FOLDER

FOLDER then holds the model with its tokenizer and losses.json. With --resume, a training run that was
stopped, even by the death of a process, continues from its last checkpoint. It needs the same number of
processes as before and a FOLDER that all machines share. The launchers' files are in
`hf_llmpath/training/distributed/configs`.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...data.batches.token_file import TokenBlocks
from ...data.sources import load_texts
from ...errors import UserError
from ...runs import Job, check_writable, write_json, write_text
from ..checkpoints import newest_checkpoint
from ..recipe import Recipe
from ..recipes.character_model import CharacterData
from ..recipes.gpt import GPTShape, TokenData, fit_with_accelerate, new_model
from .workers import leave_group

SETTINGS_FILE = "run.json"  # file next to the checkpoints: the settings of the run


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a decoder on a text file with the bare Accelerate loop."
    )
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
        ("--saves", 4),
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
    parser.add_argument(
        "--resume", action="store_true", help="continue from the last checkpoint in the folder"
    )
    return parser.parse_args(arguments)


def _checkpoints(wanted: argparse.Namespace) -> Path:
    """Returns the folder of the checkpoints, after checking that this run may begin or continue there.

    Raises:
        UserError: the folder has nothing to resume, the stopped run had different settings, or the folder has
            a stopped run but the command line has no --resume.
    """
    folder = wanted.folder / "checkpoints"
    newest = newest_checkpoint(folder)
    asked = {name: value for name, value in vars(wanted).items() if name not in ("folder", "resume")}
    if not wanted.resume:
        if newest is not None:
            raise UserError(
                f"{newest} belongs to a training that was stopped: continue it with --resume, or "
                f"remove {folder}"
            )
        if _rank() == "0":
            write_json(folder / SETTINGS_FILE, asked)
        return folder
    if newest is None:
        raise UserError(f"nothing to resume in {wanted.folder}; run without --resume")
    before: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    for name, value in asked.items():
        if before.get(name) != value:
            raise UserError(
                f"--resume needs the settings of the stopped run: {name} was {before.get(name)}, is {value}"
            )
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the training that the command line requests."""
    wanted = _arguments(arguments)
    check_writable(wanted.folder)
    checkpoints = _checkpoints(wanted)
    characters = CharacterData.from_texts(load_texts(wanted.text), documents=False)
    shape = GPTShape(wanted.hidden_size, wanted.num_hidden_layers, wanted.num_attention_heads, wanted.context)
    rates: dict[str, Any] = {
        "learning_rate": wanted.learning_rate,
        "adam_learning_rate": wanted.adam_learning_rate,
    }
    if wanted.optimizer == "adamw":  # for ZeRO, which cuts matrices into flat pieces
        rates = {"learning_rate": wanted.adam_learning_rate, "adam_beta2": 0.95}
    recipe = Recipe(
        steps=wanted.max_steps,
        batch_size=wanted.batch_size * wanted.accumulation,
        warmup=0.0,
        decay=0.5,
        saves=wanted.saves,
        bf16=wanted.bf16,
        accumulation=wanted.accumulation,
        gradient_checkpointing=wanted.checkpointing,
        **rates,
    )
    # Each process writes its own files, so they neither wait for each other nor need a shared disk.
    data = TokenData.in_folder(wanted.folder / "tokens" / _rank(), characters)
    model = new_model(shape.config(data.tokenizer), wanted.seed)
    blocks = TokenBlocks(data.train, shape.context, recipe.batch_size, recipe.steps, wanted.seed)
    job = Job(checkpoints, "training")
    losses = fit_with_accelerate(model, blocks, recipe, job, wanted.seed, save_in=wanted.folder)
    if _rank() == "0":
        data.tokenizer.save_pretrained(wanted.folder)
        write_text(wanted.folder / "losses.json", json.dumps(losses))
        shutil.rmtree(checkpoints)
        print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} in the end; the model is in {wanted.folder}")


def _rank() -> str:
    # From the launcher's environment, because the process group does not exist yet.
    return os.environ.get("RANK", "0")


if __name__ == "__main__":
    try:
        main()
        leave_group()
    except UserError as error:
        sys.exit(f"error: {error}")
