"""Pretrains an encoder on unlabeled text, then fine-tunes it, and an untrained one, on growing numbers of
labels.
"""

import math
import statistics
from pathlib import Path
from typing import Any

from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, set_seed

from ...data.batches.token_rows import TokenRows
from ...data.sources import load_texts
from ...data.tables import LABEL_COLUMNS, TEXT_COLUMNS, Table, load_table
from ...errors import UserError
from ...models.configuration_bert import LLMPathBertConfig
from ...models.modeling_bert import LLMPathBertForMaskedLM
from ...runs import Goal, Run, add_mean
from ...training.baselines import linear_text_accuracy
from ...training.recipes.classifier import balanced_rows, fine_tune
from ...training.recipes.masked_language_model import MaskedTexts, encode, fill_masks, pretrain
from ...training.trainer import Recipe
from . import PretrainingSettings
from . import masking_examples as pictures

ARMS = ("pretrained", "random")  # what a fine-tuning starts from
AHEAD = 0.05  # at 300 labels, in accuracy
AHEAD_OF_LINEAR = 0.02  # with all labels
CLASSIFIER_DROPOUT = 0.1


def train(settings: PretrainingSettings, run: Run) -> None:
    """Fills `run` with the masked language model, two classifiers and their numbers."""
    table = load_table(
        settings.dataset,
        {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS},
        {"text": settings.text_column, "label": settings.label_column},
        embedded=("world/reviews",),
    )
    counts = _counts(settings, table)
    corpus = load_texts(settings.corpus, sample_by="line", stream=True) if settings.corpus else None
    run.progress.say("training the tokenizer")
    texts = MaskedTexts.from_texts(
        table.train["text"],
        table.held_out["text"],
        corpus.train if corpus else (),
        settings.tokenizer,
        settings.vocab_size,
        settings.context,
        settings.mask_rate,
        run.job("corpus").folder,
    )
    config = _config(settings, texts)
    recipe = Recipe(
        settings.max_steps,
        settings.batch_size,
        settings.learning_rate,
        weight_decay=0.01,
        adam_beta2=0.98,
        evaluations=min(8, settings.max_steps),
    )
    job = run.job("pretraining")
    pretrained = pretrain(texts, config, recipe, job, settings.seed)
    model = AutoModelForMaskedLM.from_pretrained(job.model_dir)
    set_seed(settings.seed)
    untrained = LLMPathBertForMaskedLM(config)  # the weights that the pretraining began with
    run.save_model(model, texts.tokenizer)
    run.save_model(untrained, texts.tokenizer, name="untrained")

    scores = _label_efficiency(settings, run, table, texts, config, job.model_dir, counts)
    _save_classifiers(settings, run, texts, counts)
    sentences = pictures.sentences_of(settings.dataset, table.held_out["text"], texts.tokenizer)
    both = {"before": untrained, "after": model}
    fills = [
        {"text": text} | {when: fill_masks(m, texts.tokenizer, text)[0] for when, m in both.items()}
        for text in sentences
    ]
    run.save_figure_data("fills", fills)
    run.save_figure_data("masking", pictures.maskings(texts, table.held_out["text"][0], settings.seed))
    run.save_figure_data("label_efficiency", scores)
    _report(settings, run, table, corpus, texts, pretrained, scores)


def _counts(settings: PretrainingSettings, table: Table) -> list[int]:
    """The numbers of labels to fine-tune on, in order; the last one may be all."""
    rows = len(table.train)
    wanted = sorted({count or rows for count in settings.label_counts})
    if not wanted:
        raise UserError(
            "label_counts is empty; give numbers of labeled texts, for example --set label_counts=100,300"
        )
    if wanted[-1] > rows:
        raise UserError(
            f"label_counts has {wanted[-1]:,}; {table.name} has {rows:,} labeled training texts (0 is all)"
        )
    if wanted[0] < len(table.classes):
        raise UserError(
            f"label_counts has {wanted[0]}; {len(table.classes)} classes need at least as many labels"
        )
    return wanted


def _config(settings: PretrainingSettings, texts: MaskedTexts) -> LLMPathBertConfig:
    return LLMPathBertConfig(
        vocab_size=len(texts.tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        intermediate_size=settings.intermediate_size,
        position_embedding_type=settings.position_embedding_type,
        norm_position=settings.norm_position,
        max_position_embeddings=settings.context,
        type_vocab_size=0,
        dropout=settings.dropout,
        attention_dropout=settings.dropout,
        classifier_pooling="mean",
        classifier_dropout=CLASSIFIER_DROPOUT,
        initializer_range=settings.initializer_range,
        layer_norm_eps=1e-5,
        pad_token_id=texts.tokenizer.pad_token_id,
        mask_token_id=texts.tokenizer.mask_token_id,
    )


def _label_efficiency(
    settings: PretrainingSettings,
    run: Run,
    table: Table,
    texts: MaskedTexts,
    config: LLMPathBertConfig,
    pretrained: Path,
    counts: list[int],
) -> dict[str, Any]:
    """Accuracy on the held-out texts, a list with one entry per seed for every starting point and number
    of labels.
    """
    classes = ["negative", "positive"] if settings.dataset == "world/reviews" else table.classes
    labels = table.labels("train")
    split = next(name for name, rows in table.splits.items() if rows is table.held_out)
    held_out = (texts.validation, table.labels(split))
    rows = encode(texts.tokenizer, table.train["text"], settings.context)
    scores: dict[str, Any] = {"counts": counts, "linear": [], **{arm: [] for arm in ARMS}}
    for count in counts:
        found: dict[str, list[float]] = {name: [] for name in ("linear", *ARMS)}
        for seed in range(settings.seed, settings.seed + settings.seeds):
            chosen = balanced_rows(labels, count, seed)
            own_labels = [labels[row] for row in chosen]
            own = (TokenRows([rows[row] for row in chosen]), own_labels)
            recipe = _fine_tuning(settings, count)
            for arm in ARMS:
                start = pretrained if arm == "pretrained" else config
                job = run.job(f"{arm}-{count}-{seed}")
                result = fine_tune(start, classes, own, held_out, texts.tokenizer, recipe, job, seed)
                found[arm].append(result["accuracy"])
            if count < len(labels) or not found["linear"]:  # all rows are the same rows for every seed
                run.progress.say("fitting the linear baseline")
                words = [table.train[int(row)]["text"] for row in chosen]
                found["linear"].append(
                    linear_text_accuracy(words, own_labels, table.held_out["text"], held_out[1])
                )
        for name, values in found.items():
            scores[name].append(values)
    return scores


def _fine_tuning(settings: PretrainingSettings, count: int) -> Recipe:
    batch_size = min(settings.fine_tuning_batch_size, max(8, count // 20), count)
    steps = max(settings.fine_tuning_steps, settings.fine_tuning_epochs * (count // batch_size))
    return Recipe(
        steps, batch_size, settings.fine_tuning_learning_rate, weight_decay=0.01, adam_beta2=0.98, saves=1,
        rate_setting="fine_tuning_learning_rate",
    )  # fmt: skip


def _save_classifiers(settings: PretrainingSettings, run: Run, texts: MaskedTexts, counts: list[int]) -> None:
    """The classifiers of the first seed on 300 labels (or the nearest number to it), for the page."""
    shown = min(counts, key=lambda count: abs(count - 300))
    for arm in ARMS:
        folder = run.job(f"{arm}-{shown}-{settings.seed}").model_dir
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        run.save_model(model, texts.tokenizer, name=f"classifier-{arm}")


def _report(
    settings: PretrainingSettings,
    run: Run,
    table: Table,
    corpus: Any,
    texts: MaskedTexts,
    pretrained: dict[str, Any],
    scores: dict[str, Any],
) -> None:
    unigram_loss, unigram_accuracy = texts.unigram_loss()
    metrics: dict[str, Any] = {}
    baselines = {
        "validation_loss": unigram_loss,
        "perplexity": math.exp(unigram_loss),
        "masked_accuracy": unigram_accuracy,
    }
    goals = [Goal("perplexity", baselines["perplexity"], higher_is_better=False)]
    main = ""
    for place, count in enumerate(scores["counts"]):
        is_all = count == len(table.train)
        name = f"accuracy_{'all' if is_all else count}"
        own, other, linear = (scores[arm][place] for arm in ("pretrained", "random", "linear"))
        add_mean(metrics, name, own)
        add_mean(metrics, f"random_initialization/{name}", other)
        baselines[name] = statistics.fmean(other)
        baselines[f"linear/{name}"] = statistics.fmean(linear)
        if count == 300:
            goals.append(Goal(name, baselines[name] + AHEAD, higher_is_better=True))
        if is_all:
            goals.append(Goal(name, baselines[f"linear/{name}"] + AHEAD_OF_LINEAR, higher_is_better=True))
        main = name if not main or count == 300 else main
    names = ("validation_loss", "perplexity", "masked_accuracy", "perplexity_before", "parameters", "epochs")
    metrics |= {name: pretrained[name] for name in names} | {"training_seconds": pretrained["seconds"]}
    dataset = table.provenance
    if corpus is not None:
        dataset["corpus"] = corpus.provenance
    run.report(dataset, metrics, baselines, goals, main)
