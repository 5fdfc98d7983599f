"""Trains RNN, GRU and LSTM under equal conditions, on text and on the adding problem, and the main LSTM."""

import math
import statistics
from typing import Any

from transformers import AutoModelForCausalLM

from ...data.sources import load_texts
from ...runs import Goal, Run, add_mean
from ...training.probes import gates_of, gradient_by_lag, sample_text
from ...training.recipes.character_model import (
    CharacterData,
    CharacterModel,
    hidden_size_for,
    train_character_model,
    training_windows,
)
from ...training.trainer import Recipe
from . import LSTMGRUSettings
from .adding_problem import train_adding

CELLS = ("rnn", "gru", "lstm")
ADDING_GOAL = 0.01
RNN_STAYS_ABOVE = 0.15  # always answering 1 has 1/6


def train(settings: LSTMGRUSettings, run: Run) -> None:
    """Fills `run` with the main model, the three of the table, and their numbers."""
    texts = load_texts(settings.dataset, text_column=settings.text_column)
    data = CharacterData.from_texts(texts, documents=False, byte_fallback=settings.byte_fallback)
    training_windows(
        data.train, settings.batch_size, settings.context
    )  # refuses a short text before anything is trained
    seeds = range(settings.seed, settings.seed + settings.seeds)
    metrics: dict[str, Any] = {}
    goals = []

    trained = [_adding(settings, run, seed) for seed in seeds]
    for cell in CELLS:
        results = [result[cell] for result in trained]
        add_mean(metrics, f"adding/{cell}/mean_squared_error", [r["mean_squared_error"] for r in results])
        metrics[f"adding/{cell}/steps"] = statistics.fmean(r["steps"] for r in results)
        if cell == "rnn":
            goals.append(Goal(f"adding/{cell}/mean_squared_error", RNN_STAYS_ABOVE, higher_is_better=True))
        else:
            goals.append(Goal(f"adding/{cell}/mean_squared_error", ADDING_GOAL, higher_is_better=False))
    run.save_figure_data("adding", {cell: trained[0][cell]["curve"] for cell in CELLS})

    for cell in CELLS:
        results = [_table_model(settings, run, data, cell, seed) for seed in seeds]
        for name in ("validation_loss", "bits_per_character"):
            add_mean(metrics, f"{cell}/{name}", [r[name] for r in results])
        metrics[f"{cell}/parameters"] = results[0]["parameters"]
        metrics[f"{cell}/seconds"] = statistics.fmean(r["seconds"] for r in results)
        model = AutoModelForCausalLM.from_pretrained(run.job(f"{cell}-{settings.seed}").model_dir)
        run.save_model(model, data.tokenizer, name=cell)

    main, result = _main_model(settings, run, data)
    run.save_model(main, data.tokenizer)
    metrics |= {
        name: result[name] for name in ("validation_loss", "bits_per_character", "perplexity", "parameters")
    }
    metrics["training_seconds"] = result["seconds"]
    if texts.known == "tiny_shakespeare":
        goals += [
            Goal("validation_loss", 1.75, higher_is_better=False),
            Goal("training_seconds", 180, higher_is_better=False),
        ]

    run.progress.say("measuring gates and memory")
    memory = {}
    for cell in CELLS:
        model = AutoModelForCausalLM.from_pretrained(run.job(f"{cell}-{settings.seed}").model_dir)
        memory[cell] = gradient_by_lag(model, data.validation, length=settings.context, seed=settings.seed)
    run.save_figure_data("memory", memory)
    run.save_figure_data("gates", gates_of(main, data.tokenizer, data.validation[:120]))
    opening = texts.validation[0][:24].rpartition(" ")[0]
    run.save_figure_data(
        "samples", {"0.7": sample_text(main, data.tokenizer, 400, 0.7, settings.seed, opening)}
    )
    ngram = data.ngram_loss(5)
    baselines = {
        "validation_loss": ngram,
        "bits_per_character": ngram / math.log(2),
        "perplexity": math.exp(ngram),
    }
    baselines |= {f"adding/{cell}/mean_squared_error": 1 / 6 for cell in CELLS}
    run.report(texts.provenance, metrics, baselines, goals, main="adding/lstm/mean_squared_error")


def _adding(settings: LSTMGRUSettings, run: Run, seed: int) -> dict[str, dict[str, Any]]:
    """Each cell's result on the adding problem. LSTM and GRU stop when they have solved it; the plain
    RNN, which does not, gets as many steps as the slower of them."""
    results: dict[str, dict[str, Any]] = {}
    for cell in ("lstm", "gru", "rnn"):
        results[cell] = train_adding(
            cell,
            settings.adding_length,
            settings.adding_steps if cell != "rnn" else max(result["steps"] for result in results.values()),
            run,
            f"adding-{cell}-{seed}",
            seed,
            learning_rate=settings.adding_learning_rate,
            stop_below=ADDING_GOAL / 2,
        )
    return results


def _shape(settings: LSTMGRUSettings, cell: str, hidden_size: int) -> CharacterModel:
    return CharacterModel(
        cell,
        hidden_size,
        settings.embedding_size,
        1,
        settings.dropout,
        settings.context,
        settings.rnn_initializer_range if cell == "rnn" else settings.initializer_range,
    )


def _recipe(settings: LSTMGRUSettings, cell: str, steps: int) -> Recipe:
    rate = "rnn_learning_rate" if cell == "rnn" else "learning_rate"
    return Recipe(
        steps,
        settings.batch_size,
        getattr(settings, rate),
        weight_decay=0.01,
        carry_state=True,
        rate_setting=rate,
    )


def _table_model(
    settings: LSTMGRUSettings, run: Run, data: CharacterData, cell: str, seed: int
) -> dict[str, Any]:
    hidden = hidden_size_for(settings.parameters, cell, len(data.tokenizer), settings.embedding_size)
    share = {"rnn": settings.rnn_share, "gru": settings.gru_share, "lstm": 1.0}[cell]
    recipe = _recipe(settings, cell, max(1, round(share * settings.max_steps)))
    return train_character_model(data, _shape(settings, cell, hidden), recipe, run, f"{cell}-{seed}", seed)


def _main_model(settings: LSTMGRUSettings, run: Run, data: CharacterData) -> tuple[Any, dict[str, Any]]:
    """The LSTM that is saved as the stage's model: the table's, or a larger one trained longer."""
    if settings.hidden_size is None:
        job = run.job(f"lstm-{settings.seed}")
        return AutoModelForCausalLM.from_pretrained(job.model_dir), job.result
    recipe = _recipe(settings, "lstm", settings.main_steps)
    shape = _shape(settings, "lstm", settings.hidden_size)
    result = train_character_model(data, shape, recipe, run, "main", settings.seed)
    return AutoModelForCausalLM.from_pretrained(run.job("main").model_dir), result
