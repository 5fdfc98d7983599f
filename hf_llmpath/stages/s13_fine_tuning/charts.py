"""Draws answers in their contexts, the exact match of each training, gradient norms, and early stopping."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...charts.picture import Picture, save_all
from ...charts.plots import Line, bar_chart, line_chart
from ...charts.text import token_boxes
from ...runs import RunFolder
from . import FineTuningSettings

# Prefix of the metrics -> name in the chart. The main training has no prefix.
ARMS = {
    "": "all weights",
    "layer_wise": "slower rates further down",
    "frozen": "lower layers frozen",
    "lora": "low-rank updates (LoRA)",
    "stopped": "few questions, early stopping",
    "not_stopped": "few questions, to the end",
}
# Mark of a word -> its meaning in the legend
MEANINGS = {
    "wrong": "answered, but wrong",
    "right": "answered, and right",
    "missed": "right, but not answered",
}
# A word, with apostrophes and hyphens inside it, or a single punctuation mark
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    metrics, trainings = folder.metrics, {entry["part"] for entry in folder.history}
    answers = [(row["question"], *marked_context(row)) for row in folder.figure_data("answers")[:4]]
    scores = {
        name: metrics[f"{arm}/exact_match" if arm else "exact_match"]
        for arm, name in ARMS.items()
        if not arm or f"{arm}/exact_match" in metrics
    }
    loss = lines_of(folder, f"full-{folder.report['seed']}", "loss")  # of the first seed
    known = {
        "answers": token_boxes(answers, "Held-out questions and their likeliest answers", MEANINGS),
        "exact_match": bar_chart(
            scores,
            "Questions answered exactly right",
            "exact match on held-out questions",
            levels={"overlap of words": folder.report["baselines"]["exact_match"]},
            form="{:.1%}".format,
        ),
        "loss": line_chart(
            {"fine-tuning": loss},
            "Loss of where an answer begins and ends",
            "step",
            "nats, logarithmic",
            log_y=True,
        ),
    }
    if "clipped" in trainings:
        known["gradient_norm"] = gradient_norms(folder)
    if "stopped" in trainings:
        known["early_stopping"] = early_stopping(folder)
    return known


def lines_of(folder: RunFolder, training: str, key: str) -> tuple[list[int], list[float]]:
    """Returns the steps and values of `key` in the history of one training run."""
    entries = [entry for entry in folder.history if entry["part"] == training and key in entry]
    return [entry["step"] for entry in entries], [entry[key] for entry in entries]


def early_stopping(folder: RunFolder) -> Picture:
    """Draws the loss on few training questions and on held-out ones, and marks where early stopping stops."""
    settings, metrics = FineTuningSettings.noted(folder.report["settings"]), folder.metrics
    steps, losses = lines_of(folder, "stopped", "eval_loss")
    best = min(range(len(losses)), key=losses.__getitem__)  # the index of the lowest loss
    lines = {
        f"the {settings.few} questions": lines_of(folder, "not_stopped", "loss"),
        "held-out questions": lines_of(folder, "not_stopped", "eval_loss"),
        "best weights, which are kept": Line([steps[best]], [losses[best]], points=True, width=0),
    }
    detail = (
        f"Early stopping stopped after {steps[-1]:,} of {metrics['not_stopped/steps']:,} steps: the loss is "
        f"{metrics['stopped/validation_loss']:.2f} instead of {metrics['not_stopped/validation_loss']:.2f}."
    )
    marks = {"stops": steps[-1]}
    return line_chart(
        lines, "A small training set is soon memorized", "step", "loss, nats", detail, marks=marks
    )


def gradient_norms(folder: RunFolder) -> Picture:
    """Draws the gradient norm in two training runs at a high learning rate, with and without clipping."""
    settings, metrics = FineTuningSettings.noted(folder.report["settings"]), folder.metrics
    limit = settings.fine_tuning.max_grad_norm
    lines = {
        "not clipped": lines_of(folder, "not_clipped", "grad_norm"),
        "clipped": lines_of(folder, "clipped", "grad_norm"),
    }
    detail = (
        "At a high learning rate; the loss at the end is "
        f"{metrics['clipped/validation_loss']:.2f} with clipping, "
        f"{metrics['not_clipped/validation_loss']:.2f} without."
    )
    return line_chart(
        lines,
        "Norm of the gradient, before clipping",
        "step",
        "norm, logarithmic",
        detail,
        levels={f"clipped to {limit:g}": limit} if limit else None,
        log_y=True,
    )


def mark_words(text: str, spans: Mapping[str, tuple[int, int]]) -> tuple[list[str], list[str]]:
    """Splits a text into words and gives each the name of the first of `spans` that contains it, or ""."""
    words, marks = [], []
    for match in _WORD.finditer(text):
        inside = [
            name for name, (start, end) in spans.items() if start <= match.start() and match.end() <= end
        ]
        words.append(match.group())
        marks.append(inside[0] if inside else "")
    return words, marks


def marked_context(row: dict[str, Any], most: int = 90) -> tuple[list[str], list[str]]:
    """Returns up to `most` words of a context around the answer, and for each a key of `MEANINGS` or ""."""
    best = row["answers"][0] if row["answers"] else {"start": 0, "end": 0, "text": ""}
    is_right = best["text"] in row["right"]
    spans = {"right" if is_right else "wrong": (best["start"], best["end"])}
    if not is_right and row["right"]:  # several answers may be correct; the first one stands for all
        missed = re.search(re.escape(row["right"][0]), row["context"])
        spans |= {"missed": missed.span()} if missed else {}
    words, marks = mark_words(row["context"], spans)
    marked = [index for index, mark in enumerate(marks) if mark] or [0]
    # A third of the excerpt comes before the first mark, unless the context ends too soon for that.
    first = max(0, min(marked[0] - most // 3, len(words) - most))
    return words[first : first + most], marks[first : first + most]
