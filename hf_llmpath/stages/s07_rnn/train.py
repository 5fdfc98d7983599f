"""Trains the RNN, then measures how far its gradients reach and which unit tracks something readable."""

import math
from dataclasses import replace

from transformers import AutoModelForCausalLM

from ...data.sources import load_texts
from ...runs import Goal, Run
from ...training.probes import gradient_by_lag, hidden_states_of, readable_unit, sample_text
from ...training.recipes.character_model import CharacterData, CharacterModel, train_character_model
from . import RNNSettings

PROBED = 40_000  # characters of the validation split on which units are correlated with features


def train(settings: RNNSettings, run: Run) -> None:
    """Fills `run` with the model, its measurements, and the data of the pictures."""
    texts = load_texts(settings.dataset, text_column=settings.text_column)
    data = CharacterData.from_texts(texts, documents=False, byte_fallback=settings.byte_fallback)
    shape = CharacterModel(
        "rnn", settings.hidden_size, settings.embedding_size, 1, settings.dropout, settings.context
    )
    # Truncated back-propagation through time: the state carries over from window to window, but gradients
    # stop at the beginning of a window.
    recipe = replace(settings.training, carry_state=True)
    result = train_character_model(data, shape, recipe, run, "rnn", settings.seed)
    # A resumed run does not train again, so the model always comes from disk.
    model = AutoModelForCausalLM.from_pretrained(run.job("rnn").model_dir)
    run.save_model(model, data.tokenizer)

    run.progress.say("measuring gradients and units")
    lags = gradient_by_lag(model, data.validation, length=settings.context, seed=settings.seed)
    run.save_figure_data("gradient_by_lag", {"lag": list(range(len(lags))), "norm": lags})
    unit = readable_unit(model, data.tokenizer, data.validation[:PROBED])
    run.save_figure_data("readable_unit", unit)
    # The colored text shows all 480 characters; the heat map has room for the first 110.
    shown = hidden_states_of(model, data.tokenizer, data.validation[:480], first=unit["unit"])
    run.save_figure_data("hidden_states", shown)
    opening = texts.validation[0][:24].rpartition(" ")[0]  # the prompt ends with a whole word
    sample = sample_text(model, data.tokenizer, 400, 0.7, settings.seed, opening)
    run.save_figure_data("samples", {"0.7": sample})

    metrics = {
        name: result[name] for name in ("validation_loss", "bits_per_character", "perplexity", "parameters")
    }
    metrics |= {
        "training_seconds": result["seconds"],
        "readable_unit": unit["unit"],
        "readable_unit_correlation": abs(unit["correlation"]),  # the sign of a unit is arbitrary
        "gradient_norm_lag_1": lags[1],
        f"gradient_norm_lag_{len(lags) - 1}": lags[-1],
    }
    ngram = data.ngram_loss(5)
    # bits = nats / ln 2
    baselines = {"validation_loss": ngram, "bits_per_character": ngram / math.log(2)}
    goal = Goal("bits_per_character", baselines["bits_per_character"], higher_is_better=False)
    run.report(texts.provenance, metrics, baselines, [goal], main="bits_per_character")
