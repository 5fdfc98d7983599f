"""Alignment of a summary, entropy of the attention, the losses with and without attention, and what they
wrote.
"""

import math
import re
from pathlib import Path

from matplotlib.figure import Figure

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.style import save
from ...charts.text import samples
from ...runs import RunFolder
from .attention_map import alignment, entropy_per_step

NAMES = {
    "attention": "with attention",
    "without_attention": "without attention",
    "additive": "additive attention",
    "without_copying": "attention, no copying",
}
MOST = 88  # source tokens that an alignment shows


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    shown = folder.figure_data("alignments")[0]
    source, summary = shown["source"], shown["summary"]
    first, last = _stretch(shown["weights"], len(source))
    note = "" if last - first == len(source) else f"tokens {first + 1} to {last} of {len(source)}"
    heat = alignment(
        source[first:last],
        summary,
        [row[first:last] for row in shown["weights"]],
        "Where it looked when it wrote each word",
        note,
    )
    entropy = entropy_per_step(
        summary,
        shown["entropy"],
        math.log2(max(2, len(source))),
        "How sure it was where to look",
        shown["copied"],
    )
    return [
        save(heat, target / "alignment.png"),
        save(entropy, target / "attention_entropy.png"),
        save(curves(losses(folder), "Training loss", "step", "nats per token"), target / "loss.png"),
        save(_scores(folder), target / "rouge.png"),
        save(
            samples(_texts(folder), "What they wrote about a document of the test split"),
            target / "summaries.png",
        ),
    ]


def _stretch(weights: list[list[float]], length: int) -> tuple[int, int]:
    """The `MOST` neighboring source tokens that got the most attention."""
    if length <= MOST:
        return 0, length
    total = [sum(row[place] for row in weights) for place in range(length)]
    first = max(range(length - MOST + 1), key=lambda start: sum(total[start : start + MOST]))
    return first, first + MOST


def losses(folder: RunFolder) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and training losses of each network, of the first seed."""
    seed = folder.report["seed"]
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for entry in folder.history:
        name, _, number = entry["part"].rpartition("-")
        if "loss" in entry and int(number) == seed:
            steps, values = lines.setdefault(NAMES[name], ([], []))
            steps.append(entry["step"])
            values.append(entry["loss"])
    return lines


def _scores(folder: RunFolder) -> Figure:
    metrics, baselines = folder.metrics, folder.report["baselines"]
    keys = {name: "rougeL" if name == "attention" else f"{name}/rougeL" for name in NAMES}
    found = {NAMES[name]: metrics[key] for name, key in keys.items() if key in metrics}
    errors = {NAMES[name]: metrics.get(f"{key}_sd", 0.0) for name, key in keys.items()}
    found |= {"first sentence": baselines["rougeL"], "random sentence": baselines["random_sentence/rougeL"]}
    return score_bars(
        found, "What they wrote, against the right summary", "ROUGE-L on held-out documents", errors=errors
    )


def _texts(folder: RunFolder) -> dict[str, str]:
    row = folder.figure_data("summaries")[0]
    document = re.sub(r"\s+", " ", row["document"])
    return {
        "document": document if len(document) < 900 else document[:900] + " …",
        "summaries": "\n\n".join(
            f"{NAMES.get(name, name)}:\n{text}" for name, text in row.items() if name != "document"
        ),
    }
