"""Label efficiency, fills before and after, masking on a sentence, and loss and perplexity over the
pretraining.
"""

import math
import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...charts.bars import score_bars
from ...charts.curves import curves, spread_curves
from ...charts.style import save
from ...charts.tokens import paired_bars, token_rows
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


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    fills = [
        (row["text"], {"before pretraining": row["before"], "after": row["after"]})
        for row in folder.figure_data("fills")
    ]
    return [
        save(_label_efficiency(folder), target / "label_efficiency.png"),
        save(paired_bars(fills, "What belongs into the blank?"), target / "fills.png"),
        save(_masking(folder.figure_data("masking")), target / "masking.png"),
        save(_perplexity(folder), target / "perplexity.png"),
    ]


def marks(tokens: list[str], draw: dict[str, Any], mask: str = "[MASK]") -> list[str]:
    """What happened to each token in one draw: a key of `MEANINGS`, or nothing."""
    return [
        ("mask" if seen == mask else "kept" if seen == token else "random") if guessed else ""
        for token, seen, guessed in zip(tokens, draw["seen"], draw["guessed"], strict=True)
    ]


def _masking(data: dict[str, Any]) -> Figure:
    rows = [("the text", data["tokens"], [""] * len(data["tokens"]))]
    for number, draw in enumerate(data["draws"][:3], 1):
        rows.append((f"as the model sees it, time {number}", draw["seen"], marks(data["tokens"], draw)))
    return token_rows(rows, "Masked language modeling: every time other tokens are to be guessed", MEANINGS)


def _label_efficiency(folder: RunFolder) -> Figure:
    scores = folder.figure_data("label_efficiency")
    spread = {
        NAMES[arm]: (
            [statistics.fmean(values) for values in scores[arm]],
            [statistics.stdev(values) if len(values) > 1 else 0.0 for values in scores[arm]],
        )
        for arm in NAMES
    }
    counts = scores["counts"]
    title = "Accuracy on held-out texts"
    if len(counts) == 1:
        bars = {name: means[0] for name, (means, _) in spread.items()}
        errors = {name: deviations[0] for name, (_, deviations) in spread.items()}
        return score_bars(
            bars,
            f"{title}, {counts[0]:,} labels",
            "accuracy",
            errors=errors if any(errors.values()) else None,
        )
    seeds = len(scores["pretrained"][0])
    shown = f"mean and standard deviation of {seeds} seeds" if seeds > 1 else "one seed"
    return spread_curves(
        spread, counts, [f"{count:,}" for count in counts], f"{title}: {shown}", "labeled texts", "accuracy"
    )


def _perplexity(folder: RunFolder) -> Figure:
    entries = [entry for entry in folder.history if entry["part"] == "pretraining"]
    lines = {}
    for name, key in (("training, each step's masks", "loss"), ("held-out texts", "eval_loss")):
        found = [(entry["step"], math.exp(entry[key])) for entry in entries if key in entry]
        if found:
            lines[name] = tuple(zip(*found, strict=True))
    level = {"guessing by frequency": folder.report["baselines"]["perplexity"]}
    return curves(
        lines, "Perplexity of the masked tokens", "step", "perplexity, logarithmic", level, log=True
    )
