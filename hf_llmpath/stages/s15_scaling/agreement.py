"""The same training run in different ways: what must not change a loss curve, and how far it does."""

from dataclasses import replace
from typing import Any

from ...data.batches.token_file import TokenBlocks
from ...errors import UserError
from ...runs import Run
from ...training.recipes.gpt import GPTRecipe, GPTShape, TokenData, fit_with_accelerate, new_model
from ...training.trainer import fit

REFERENCE = "trainer"
PIECES = 4  # in which a batch is accumulated


def loss_curves(
    data: TokenData, shape: GPTShape, recipe: GPTRecipe, run: Run, seed: int
) -> dict[str, list[float]]:
    """The loss after every step of a few ways to run one training, all in 32 bits and from the same weights.

    Returns:
        A curve for `trainer`, `accumulation` (the batch in `PIECES`), `checkpointing` (activations
        computed again), both by the Trainer; `accelerate`; and `lightning`, if it is installed.
    """
    job = run.job("agreement")
    if job.done:
        return job.result["curves"]
    shape, whole = replace(shape, dropout=0.0), replace(recipe, bf16=False, saves=0)
    in_pieces = replace(whole, batch_size=recipe.batch_size // PIECES, gradient_accumulation_steps=PIECES)
    ways: dict[str, tuple[GPTRecipe, Any]] = {
        "trainer": (whole, None),
        "accumulation": (in_pieces, None),
        "checkpointing": (replace(whole, gradient_checkpointing=True), None),
        "accelerate": (whole, fit_with_accelerate),
    }
    try:
        from .lightning_loop import fit_with_lightning

        ways["lightning"] = (whole, fit_with_lightning)
    except UserError as error:
        run.progress.say(f"left out of the comparison: {error}")
    curves = {}
    for name, (way, loop) in ways.items():
        model = new_model(shape.config(data.tokenizer), seed)
        blocks = TokenBlocks(data.train, shape.context, recipe.batch_size, recipe.steps, seed)
        if loop is not None:
            curves[name] = loop(model, blocks, way, seed)
            continue
        own = run.job(f"agreement-{name}")
        trainer = fit(model, blocks, way, run, own, seed, optimizer=way.optimizer(model))
        curves[name] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        own.finish({})
    return job.finish({"curves": curves})["curves"]


def largest_difference(curves: dict[str, list[float]], name: str) -> float:
    """Between the curve `name` and the reference, in nats."""
    return max(abs(one - other) for one, other in zip(curves[name], curves[REFERENCE], strict=True))
