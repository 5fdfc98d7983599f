"""Runs one training in several ways that should share one loss curve, and measures how far they differ."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...data.batches.token_file import TokenBlocks
from ...errors import UserError
from ...runs import Job, Run
from ...training.recipe import Recipe
from ...training.recipes.gpt import GPTShape, TokenData, fit_with_accelerate, new_model
from ...training.trainer import fit

REFERENCE = "trainer"  # the curve with which the others are compared
PIECES = 4  # number of pieces whose gradients add up to those of a batch


def loss_curves(
    data: TokenData, shape: GPTShape, recipe: Recipe, run: Run, seed: int
) -> dict[str, list[float]]:
    """Records the loss of every step of one training that is run in several ways.

    All of them compute in 32 bits and start from the same weights.

    Returns:
        Name -> curve. `trainer`, `accumulation` (each batch in `PIECES` pieces), and `checkpointing`
        (activations recomputed) are run by the Trainer, `accelerate` by the Accelerate loop, and `lightning`,
        if it is installed, by Lightning.
    """
    # Dropout would draw other numbers in each loop, and rounding to 16 bits would hide small differences.
    shape, whole = replace(shape, dropout=0.0), replace(recipe, bf16=False, saves=0)
    ways: dict[str, tuple[Recipe, Callable[..., list[float]]]] = {
        "trainer": (whole, fit_with_trainer),
        "accumulation": (replace(whole, accumulation=PIECES), fit_with_trainer),
        "checkpointing": (replace(whole, gradient_checkpointing=True), fit_with_trainer),
        "accelerate": (whole, fit_with_accelerate),
    }

    def compare(job: Job) -> dict[str, Any]:
        try:  # importing the module raises UserError if Lightning is not installed
            from .lightning_loop import fit_with_lightning

            ways["lightning"] = (whole, fit_with_lightning)
        except UserError as error:
            run.progress.say(f"left out of the comparison: {error}")
        return {"curves": {name: curve(name, *way) for name, way in ways.items()}}

    def curve(name: str, way: Recipe, train: Callable[..., list[float]]) -> list[float]:
        def losses(job: Job) -> dict[str, list[float]]:
            model = new_model(shape.config(data.tokenizer), seed)
            blocks = TokenBlocks(data.train, shape.context, recipe.batch_size, recipe.steps, seed)
            return {"losses": train(model, blocks, way, job, seed)}

        return run.once(f"curve-{name}", losses)["losses"]

    return run.once("agreement", compare)["curves"]


def fit_with_trainer(model: Any, blocks: TokenBlocks, recipe: Recipe, job: Job, seed: int) -> list[float]:
    """Trains with transformers' Trainer and returns the losses that it logged."""
    history = fit(model, blocks, recipe, job, seed).state.log_history
    return [entry["loss"] for entry in history if "loss" in entry]


def largest_difference(curves: dict[str, list[float]], name: str) -> float:
    """Returns the largest difference between the curve `name` and the reference, in nats."""
    return max(abs(one - other) for one, other in zip(curves[name], curves[REFERENCE], strict=True))
