"""Runs one training in several ways that must not change its loss curve, and measures how much they do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...data.batches.token_file import TokenBlocks
from ...errors import UserError
from ...runs import Job, Run
from ...training.recipe import Recipe
from ...training.recipes.gpt import GPTShape, TokenData, fit_with_accelerate, new_model
from ...training.trainer import fit

REFERENCE = "trainer"
PIECES = 4  # in which a batch is accumulated


def loss_curves(
    data: TokenData, shape: GPTShape, recipe: Recipe, run: Run, seed: int
) -> dict[str, list[float]]:
    """Records the loss after every step of one training that is run in several ways.

    All ways compute in 32 bits and start from the same weights.

    Returns:
        A curve each for `trainer`, `accumulation` (the batch in `PIECES`), and `checkpointing` (activations
        recomputed), all three by the Trainer; for `accelerate`; and for `lightning` if it is installed.
    """
    shape, whole = replace(shape, dropout=0.0), replace(recipe, bf16=False, saves=0)
    ways: dict[str, tuple[Recipe, Callable[..., list[float]]]] = {
        "trainer": (whole, fit_with_trainer),
        "accumulation": (replace(whole, accumulation=PIECES), fit_with_trainer),
        "checkpointing": (replace(whole, gradient_checkpointing=True), fit_with_trainer),
        "accelerate": (whole, fit_with_accelerate),
    }

    def compare(job: Job) -> dict[str, Any]:
        try:
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
    """Trains by transformers' Trainer; returns the losses that it logged."""
    history = fit(model, blocks, recipe, job, seed).state.log_history
    return [entry["loss"] for entry in history if "loss" in entry]


def largest_difference(curves: dict[str, list[float]], name: str) -> float:
    """Returns the largest difference between the curve `name` and the reference, in nats."""
    return max(abs(one - other) for one, other in zip(curves[name], curves[REFERENCE], strict=True))
