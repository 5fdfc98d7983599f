"""Trains an encoder-decoder on toy tasks and an encoder on labeled texts, and records their attention."""

import statistics
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer

from ...data.algorithmic import TOY_TASKS, toy_pairs
from ...data.batches.token_rows import TokenRows
from ...data.tables import LABEL_COLUMNS, TEXT_COLUMNS, Table, load_table
from ...data.tokenizers.word_level import train_word_tokenizer
from ...errors import UserError
from ...models.configuration_transformer import LLMPathTransformerConfig
from ...models.layers_positions import RotaryPositions, sinusoidal_positions
from ...runs import Goal, Job, Run, add_mean
from ...training.attention_probes import attention_maps, attention_rollout
from ...training.baselines import linear_text_accuracy
from ...training.hardware import one_thread
from ...training.recipes.classifier import fine_tune
from . import TransformerSettings
from .transduction import train_transducer

WRITER, READER = "encoder-decoder", "reader"  # the reader, an encoder for reviews, is saved in models/
GOALS = {"exact_match": 0.99, "accuracy": 0.97}
LONGEST_SHOWN = 40  # maximum number of tokens of the text whose attention is drawn
SHOWN_SOURCES = {"reverse": "reverse: stream", "sort": "sort: transformer", "date": "date: 3rd of march 1998"}


@one_thread()
def train(settings: TransformerSettings, run: Run) -> None:
    """Fills `run` with both models, their measurements, and the attention for the pictures."""
    if len(set(settings.tasks)) != len(settings.tasks) or not settings.tasks:
        raise UserError(
            f"setting tasks is '{','.join(settings.tasks)}'; it takes one or more of {', '.join(TOY_TASKS)}"
        )
    columns = {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS}
    named = {"text": settings.text_column, "label": settings.label_column}
    table = load_table(settings.dataset, columns, named, embedded=("world/reviews",))
    measured_on = "test" if "test" in table.splits else "validation"
    # A wrong label is rejected before anything is trained.
    labels = {split: table.labels(split) for split in ("train", measured_on)}
    seeds = range(settings.seed, settings.seed + settings.seeds)
    metrics: dict[str, Any] = {}
    goals = []

    results = [run.once(f"{WRITER}-{seed}", partial(train_transducer, settings, {}, seed)) for seed in seeds]
    for name in [name for name in results[0] if "/" in name]:  # the scores, named TASK/METRIC
        add_mean(metrics, name, [result[name] for result in results])
        if name.endswith("/exact_match"):
            goals.append(Goal(name, GOALS["exact_match"], higher_is_better=True))
    metrics["parameters"] = results[0]["parameters"]
    seconds = {"encoder_decoder": statistics.fmean(result["seconds"] for result in results)}

    def over_tasks(result: dict[str, Any]) -> float:
        return statistics.fmean(result[f"{task}/exact_match"] for task in settings.tasks)

    for variant in settings.comparisons:
        changes = {"norm_first": False} if variant == "post-norm" else {"position_embedding_type": variant}
        train_variant = partial(train_transducer, settings, changes, settings.seed)
        metrics[f"{variant}/exact_match"] = over_tasks(run.once(f"{variant}-{settings.seed}", train_variant))
    if settings.comparisons:  # the main model over all tasks, to compare the variants with
        metrics["exact_match"] = over_tasks(results[0])

    results = [
        run.once(f"{READER}-{seed}", partial(train_reader, settings, table, measured_on, seed))
        for seed in seeds
    ]
    add_mean(metrics, "accuracy", [result["accuracy"] for result in results])
    seconds[READER] = statistics.fmean(result["seconds"] for result in results)
    metrics |= {f"{name}/seconds": value for name, value in seconds.items()}
    if table.name == "world/reviews":
        goals.append(Goal("accuracy", GOALS["accuracy"], higher_is_better=True))

    run.progress.say("fitting the linear baseline")
    held_out = table.splits[measured_on]
    rows = table.train["text"], labels["train"], held_out["text"], labels[measured_on]
    baselines = {"accuracy": linear_text_accuracy(*rows)}
    # Single words miss negations, which the pairs of words in the baseline catch.
    metrics["bag_of_words/accuracy"] = linear_text_accuracy(*rows, longest=1)
    run.progress.say("looking at attention")
    show_writer(settings, run)
    metrics["reader/parameters"] = show_reader(settings, run, list(held_out["text"]))
    run.save_figure_data(
        "positions", position_data(settings.hidden_size, settings.hidden_size // settings.num_attention_heads)
    )
    dataset = table.provenance | {"measured_on": measured_on}
    run.report(dataset, metrics, baselines, goals, main="accuracy")


def train_reader(
    settings: TransformerSettings, table: Table, measured_on: str, seed: int, job: Job
) -> dict[str, Any]:
    """Trains a classifier on the texts of `table`, from random weights, and measures it (see `fine_tune`)."""
    job.progress.say("splitting the texts into tokens")
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
        num_decoder_layers=0,  # an encoder alone
        num_attention_heads=settings.num_attention_heads,
        position_embedding_type=settings.position_embedding_type,
        norm_first=settings.norm_first,
        dropout=settings.reader_dropout,
        max_position_embeddings=settings.context,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    classes = ["negative", "positive"] if table.name == "world/reviews" else table.classes
    return fine_tune(
        config, classes, rows["train"], rows[measured_on], tokenizer, settings.reading, job, seed
    )


def show_writer(settings: TransformerSettings, run: Run) -> None:
    """Saves the encoder-decoder, its attention on one answer, its mistakes, and examples of the tasks."""
    # A resumed run does not train again, so the model always comes from disk.
    job = run.job(f"{WRITER}-{settings.seed}")
    model = AutoModelForSeq2SeqLM.from_pretrained(job.model_dir)
    tokenizer = AutoTokenizer.from_pretrained(job.model_dir)
    run.save_model(model, tokenizer)
    source = SHOWN_SOURCES[settings.tasks[-1]]
    run.save_figure_data("rewriting", attention_maps(model, tokenizer, source).as_data() | {"text": source})
    run.save_figure_data("mistakes", job.result["mistakes"])
    examples = {task: [source for source, _ in toy_pairs(task, "test", 4)] for task in settings.tasks}
    run.save_figure_data("examples", examples)


def show_reader(settings: TransformerSettings, run: Run, texts: list[str]) -> int:
    """Saves the reader and its attention on one of `texts`, and returns the reader's number of weights."""
    folder = run.job(f"{READER}-{settings.seed}").model_dir
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    run.save_model(model, tokenizer, name=READER)
    lengths = [len(row) for row in tokenizer(texts[:200])["input_ids"]]
    fitting = [text for text, length in zip(texts, lengths, strict=False) if 12 <= length <= LONGEST_SHOWN]
    # A contrast or a negation shows best what attention adds to a bag of words.
    telling = (text for text in fitting if "but" in text.split() or "not" in text.split())
    text = next(telling, (fitting or texts)[0])
    maps = attention_maps(model, tokenizer, text)
    # (layers, heads, length, length) -> (length, length)
    rollout = attention_rollout(maps.weights["encoder"]).round(4).tolist()
    run.save_figure_data(
        "reading", maps.as_data() | {"text": text, "predicted": maps.predicted, "rollout": rollout}
    )
    return model.num_parameters()


def position_data(width: int, head_dim: int, positions: int = 100) -> dict[str, Any]:
    """Computes sinusoidal encodings and the similarity of two positions by their distance.

    Args:
        width: the width of the sinusoidal encodings.
        head_dim: the width of an attention head, which rotary positions rotate.
        positions: the number of positions, hence of distances.

    Returns:
        A dictionary with `table`, the encodings of the first 60 positions, `(60, width)`, and `alike`, the
        similarity at each distance, `(positions,)`, for each kind of positions.
    """
    table = sinusoidal_positions(torch.arange(positions), width)  # (positions, width)
    # (1, 1, positions, head_dim) -> (positions, head_dim): cos(p θ_i), the cosines of the rotation angles.
    cosines = RotaryPositions(head_dim)(torch.arange(positions).unsqueeze(0))[0][0, 0]
    # Both are (positions,). Sinusoidal: the cosine of encoding 0, (1, width), with all, (positions, width).
    # Rotary: a vector with pairs of equal length, turned by p positions, has the cosine mean_i cos(p θ_i)
    # with itself.
    similarity = {"sinusoidal": F.cosine_similarity(table[:1], table), "rotary": cosines.mean(-1)}
    return {
        "table": table[:60].numpy().round(4).tolist(),
        "alike": {name: values.numpy().round(4).tolist() for name, values in similarity.items()},
    }
