"""The comparison as one table, the masks of the three side by side, accuracy as bars, and the losses of
the pretraining.
"""

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.heads import mask_panels
from ...charts.style import save
from ...runs import RunFolder
from .comparison_table import table_picture

NAMES = {"gpt": "GPT", "bert": "BERT", "t5": "T5"}
LINEAR = "TF-IDF + logistic regression"
OBJECTIVES = {"gpt": "every next token", "bert": "masked tokens", "t5": "masked spans"}
MASKS = {"gpt": "GPT: a triangle", "bert": "BERT: all to all", "t5": "T5: both"}


def measured(folder: RunFolder) -> dict[str, Any]:
    """What the run saved for the comparison, with the seconds of its metrics."""
    data, metrics = folder.figure_data("comparison"), folder.metrics
    for kind, values in data["kinds"].items():
        for name in ("pretraining_seconds", "fine_tuning_seconds"):
            values[name] = metrics.get(f"{kind}/{name}_seeds", [metrics[f"{kind}/{name}"]])
    return data


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target, data = folder.path / "figures", measured(folder)
    headers, rows, best = comparison(data)
    seeds = data["seeds"]
    several = "one seed" if seeds == 1 else f"mean ± standard deviation of {seeds} seeds"
    note = (
        f"{data['examples']:,} held-out texts; {several}. Perplexities are of different questions and cannot be compared.\n"
        "Memory: weights, gradients, AdamW's moments, and what the pretraining's widest batch keeps for its backward pass."
    )
    masks = {MASKS[kind]: panel for kind, panel in joint_masks(folder.figure_data("masks")).items()}
    return [
        save(
            table_picture(headers, rows, "Three architectures of equal size", note, best),
            target / "comparison.png",
        ),
        save(
            mask_panels(masks, "Who may look at whom: rows look, columns are looked at"), target / "masks.png"
        ),
        save(_accuracy(data), target / "accuracy.png"),
        save(_losses(folder), target / "loss.png"),
    ]


def shown(values: list[float], form: str) -> str:
    """A number, with its standard deviation where there are several."""
    text = form.format(statistics.fmean(values))
    return text if len(values) < 2 else f"{text} ± {form.format(statistics.stdev(values))}"


def comparison(data: dict[str, Any]) -> tuple[list[str], list[list[str]], list[int | None]]:
    """Headers, rows and the best row of each column."""
    kinds = data["kinds"]
    timed = all("equal_time/accuracy" in values for values in kinds.values())
    headers = [
        "",
        "weights",
        "tokens\nread",
        "perplexity",
        "pretraining\nseconds",
        "fine-tuning\nseconds",
        "memory\nMiB",
        "accuracy",
    ]
    headers += ["accuracy,\nequal time"] if timed else []
    rows = []
    for kind, values in kinds.items():
        row = [
            NAMES[kind],
            f"{values['parameters'][0]:,.0f}",
            f"{statistics.fmean(values['tokens']):,.0f}",
            shown(values["perplexity"], "{:.2f}"),
            shown(values["pretraining_seconds"], "{:.1f}"),
            shown(values["fine_tuning_seconds"], "{:.1f}"),
            f"{statistics.fmean(values['memory_mb']):.1f}",
            _percent(values["accuracy"]),
        ]
        rows.append(row + ([_percent(values["equal_time/accuracy"])] if timed else []))
    linear = f"{data['linear']:.1%}"
    rows.append([LINEAR, *["–"] * 6, linear, *([linear] if timed else [])])
    compared = {
        4: ("pretraining_seconds", -1),
        5: ("fine_tuning_seconds", -1),
        6: ("memory_mb", -1),
        7: ("accuracy", 1),
    }
    compared |= {8: ("equal_time/accuracy", 1)} if timed else {}
    best: list[int | None] = [None] * len(headers)
    for place, (name, sign) in compared.items():
        found = [sign * statistics.fmean(values[name]) for values in kinds.values()]
        found += [data["linear"]] if "accuracy" in name else []
        best[place] = int(np.argmax(found))
    return headers, rows, best


def _percent(values: list[float]) -> str:
    text = f"{statistics.fmean(values):.1%}"
    return text if len(values) < 2 else f"{text} ± {100 * statistics.stdev(values):.1f}"


def joint_masks(masks: dict[str, Any]) -> dict[str, tuple[np.ndarray, list[str], list[str]]]:
    """One mask for each kind: `(mask, rows, columns)`. That of the encoder-decoder has source and target
    behind each other on either side; the source cannot look at the target, which is not there yet."""
    found = {}
    for kind, name in (("gpt", "decoder"), ("bert", "encoder")):
        part = masks[f"{kind}/{name}"]
        found[kind] = (np.array(part["mask"]), part["rows"], part["columns"])
    encoder, decoder, cross = (masks[f"t5/{name}"] for name in ("encoder", "decoder", "decoder to encoder"))
    source, target = encoder["rows"], decoder["rows"]
    whole = np.zeros((len(source) + len(target), len(source) + len(target)), dtype=bool)
    cut = len(source)
    whole[:cut, :cut], whole[cut:, :cut], whole[cut:, cut:] = encoder["mask"], cross["mask"], decoder["mask"]
    names = [*source, *target]
    return found | {"t5": (whole, names, names)}


def _accuracy(data: dict[str, Any]):
    bars = {NAMES[kind]: statistics.fmean(values["accuracy"]) for kind, values in data["kinds"].items()}
    several = data["seeds"] > 1
    errors = (
        {NAMES[kind]: statistics.stdev(values["accuracy"]) for kind, values in data["kinds"].items()}
        if several
        else None
    )
    title = "Accuracy on held-out texts, after equal pretraining and the same labels"
    return score_bars(bars, title, "accuracy", {LINEAR: data["linear"]}, errors)


def _losses(folder: RunFolder):
    seed, lines = folder.report["seed"], {}
    for kind, name in NAMES.items():
        found = [
            (row["step"], row["loss"])
            for row in folder.history
            if row["part"] == f"{kind}-{seed}" and "loss" in row
        ]
        lines[f"{name}: {OBJECTIVES[kind]}"] = tuple(zip(*found, strict=True))
    return curves(
        lines, "Losses of the pretraining: three questions about the same texts", "step", "nats per target"
    )
