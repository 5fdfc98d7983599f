"""Trains the models of the scaling law and the main model, and measures what a step costs."""

import math
from dataclasses import replace
from typing import Any

from transformers import AutoModelForCausalLM

from ...data.batches.token_file import TokenBlocks
from ...data.sources import load_texts
from ...decoding.character_writer import CharacterWriter
from ...errors import UserError
from ...runs import Goal, Job, Run
from ...training.hardware import precision_for
from ...training.recipe import Recipe
from ...training.recipes.character_model import CharacterData
from ...training.recipes.gpt import GPTShape, TokenData, new_model, train_gpt
from . import ScalingSettings
from .agreement import REFERENCE, largest_difference, loss_curves
from .footprint import step_footprints
from .scaling_law import PowerLaw

# In nats per character and in seconds on two cores; nanoGPT's CPU recipe reaches 1.88 in the same time.
SHAKESPEARE_GOAL, SHAKESPEARE_SECONDS = 1.55, 100
SAME = 1e-4  # largest difference, in nats, between two ways to run one training
EXTRAPOLATED_WITHIN = 0.1  # largest error of the prediction, as a share of the measured loss


def train(settings: ScalingSettings, run: Run) -> None:
    """Fills `run` with the main model, the models of the scaling law, and their metrics."""
    if len(set(settings.widths)) < 2:
        raise UserError(
            f"widths {settings.widths} are one size; a law is fitted to two or more different ones"
        )
    texts = load_texts(settings.dataset, text_column=settings.text_column)
    characters = CharacterData.from_texts(texts, documents=False, byte_fallback=settings.byte_fallback)
    data = TokenData.in_folder(run.job("tokens").folder, characters)
    if precision_for(settings.mixed_precision) == "bf16":
        run.progress.say("multiplying in 16 bits")

    points = [_point(settings, run, data, width) for width in (*settings.widths, settings.checked_width)]
    metrics: dict[str, Any] = {}
    for point in points[:-1]:  # the last model only checks the law
        width = point["width"]
        run.save_model(_trained(run, f"width-{width}"), data.tokenizer, name=f"width-{width}")
        for name in ("validation_loss", "parameters", "training_seconds"):
            metrics[f"width_{width}/{name}"] = point[name]
    metrics |= _law(points)
    # Times differ between runs, so they go into the metrics alone: a resumed run must draw the same pictures
    # as an uninterrupted one.
    untimed = [
        {name: value for name, value in point.items() if name != "training_seconds"} for point in points
    ]
    run.save_figure_data("scaling", untimed)

    shape = _shape(settings, settings.hidden_size, settings.num_hidden_layers, settings.dropout)
    steps = settings.training.steps
    result = train_gpt(data, shape, _recipe(settings, steps), run, "main", settings.seed)
    run.save_model(_trained(run, "main"), data.tokenizer)
    metrics |= {name: value for name, value in result.items() if name != "flops"}

    run.progress.say("comparing loops and measuring steps")
    small = _shape(settings, 32, 2)  # the loops agree or differ at any size, so a small one suffices
    curves = loss_curves(data, small, _recipe(settings, settings.agreement_steps), run, settings.seed)
    run.save_figure_data("agreement", curves)
    others = [name for name in curves if name != REFERENCE]
    metrics |= {f"{name}/loss_difference": largest_difference(curves, name) for name in others}
    metrics |= _footprints(settings, run, data, shape)

    opening = texts.validation[0][:24].rpartition(" ")[0]  # at most 24 characters, in whole words
    # 400 characters at temperature 0.7; the last item that `write` yields holds the whole text.
    *_, written = CharacterWriter(run.new / "model").write(opening, 0.7, 400, settings.seed)
    run.save_figure_data("samples", {"0.7": opening + written.text})
    ngram = characters.ngram_loss(5)
    baselines = {
        "validation_loss": ngram,
        "bits_per_character": ngram / math.log(2),  # nats -> bits
        "perplexity": math.exp(ngram),
    }
    is_shakespeare = texts.known == "tiny_shakespeare"
    goals = [
        Goal("validation_loss", SHAKESPEARE_GOAL if is_shakespeare else ngram, higher_is_better=False),
        Goal("extrapolation_error", EXTRAPOLATED_WITHIN, higher_is_better=False),
        *(Goal(f"{name}/loss_difference", SAME, higher_is_better=False) for name in others),
    ]
    if is_shakespeare:
        goals.append(Goal("training_seconds", SHAKESPEARE_SECONDS, higher_is_better=False))
    run.report(texts.provenance, metrics, baselines, goals, main="validation_loss")


def _shape(settings: ScalingSettings, width: int, layers: int, dropout: float = 0.0) -> GPTShape:
    return GPTShape(width, layers, heads_for(width, settings.head_size), settings.context, dropout)


def heads_for(width: int, head_size: int) -> int:
    """Returns the largest number of heads that splits `width` into heads of even width, at least `head_size`.

    A width below `head_size` gets a single head.

    Raises:
        UserError: If the width is odd, since rotary positions rotate pairs of coordinates.
    """
    if width % 2:
        raise UserError(f"a width of {width} is odd; rotary positions rotate pairs: choose an even one")
    # `2 * heads`: the width of each head must be even, too.
    fitting = [heads for heads in range(1, max(1, width // head_size) + 1) if width % (2 * heads) == 0]
    return max(fitting)


def _recipe(settings: ScalingSettings, steps: int) -> Recipe:
    bf16 = settings.training.bf16 or precision_for(settings.mixed_precision) == "bf16"
    return replace(settings.training, steps=steps, bf16=bf16)


def _point(settings: ScalingSettings, run: Run, data: TokenData, width: int) -> dict[str, Any]:
    """Trains a model of the scaling law; its size N excludes embeddings (Kaplan et al. 2020, section 2.1)."""
    shape = _shape(settings, width, settings.scaling_layers)
    recipe = _recipe(settings, settings.scaling_steps)
    result = train_gpt(data, shape, recipe, run, f"width-{width}", settings.seed)
    inner = result["parameters"] - width * len(data.tokenizer)  # input and output share one embedding matrix
    # C = 6 N D, with D the number of tokens read
    return {"width": width, "inner_parameters": inner, "inner_flops": 6.0 * inner * result["tokens"]} | result


def _law(points: list[dict[str, Any]]) -> dict[str, float]:
    """Fits the law to all points but the last and compares its prediction for the last with the loss."""
    *fitted, checked = points
    losses = [point["validation_loss"] for point in fitted]
    law = PowerLaw.fit([point["inner_parameters"] for point in fitted], losses)
    predicted, measured = law.at(checked["inner_parameters"]), checked["validation_loss"]
    return {
        "scaling_exponent": law.exponent,
        "scaling_r_squared": law.r_squared,
        "predicted_loss": predicted,
        "measured_loss": measured,
        "extrapolation_error": abs(predicted - measured) / measured,
    }


def _trained(run: Run, name: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(run.job(name).model_dir)


def _footprints(settings: ScalingSettings, run: Run, data: TokenData, shape: GPTShape) -> dict[str, float]:
    batch_size = settings.training.batch_size

    def measure(job: Job) -> dict[str, dict[str, float]]:
        blocks = TokenBlocks(data.train, shape.context, batch_size, 1, settings.seed)
        batch = blocks.__getitems__(list(range(batch_size)))
        return step_footprints(new_model(shape.config(data.tokenizer), settings.seed), batch)

    modes = run.once("footprint", measure)
    memory = {mode: {"peak_memory_mb": row["peak_memory_mb"]} for mode, row in modes.items()}
    run.save_figure_data("footprint", memory)
    return {
        f"{mode}/{name}": row[name]
        for mode, row in modes.items()
        for name in ("peak_memory_mb", "milliseconds")
    }
