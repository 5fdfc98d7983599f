"""Answers marked in their contexts, exact match of every way of training, gradient norms, and where early
stopping stops.
"""

import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.style import COLORS, save
from ...charts.tokens import token_rows
from ...runs import RunFolder

NAMES = {
    "": "all weights",
    "layer_wise": "slower rates further down",
    "frozen": "lower layers frozen",
    "lora": "low-rank updates (LoRA)",
    "stopped": "few questions, early stopping",
    "not_stopped": "few questions, to the end",
    "clipped": "high rate, gradients clipped",
    "not_clipped": "high rate, not clipped",
}
MEANINGS = {
    "wrong": "answered, but wrong",
    "right": "answered, and right",
    "missed": "right, but not answered",
}


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target, parts = folder.path / "figures", {entry["part"] for entry in folder.history}
    pictures = [
        save(_answers(folder.figure_data("answers")), target / "answers.png"),
        save(_scores(folder), target / "exact_match.png"),
        save(_loss(folder), target / "loss.png"),
    ]
    if "clipped" in parts:
        pictures.append(save(_gradient_norms(folder), target / "gradient_norm.png"))
    if "stopped" in parts:
        pictures.append(save(_early_stopping(folder), target / "early_stopping.png"))
    return pictures


def marked_words(row: dict[str, Any], most: int = 90) -> tuple[list[str], list[str]]:
    """The words of a context (the `most` around the answer) and for each a key of `MEANINGS`, or nothing."""
    best = row["answers"][0] if row["answers"] else {"start": 0, "end": 0, "text": ""}
    is_right = best["text"] in row["right"]
    missed = None
    if not is_right and row["right"]:
        missed = re.search(re.escape(row["right"][0]), row["context"])
    words, marks = [], []
    for found in re.finditer(r"\w+(?:['’-]\w+)*|[^\w\s]", row["context"]):
        start, end = found.span()
        words.append(found.group())
        answered = best["start"] <= start and end <= best["end"] and best["text"]
        is_missed = missed is not None and missed.start() <= start and end <= missed.end()
        marks.append(("right" if is_right else "wrong") if answered else "missed" if is_missed else "")
    marked = [place for place, mark in enumerate(marks) if mark] or [0]
    first = max(0, min(marked[0] - most // 3, len(words) - most))
    return words[first : first + most], marks[first : first + most]


def lines_of(folder: RunFolder, part: str, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of `key` in the history of `part`."""
    found = [
        (entry["step"], entry[key]) for entry in folder.history if entry["part"] == part and key in entry
    ]
    return [step for step, _ in found], [value for _, value in found]


def _answers(rows: list[dict[str, Any]]) -> Figure:
    found = [(row["question"], *marked_words(row)) for row in rows[:4]]
    return token_rows(found, "Held-out questions and their likeliest answers", MEANINGS, columns=104)


def _scores(folder: RunFolder) -> Figure:
    metrics = folder.metrics
    scores = {
        name: metrics[f"{arm}/exact_match" if arm else "exact_match"]
        for arm, name in list(NAMES.items())[:6]
        if not arm or f"{arm}/exact_match" in metrics
    }
    level = {"overlap of words": folder.report["baselines"]["exact_match"]}
    return score_bars(scores, "Questions answered exactly right", "exact match on held-out questions", level)


def _loss(folder: RunFolder) -> Figure:
    lines = {"fine-tuning": lines_of(folder, f"full-{folder.report['seed']}", "loss")}
    return curves(lines, "Loss of where an answer begins and ends", "step", "nats, logarithmic", log=True)


def _gradient_norms(folder: RunFolder) -> Figure:
    lines = {NAMES[arm]: lines_of(folder, arm, "grad_norm") for arm in ("not_clipped", "clipped")}
    limit = folder.report["settings"]["max_grad_norm"]
    return curves(
        lines,
        "Length of the gradient, before clipping",
        "step",
        "norm, logarithmic",
        {f"clipped to {limit:g}": limit},
        True,
    )


def _early_stopping(folder: RunFolder) -> Figure:
    few = folder.report["settings"]["few"]
    lines = {
        f"the {few} questions": lines_of(folder, "not_stopped", "loss"),
        "held-out questions": lines_of(folder, "not_stopped", "eval_loss"),
    }
    figure = curves(lines, "A small training set is soon learned by heart", "step", "loss, nats")
    steps, values = lines_of(folder, "stopped", "eval_loss")
    best = min(range(len(values)), key=values.__getitem__)
    axis = figure.axes[0]
    axis.scatter(
        [steps[best]], [values[best]], color=COLORS[2], zorder=5, label="best weights, which are kept"
    )
    axis.axvline(steps[-1], color=COLORS[3], linestyle="--", linewidth=1.2, label="early stopping stops")
    axis.legend()
    return figure
