"""Trains RNN, GRU, and LSTM under equal conditions on the adding problem and on text, plus the main LSTM."""

import math
import statistics
from dataclasses import replace
from functools import partial
from typing import Any

from transformers import AutoModelForCausalLM

from ...data.sources import load_texts
from ...runs import Goal, Run, add_mean
from ...training.probes import gates_of, gradient_by_lag, sample_text
from ...training.recipe import Recipe
from ...training.recipes.character_model import (
    CharacterData,
    CharacterModel,
    hidden_size_for,
    train_character_model,
    training_windows,
)
from . import LSTMGRUSettings
from .adding_problem import SOLVED, train_adding

CELLS = ("rnn", "gru", "lstm")
RNN_STAYS_ABOVE = 0.15  # mean squared error; a cell that always answers 1 has an error of 1/6


def train(settings: LSTMGRUSettings, run: Run) -> None:
    """Fills `run` with the main model, the three models of the table, and their measurements."""
    texts = load_texts(settings.dataset, text_column=settings.text_column)
    data = CharacterData.from_texts(texts, documents=False, byte_fallback=settings.byte_fallback)
    # A text that is too short is rejected before anything is trained.
    training_windows(data.train, settings.training.batch_size, settings.context)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    metrics: dict[str, Any] = {}
    goals = []

    by_seed = [compare_adding(settings, run, seed) for seed in seeds]
    for cell in CELLS:
        results = [result[cell] for result in by_seed]
        name = f"adding/{cell}/mean_squared_error"
        add_mean(metrics, name, [result["mean_squared_error"] for result in results])
        metrics[f"adding/{cell}/steps"] = statistics.fmean(result["steps"] for result in results)
        limit = RNN_STAYS_ABOVE if cell == "rnn" else SOLVED
        # The RNN passes if it fails to solve the problem: the lesson depends on the contrast.
        goals.append(Goal(name, limit, higher_is_better=cell == "rnn"))
    run.save_figure_data("adding", {cell: by_seed[0][cell]["curve"] for cell in CELLS})

    models, results = {}, {}
    for cell in CELLS:
        # Steps of the cells differ in speed; the shares give each cell about the same training time.
        share = {"rnn": settings.rnn_share, "gru": settings.gru_share, "lstm": 1.0}[cell]
        steps = max(1, round(share * settings.training.steps))
        # More gates mean more weights per unit; the hidden size brings each cell near `parameters` weights.
        hidden = hidden_size_for(settings.parameters, cell, len(data.tokenizer), settings.embedding_size)
        shape, recipe = conditions(settings, cell, hidden, steps)
        seeded = [train_character_model(data, shape, recipe, run, f"{cell}-{s}", s) for s in seeds]
        for name in ("validation_loss", "bits_per_character"):
            add_mean(metrics, f"{cell}/{name}", [result[name] for result in seeded])
        metrics[f"{cell}/parameters"] = seeded[0]["parameters"]
        metrics[f"{cell}/seconds"] = statistics.fmean(result["seconds"] for result in seeded)
        results[cell] = seeded[0]
        # A resumed run does not train again, so the models always come from disk.
        models[cell] = AutoModelForCausalLM.from_pretrained(run.job(f"{cell}-{settings.seed}").model_dir)
        run.save_model(models[cell], data.tokenizer, name=cell)

    main, result = models["lstm"], results["lstm"]
    if settings.hidden_size is not None:
        shape, recipe = conditions(settings, "lstm", settings.hidden_size, settings.main_steps)
        result = train_character_model(data, shape, recipe, run, "main", settings.seed)
        main = AutoModelForCausalLM.from_pretrained(run.job("main").model_dir)
    run.save_model(main, data.tokenizer)
    metrics |= {
        name: result[name] for name in ("validation_loss", "bits_per_character", "perplexity", "parameters")
    }
    metrics["training_seconds"] = result["seconds"]
    if texts.known == "tiny_shakespeare":  # a fixed loss is a goal for one known text only
        goals += [
            Goal("validation_loss", 1.75, higher_is_better=False),
            Goal("training_seconds", 180, higher_is_better=False),
        ]

    run.progress.say("measuring gates and memory")
    memory = {
        cell: gradient_by_lag(model, data.validation, length=settings.context, seed=settings.seed)
        for cell, model in models.items()
    }
    run.save_figure_data("memory", memory)
    run.save_figure_data("gates", gates_of(main, data.tokenizer, data.validation[:120]))
    opening = texts.validation[0][:24].rpartition(" ")[0]  # the prompt ends with a whole word
    sample = sample_text(main, data.tokenizer, 400, 0.7, settings.seed, opening)
    run.save_figure_data("samples", {"0.7": sample})
    ngram = data.ngram_loss(5)
    baselines = {
        "validation_loss": ngram,
        "bits_per_character": ngram / math.log(2),  # bits = nats / ln 2
        "perplexity": math.exp(ngram),
    }
    # The error of always answering 1 is the variance of a sum of two uniform numbers, 2 * 1/12.
    baselines |= {f"adding/{cell}/mean_squared_error": 1 / 6 for cell in CELLS}
    run.report(texts.provenance, metrics, baselines, goals, main="adding/lstm/mean_squared_error")


def compare_adding(settings: LSTMGRUSettings, run: Run, seed: int) -> dict[str, dict[str, Any]]:
    """Returns each cell's result on the adding problem.

    LSTM and GRU stop when they have solved it. The plain RNN does not solve it and gets as many steps as the
    slower of the other two.
    """
    results: dict[str, dict[str, Any]] = {}
    for cell in ("lstm", "gru", "rnn"):  # the RNN comes last, when the steps of the others are known
        steps = settings.adding_steps
        if cell == "rnn":
            steps = max(result["steps"] for result in results.values())
        work = partial(train_adding, settings, cell, steps, seed)
        results[cell] = run.once(f"adding-{cell}-{seed}", work)
    return results


def conditions(
    settings: LSTMGRUSettings, cell: str, hidden_size: int, steps: int
) -> tuple[CharacterModel, Recipe]:
    """Returns a cell's model and recipe; the plain RNN has its own embedding range and learning rate."""
    recipe = replace(settings.training, steps=steps, carry_state=True)
    initial = settings.initializer_range
    if cell == "rnn":
        initial, rate = settings.rnn_initializer_range, settings.rnn_learning_rate
        recipe = replace(recipe, learning_rate=rate, rate_setting="rnn_learning_rate")
    embedding, dropout, context = settings.embedding_size, settings.dropout, settings.context
    return CharacterModel(cell, hidden_size, embedding, 1, dropout, context, initial), recipe
