"""Measures what pretraining is worth: fine-tunes pretrained and random weights on growing label counts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...data.batches.token_rows import TokenRows
from ...data.tables import Table
from ...errors import UserError
from ...models.configuration_bert import LLMPathBertConfig
from ...runs import Run
from ...training.baselines import linear_text_accuracy
from ...training.recipe import Recipe
from ...training.recipes.classifier import balanced_rows, fine_tune
from ...training.recipes.masked_language_model import MaskedTexts, encode
from . import PretrainingSettings

ARMS = ("pretrained", "random")  # what a fine-tuning starts from


def label_counts(settings: PretrainingSettings, table: Table) -> list[int]:
    """Returns the numbers of labels to fine-tune on, in ascending order.

    Raises:
        UserError: If the setting has no number, a number larger than the training split, or one smaller than
            the number of classes.
    """
    rows = len(table.train)
    counts = sorted({count or rows for count in settings.label_counts})  # 0 stands for all labels
    if not counts:
        raise UserError(
            "label_counts is empty; give numbers of labeled texts, for example --set label_counts=100,300"
        )
    if counts[-1] > rows:
        raise UserError(
            f"label_counts has {counts[-1]:,}; {table.name} has {rows:,} labeled training texts (0 is all)"
        )
    if counts[0] < len(table.classes):
        raise UserError(
            f"label_counts has {counts[0]}; {len(table.classes)} classes need at least as many labels"
        )
    return counts


def label_efficiency(
    settings: PretrainingSettings, table: Table, texts: MaskedTexts, config: LLMPathBertConfig, run: Run
) -> dict[str, Any]:
    """Fine-tunes the weights of the job `pretraining` and random weights, and fits a linear baseline.

    Returns:
        A dictionary with `counts`, the numbers of labels, and `linear`, `pretrained`, and `random`: for each
        number of labels, the accuracies on the held-out texts, one per seed.
    """
    classes = ["negative", "positive"] if settings.dataset == "world/reviews" else table.classes
    labels = table.labels("train")
    # The held-out split is `validation` or `test`; its labels are read by its name.
    split = next(name for name, rows in table.splits.items() if rows is table.held_out)
    held_out = (texts.validation, table.labels(split))
    rows = encode(texts.tokenizer, table.train["text"], settings.context)
    starts: dict[str, Path | LLMPathBertConfig] = {
        "pretrained": run.job("pretraining").model_dir,
        "random": config,
    }
    counts = label_counts(settings, table)
    scores: dict[str, Any] = {"counts": counts, "linear": [], **{arm: [] for arm in ARMS}}
    for count in counts:
        accuracies: dict[str, list[float]] = {name: [] for name in ("linear", *ARMS)}
        recipe = recipe_for(count, settings)
        for seed in range(settings.seed, settings.seed + settings.seeds):
            chosen = balanced_rows(labels, count, seed)
            chosen_labels = [labels[row] for row in chosen]
            train = (TokenRows([rows[row] for row in chosen]), chosen_labels)
            for arm in ARMS:  # both arms learn from the same rows by the same recipe
                job = run.job(f"{arm}-{count}-{seed}")
                result = fine_tune(starts[arm], classes, train, held_out, texts.tokenizer, recipe, job, seed)
                accuracies[arm].append(result["accuracy"])
            # With all labels, every seed has the same rows and the baseline is fitted only once.
            if count < len(labels) or not accuracies["linear"]:
                run.progress.say("fitting the linear baseline")
                words = [table.train[int(row)]["text"] for row in chosen]
                accuracies["linear"].append(
                    linear_text_accuracy(words, chosen_labels, table.held_out["text"], held_out[1])
                )
        for name, values in accuracies.items():
            scores[name].append(values)
    return scores


def recipe_for(count: int, settings: PretrainingSettings) -> Recipe:
    """Returns the recipe for fine-tuning on `count` labels.

    Few labels make smaller batches, down to 8 labels, for about 20 steps per epoch. Many labels make more
    steps, for at least `fine_tuning_epochs` epochs.
    """
    recipe = settings.fine_tuning
    batch_size = min(recipe.batch_size, max(8, count // 20), count)
    steps = max(recipe.steps, settings.fine_tuning_epochs * (count // batch_size))
    return replace(recipe, steps=steps, batch_size=batch_size)
