"""Trains the character model (with several seeds if asked) and the forecasters, against baselines."""

import math
from dataclasses import replace
from functools import partial

from transformers import AutoModelForCausalLM, AutoModelForTimeSeriesPrediction

from ...data.sources import load_texts
from ...errors import UserError
from ...runs import Goal, Run, add_mean
from ...training.probes import next_characters, one_hot, sample_text
from ...training.recipes.character_model import CharacterData, CharacterModel, train_character_model
from . import SequencesSettings
from .forecast import train_forecast
from .series import Series, read_series, tea_sales

TEMPERATURES = (0.3, 0.8, 1.3)
NAMES_PARAMETERS = 80_000  # the size up to which the goal for names holds


def train(settings: SequencesSettings, run: Run) -> None:
    """Trains the language model and the forecasters and saves them in `run`, with their metrics."""
    all_series = read_all(settings.series)
    texts = load_texts(settings.dataset, settings.sample_by, settings.text_column)
    # Lines such as names are documents of their own; any other text is one long stream.
    documents = settings.sample_by == "line" and len(texts.train) > 1
    data = CharacterData.from_texts(texts, documents, settings.byte_fallback)
    shape = CharacterModel(
        settings.cell,
        settings.hidden_size,
        settings.embedding_size,
        1,
        settings.dropout,
        settings.context,
        settings.initializer_range,
    )
    # In a stream, the state at the end of a window is the start of the next one.
    recipe = replace(settings.training, carry_state=not documents)
    results = [
        train_character_model(data, shape, recipe, run, f"{settings.cell}-{seed}", seed)
        for seed in range(settings.seed, settings.seed + settings.seeds)
    ]
    model = AutoModelForCausalLM.from_pretrained(run.job(f"{settings.cell}-{settings.seed}").model_dir)
    run.save_model(model, data.tokenizer)

    metrics = {"parameters": results[0]["parameters"], "training_seconds": sum(r["seconds"] for r in results)}
    for name in ("validation_loss", "bits_per_character", "perplexity"):
        add_mean(metrics, name, [result[name] for result in results])
    ngram = data.ngram_loss(5)
    baselines = {
        "validation_loss": ngram,
        "bits_per_character": ngram / math.log(2),  # the loss is in nats
        "perplexity": math.exp(ngram),
    }
    goals = [Goal("bits_per_character", baselines["bits_per_character"], higher_is_better=False)]
    if texts.known == "names" and metrics["parameters"] <= NAMES_PARAMETERS:
        goals.append(Goal("validation_loss", 2.0, higher_is_better=False))

    for series in all_series:
        result = run.once(series.name, partial(train_forecast, series, settings.seed))
        forecaster = AutoModelForTimeSeriesPrediction.from_pretrained(run.job(series.name).model_dir)
        run.save_model(forecaster, name=series.name)
        run.save_figure_data(f"forecast_{series.name}", result["figure"])
        error = f"{series.name}/mean_absolute_error"
        metrics[error] = result["mean_absolute_error"]
        metrics[f"{series.name}/last_value_mean_absolute_error"] = result["last_value"]
        baselines[error] = result["seasonal_naive"]
        goals.append(Goal(error, baselines[error], higher_is_better=False))

    # A document starts from nothing; in a stream, the prompt ends at a word boundary.
    prompt = "" if documents else texts.validation[0][:60].rpartition(" ")[0] + " "
    shown = (texts.validation[0] if documents else prompt)[:12]
    run.save_figure_data("one_hot", one_hot(data.tokenizer, shown))
    run.save_figure_data("next_characters", next_characters(model, data.tokenizer, prompt, TEMPERATURES))
    samples = {
        str(t): sample_text(model, data.tokenizer, 240, t, settings.seed, prompt[:20]) for t in TEMPERATURES
    }
    run.save_figure_data("samples", samples)
    run.report(texts.provenance, metrics, baselines, goals, main="bits_per_character")


def read_all(entries: tuple[str, ...]) -> list[Series]:
    """Returns the series of the setting `series`, under distinct names; the embedded one if it is empty."""
    if not entries:
        return [tea_sales()]
    all_series = []
    for entry in entries:
        path, _, period = entry.rpartition(":")
        if not path or not period.isdigit() or int(period) < 1:
            raise UserError(f"series '{entry}' must be PATH:PERIOD, for example sales.csv:12")
        all_series.append(read_series(path, int(period)))
    names = [series.name for series in all_series]
    return [
        replace(series, name=f"{series.name}_{index}" if names.count(series.name) > 1 else series.name)
        for index, series in enumerate(all_series)
    ]
