"""Draws label efficiency, fills before and after, masking on a text, and perplexity during pretraining."""

import math
import statistics
from pathlib import Path
from typing import Any

from ...charts.picture import Picture, panels, save_all
from ...charts.plots import Line, bar_chart, line_chart
from ...charts.text import token_boxes
from ...runs import RunFolder

NAMES = {
    "pretrained": "fine-tuned from the pretrained encoder",
    "random": "from random weights",
    "linear": "TF-IDF + logistic regression",
}
MEANINGS = {
    "mask": "to be guessed, replaced by [MASK]",
    "random": "to be guessed, replaced by a random token",
    "kept": "to be guessed, left as it is",
}


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    fills = {
        f"{row['text']} ({name})": fill_chart(row[key], "")
        for row in folder.figure_data("fills")
        for key, name in (("before", "before pretraining"), ("after", "after"))
    }
    return {
        "label_efficiency": label_efficiency_chart(folder),
        "fills": panels(fills, "What belongs in the blank?", columns=2),
        "masking": masking_chart(folder),
        "perplexity": perplexity_chart(folder),
    }


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def fill_chart(tokens: list[tuple[str, float]], caption: str, detail: str = "") -> Picture:
    """Draws the likeliest tokens for a blank, with their probabilities."""
    return bar_chart(tokens, caption, detail=detail, form="{:.1%}".format, tokens=True)


def masking_chart(folder: RunFolder) -> Picture:
    """Draws a text and what the model sees of it in three random maskings."""
    data = folder.figure_data("masking")
    rows = [("the text", data["tokens"], [""] * len(data["tokens"]))]
    for number, draw in enumerate(data["draws"][:3], 1):
        rows.append((f"as the model sees it, time {number}", draw["seen"], marks(data["tokens"], draw)))
    return token_boxes(rows, "Masked language modeling: each time, other tokens are to be guessed", MEANINGS)


def marks(tokens: list[str], draw: dict[str, Any], mask: str = "[MASK]") -> list[str]:
    """Returns what happened to each token in one draw: a key of `MEANINGS`, or an empty string."""
    # A random token may happen to be the original one, which then counts as kept.
    return [
        ("mask" if seen == mask else "kept" if seen == token else "random") if guessed else ""
        for token, seen, guessed in zip(tokens, draw["seen"], draw["guessed"], strict=True)
    ]


def label_efficiency_chart(folder: RunFolder) -> Picture:
    """Draws accuracy against the number of labels, or bars if only one number of labels was measured."""
    scores = folder.figure_data("label_efficiency")
    counts, seeds = scores["counts"], len(scores["pretrained"][0])
    means = {arm: [statistics.fmean(values) for values in scores[arm]] for arm in NAMES}
    # A standard deviation needs at least two seeds.
    spreads = {
        arm: [statistics.stdev(values) if len(values) > 1 else 0.0 for values in scores[arm]] for arm in NAMES
    }
    caption, detail = "Accuracy on held-out texts", f"mean and standard deviation of {seeds} seeds"
    detail = detail if seeds > 1 else "one seed"
    if len(counts) == 1:
        errors = {NAMES[arm]: spreads[arm][0] for arm in NAMES} if seeds > 1 else None
        values = {NAMES[arm]: means[arm][0] for arm in NAMES}
        caption += f", {counts[0]:,} labels"
        return bar_chart(values, caption, "accuracy", detail, errors=errors, form="{:.1%}".format)
    # The axis is logarithmic, because the numbers of labels grow by factors.
    lines = {NAMES[arm]: Line(counts, means[arm], spreads[arm], points=True) for arm in NAMES}
    ticks = {count: f"{count:,}" for count in counts}
    return line_chart(lines, caption, "labeled texts", "accuracy", detail, log_x=True, x_ticks=ticks)


def perplexity_chart(folder: RunFolder) -> Picture:
    """Draws the perplexity of the masked tokens during pretraining."""
    entries = [entry for entry in folder.history if entry["part"] == "pretraining"]
    lines = {}
    for name, key in (("training, each step's masks", "loss"), ("held-out texts", "eval_loss")):
        # perplexity = exp(loss in nats)
        points = [(entry["step"], math.exp(entry[key])) for entry in entries if key in entry]
        if points:
            lines[name] = tuple(zip(*points, strict=True))  # (step, value) pairs -> (steps, values)
    level = {"guessing by frequency": folder.report["baselines"]["perplexity"]}
    caption = "Perplexity of the masked tokens"
    return line_chart(lines, caption, "step", "perplexity, logarithmic", levels=level, log_y=True)
