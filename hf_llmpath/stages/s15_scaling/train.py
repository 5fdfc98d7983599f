"""Trains the sizes of the scaling law and the main model, and measures what a step costs and what must
not change it.
"""

import math
from typing import Any

from transformers import AutoModelForCausalLM

from ...data.batches.token_file import TokenBlocks
from ...data.sources import load_texts
from ...decoding.character_writer import CharacterWriter
from ...errors import UserError
from ...runs import Goal, Run
from ...training.precision import precision_for
from ...training.recipes.character_model import CharacterData
from ...training.recipes.gpt import GPTRecipe, GPTShape, TokenData, new_model, train_gpt
from . import ScalingSettings
from .agreement import REFERENCE, largest_difference, loss_curves
from .footprint import step_footprints
from .scaling_law import PowerLaw

SHAKESPEARE_GOAL = 1.55  # nats per character; nanoGPT's recipe for a CPU reaches 1.88 in the same time:
SHAKESPEARE_SECONDS = 100  # on two cores
SAME = 1e-4  # nats: two ways to run one training
EXTRAPOLATED_WITHIN = 0.1  # share of the measured loss


def train(settings: ScalingSettings, run: Run) -> None:
    """Fills `run` with the main model, the five of the law, and their numbers."""
    if len(set(settings.widths)) < 2:
        raise UserError(
            f"widths {settings.widths} are one size; a law is fitted to two or more different ones"
        )
    texts = load_texts(settings.dataset, text_column=settings.text_column)
    characters = CharacterData.from_texts(texts, documents=False, byte_fallback=settings.byte_fallback)
    data = TokenData.in_folder(run.job("tokens").folder, characters)
    metrics: dict[str, Any] = {}
    if precision_for(settings.mixed_precision) == "bf16":
        run.progress.say("multiplying in 16 bits")

    points = [_size(settings, run, data, width) for width in (*settings.widths, settings.checked_width)]
    for point in points[:-1]:
        name = f"width-{point['width']}"
        run.save_model(_trained(run, name), data.tokenizer, name=name)
        metrics |= {
            f"width_{point['width']}/{key}": point[key]
            for key in ("validation_loss", "parameters", "training_seconds")
        }
    metrics |= _law(points)
    # What a picture is drawn from is the same after a stop and a resume; times, which are not, are metrics.
    untimed = [
        {name: value for name, value in point.items() if name != "training_seconds"} for point in points
    ]
    run.save_figure_data("scaling", untimed)

    main, shape, result = _main_model(settings, run, data)
    run.save_model(main, data.tokenizer)
    told = (
        "validation_loss",
        "block_loss",
        "bits_per_character",
        "perplexity",
        "parameters",
        "tokens",
        "epochs",
    )
    metrics |= {name: result[name] for name in (*told, "training_seconds")}

    run.progress.say("comparing loops and measuring steps")
    curves = loss_curves(
        data, _shape(settings, 32, 2), _recipe(settings, settings.agreement_steps), run, settings.seed
    )
    run.save_figure_data("agreement", curves)
    same = [name for name in curves if name != REFERENCE]
    metrics |= {f"{name}/loss_difference": largest_difference(curves, name) for name in same}
    metrics |= _footprints(settings, run, data, shape)

    opening = texts.validation[0][:24].rpartition(" ")[0]
    writer = CharacterWriter(run.new / "model")
    run.save_figure_data("samples", {"0.7": opening + _written(writer, opening, settings.seed)})
    ngram = characters.ngram_loss(5)
    baselines = {
        "validation_loss": ngram,
        "bits_per_character": ngram / math.log(2),
        "perplexity": math.exp(ngram),
    }
    goals = [
        Goal("validation_loss", SHAKESPEARE_GOAL if texts.known == "tiny_shakespeare" else ngram, False),
        Goal("extrapolation_error", EXTRAPOLATED_WITHIN, False),
        *(Goal(f"{name}/loss_difference", SAME, False) for name in same),
    ]
    if texts.known == "tiny_shakespeare":
        goals.append(Goal("training_seconds", SHAKESPEARE_SECONDS, False))
    run.report(texts.provenance, metrics, baselines, goals, main="validation_loss")


def _written(model: CharacterWriter, opening: str, seed: int) -> str:
    text = ""
    for writing in model.write(opening, 0.7, 400, seed):
        text = writing.text
    return text


def _shape(settings: ScalingSettings, width: int, layers: int, dropout: float = 0.0) -> GPTShape:
    return GPTShape(width, layers, heads_for(width, settings.head_size), settings.context, dropout)


def heads_for(width: int, head_size: int) -> int:
    """The most heads of at least `head_size` that share out `width` evenly.

    Raises:
        UserError: an odd width, which rotary positions cannot turn in pairs.
    """
    if width % 2:
        raise UserError(
            f"a width of {width} is odd; rotary positions turn pairs of coordinates: take an even one"
        )
    fitting = [heads for heads in range(1, max(1, width // head_size) + 1) if width % (2 * heads) == 0]
    return max(fitting)


def _recipe(settings: ScalingSettings, steps: int) -> GPTRecipe:
    return GPTRecipe(
        steps,
        settings.batch_size,
        settings.learning_rate,
        warmup=0.0,
        decay=settings.decay,
        bf16=precision_for(settings.mixed_precision) == "bf16",
        adam_learning_rate=settings.adam_learning_rate,
        saves=2,
    )


def _size(settings: ScalingSettings, run: Run, data: TokenData, width: int) -> dict[str, Any]:
    """A point of the scaling law. Its size counts without the embeddings (Kaplan et al. 2020, section 2.1)."""
    shape = _shape(settings, width, settings.scaling_layers)
    recipe = _recipe(settings, settings.scaling_steps)
    result = train_gpt(data, shape, recipe, run, f"width-{width}", settings.seed)
    inner = result["parameters"] - width * len(data.tokenizer)
    return {"width": width, "inner_parameters": inner, "inner_flops": 6.0 * inner * result["tokens"]} | result


def _law(points: list[dict[str, Any]]) -> dict[str, float]:
    """The line through all sizes but the last, and what it says about the last."""
    *fitted, checked = points
    loss = [point["validation_loss"] for point in fitted]
    law = PowerLaw.fit([point["inner_parameters"] for point in fitted], loss)
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


def _main_model(settings: ScalingSettings, run: Run, data: TokenData) -> tuple[Any, GPTShape, dict[str, Any]]:
    """The model that is saved as the stage's."""
    shape = _shape(settings, settings.hidden_size, settings.num_hidden_layers, settings.dropout)
    result = train_gpt(data, shape, _recipe(settings, settings.max_steps), run, "main", settings.seed)
    return _trained(run, "main"), shape, result


def _footprints(settings: ScalingSettings, run: Run, data: TokenData, shape: GPTShape) -> dict[str, float]:
    job = run.job("footprint")
    if not job.done:
        blocks = TokenBlocks(data.train, shape.context, settings.batch_size, 1, settings.seed)
        batch = blocks.__getitems__(list(range(settings.batch_size)))
        job.finish(step_footprints(new_model(shape.config(data.tokenizer), settings.seed), batch))
    memory = {mode: {"peak_memory_mb": row["peak_memory_mb"]} for mode, row in job.result.items()}
    run.save_figure_data("footprint", memory)
    return {
        f"{mode}/{name}": row[name]
        for mode, row in job.result.items()
        for name in ("peak_memory_mb", "milliseconds")
    }
