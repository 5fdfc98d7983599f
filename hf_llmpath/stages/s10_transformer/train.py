"""Trains the encoder-decoder on the toy tasks and the encoder on labeled texts, and keeps what they
looked at.
"""

import statistics
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer

from ...data.algorithmic import TOY_TASKS, toy_pairs
from ...data.batches.token_rows import TokenRows
from ...data.tables import LABEL_COLUMNS, TEXT_COLUMNS, Table, load_table
from ...data.tokenizers.word_level import train_word_tokenizer
from ...errors import UserError
from ...models.configuration_transformer import LLMPathTransformerConfig
from ...models.layers_positions import RotaryPositions, sinusoidal_positions
from ...runs import Goal, Run, add_mean
from ...training.attention_probes import attention_maps, attention_rollout
from ...training.baselines import linear_text_accuracy
from ...training.recipes.classifier import fine_tune
from ...training.threads import one_thread
from ...training.trainer import Recipe
from . import TransformerSettings
from .transduction import train_transducer

READER = "reader"  # the encoder that reads reviews, in models/
GOALS = {"exact_match": 0.99, "accuracy": 0.97}
LONGEST_SHOWN = 40  # tokens of the text whose attention is drawn
SHOWN_SOURCES = {"reverse": "reverse: stream", "sort": "sort: transformer", "date": "date: 3rd of march 1998"}


@one_thread()
def train(settings: TransformerSettings, run: Run) -> None:
    """Fills `run` with both models, their numbers, and the attention that the pictures are drawn from."""
    if len(set(settings.tasks)) != len(settings.tasks) or not settings.tasks:
        raise UserError(
            f"setting tasks is '{','.join(settings.tasks)}'; it takes one or more of {', '.join(TOY_TASKS)}"
        )
    columns = {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS}
    named = {"text": settings.text_column, "label": settings.label_column}
    table = load_table(settings.dataset, columns, named, embedded=("world/reviews",))
    measured_on = "test" if "test" in table.splits else "validation"
    labels = {
        split: table.labels(split) for split in ("train", measured_on)
    }  # refuses a wrong one before it trains
    seeds = range(settings.seed, settings.seed + settings.seeds)
    metrics: dict[str, Any] = {}
    goals = []

    results = [_transducer(settings, run, "encoder-decoder", {}, seed) for seed in seeds]
    for name in [name for name in results[0] if "/" in name]:
        add_mean(metrics, name, [result[name] for result in results])
        if name.endswith("/exact_match"):
            goals.append(Goal(name, GOALS["exact_match"], higher_is_better=True))
    metrics["parameters"] = results[0]["parameters"]
    seconds = {"encoder_decoder": statistics.fmean(result["seconds"] for result in results)}
    for variant in settings.comparisons:
        result = _transducer(settings, run, variant, _changes(variant), settings.seed)
        metrics[f"{variant}/exact_match"] = statistics.fmean(
            result[f"{task}/exact_match"] for task in settings.tasks
        )
    if settings.comparisons:
        metrics["exact_match"] = statistics.fmean(
            results[0][f"{task}/exact_match"] for task in settings.tasks
        )

    results = [_reader(settings, run, table, measured_on, seed) for seed in seeds]
    add_mean(metrics, "accuracy", [result["accuracy"] for result in results])
    seconds[READER] = statistics.fmean(result["seconds"] for result in results)
    metrics |= {f"{name}/seconds": value for name, value in seconds.items()}
    if table.name == "world/reviews":
        goals.append(Goal("accuracy", GOALS["accuracy"], higher_is_better=True))

    run.progress.say("fitting the linear baseline")
    held_out = table.splits[measured_on]
    rows = table.train["text"], labels["train"], held_out["text"], labels[measured_on]
    baselines = {"accuracy": linear_text_accuracy(*rows)}
    metrics["bag_of_words/accuracy"] = linear_text_accuracy(*rows, longest=1)
    run.progress.say("looking at attention")
    metrics["reader/parameters"] = _save_models(run, settings)
    _save_figure_data(run, settings, list(held_out["text"]))
    run.report(
        dataset=table.provenance | {"measured_on": measured_on},
        metrics=metrics,
        baselines=baselines,
        goals=goals,
        main="accuracy",
    )


def _changes(variant: str) -> dict[str, Any]:
    return {"norm_first": False} if variant == "post-norm" else {"position_embedding_type": variant}


def _transducer(
    settings: TransformerSettings, run: Run, name: str, changes: dict[str, Any], seed: int
) -> dict:
    shape = {
        name: getattr(settings, name)
        for name in (
            "hidden_size",
            "intermediate_size",
            "num_encoder_layers",
            "num_decoder_layers",
            "num_attention_heads",
            "position_embedding_type",
            "norm_first",
        )
    }
    recipe = Recipe(settings.max_steps, settings.batch_size, settings.learning_rate)
    shape |= {"max_position_embeddings": 64} | changes
    return train_transducer(settings.tasks, shape, recipe, run, f"{name}-{seed}", seed, settings.examples)


def _reader(
    settings: TransformerSettings, run: Run, table: Table, measured_on: str, seed: int
) -> dict[str, Any]:
    job = run.job(f"{READER}-{seed}")
    if job.done:
        return job.result
    run.progress.say("reading the texts into tokens")
    texts = {split: list(table.splits[split]["text"]) for split in ("train", measured_on)}
    tokenizer = train_word_tokenizer(texts["train"], settings.vocab_size, longest=settings.context)
    rows = {
        split: (TokenRows(tokenizer(texts[split], truncation=True)["input_ids"]), table.labels(split))
        for split in texts
    }
    config = LLMPathTransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.reader_hidden_size,
        intermediate_size=2 * settings.reader_hidden_size,
        num_encoder_layers=settings.reader_layers,
        num_decoder_layers=0,
        num_attention_heads=settings.num_attention_heads,
        position_embedding_type=settings.position_embedding_type,
        norm_first=settings.norm_first,
        dropout=settings.reader_dropout,
        max_position_embeddings=settings.context,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    recipe = Recipe(
        settings.reader_steps,
        settings.reader_batch_size,
        settings.reader_learning_rate,
        weight_decay=0.01,
        rate_setting="reader_learning_rate",
    )
    classes = ["negative", "positive"] if table.name == "world/reviews" else table.classes
    return fine_tune(config, classes, rows["train"], rows[measured_on], tokenizer, recipe, job, seed)


def _save_models(run: Run, settings: TransformerSettings) -> int:
    """Saves both models; returns the number of weights of the reader."""
    for auto_class, part_name, name in (
        (AutoModelForSeq2SeqLM, "encoder-decoder", None),
        (AutoModelForSequenceClassification, READER, READER),
    ):
        folder = run.job(f"{part_name}-{settings.seed}").model_dir
        model = auto_class.from_pretrained(folder)
        run.save_model(model, AutoTokenizer.from_pretrained(folder), name=name)
    return model.num_parameters()


def _save_figure_data(run: Run, settings: TransformerSettings, texts: list[str]) -> None:
    """Attention on one answer and on one text, and positional encodings."""
    job = run.job(f"encoder-decoder-{settings.seed}")
    model, tokenizer = (
        AutoModelForSeq2SeqLM.from_pretrained(job.model_dir),
        AutoTokenizer.from_pretrained(job.model_dir),
    )
    source = SHOWN_SOURCES[settings.tasks[-1]]
    maps = attention_maps(model, tokenizer, source)
    run.save_figure_data("rewriting", maps.as_data() | {"text": source})
    run.save_figure_data("mistakes", job.result["mistakes"])
    examples = {task: toy_pairs(task, "test", 4) for task in settings.tasks}
    run.save_figure_data(
        "examples", {task: [source for source, _ in pairs] for task, pairs in examples.items()}
    )

    folder = run.job(f"{READER}-{settings.seed}").model_dir
    reader, words = (
        AutoModelForSequenceClassification.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    lengths = [len(row) for row in words(texts[:200])["input_ids"]]
    fitting = [text for text, length in zip(texts, lengths, strict=False) if 12 <= length <= LONGEST_SHOWN]
    text = next(
        (text for text in fitting if "but" in text.split() or "not" in text.split()), (fitting or texts)[0]
    )
    maps = attention_maps(reader, words, text)
    rollout = attention_rollout(maps.weights["encoder"]).round(4).tolist()
    run.save_figure_data(
        "reading", maps.as_data() | {"text": text, "predicted": maps.predicted, "rollout": rollout}
    )
    run.save_figure_data(
        "positions", position_data(settings.hidden_size, settings.hidden_size // settings.num_attention_heads)
    )


def position_data(width: int, head_dim: int, positions: int = 100) -> dict[str, Any]:
    """Sinusoidal encodings `(positions, width)`, and how alike two positions are by their distance."""
    table = sinusoidal_positions(torch.arange(positions), width)
    cosines = RotaryPositions(head_dim)(torch.arange(positions).unsqueeze(0))[0][0, 0]
    alike = torch.nn.functional.cosine_similarity(table[:1], table)
    return {
        "table": table[:60].numpy().round(4).tolist(),
        "alike": {
            "sinusoidal": alike.numpy().round(4).tolist(),
            "rotary": cosines.mean(-1).numpy().round(4).tolist(),
        },
    }
