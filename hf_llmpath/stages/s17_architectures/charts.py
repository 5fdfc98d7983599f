"""Draws the comparison as a table, the masks of all models, accuracy as bars, and pretraining losses."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from ...charts.attention import masks as mask_panels
from ...charts.picture import BAR, Picture, save_all
from ...charts.plots import bar_chart, line_chart
from ...charts.text import table
from ...runs import RunFolder

NAMES = {"gpt": "GPT", "bert": "BERT", "t5": "T5"}
LINEAR = "TF-IDF + logistic regression"  # the baseline
OBJECTIVES = {"gpt": "every next token", "bert": "masked tokens", "t5": "masked spans"}
MASKS = {"gpt": "GPT: a triangle", "bert": "BERT: all to all", "t5": "T5: both"}


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    return {
        "comparison": comparison_table(folder),
        "masks": mask_picture(folder.figure_data("masks"), "Rows look, columns are looked at."),
        "accuracy": accuracy_chart(folder.figure_data("comparison")),
        "loss": loss_chart(folder),
    }


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


# Header, key, format, and whether a larger number is better (None if neither a larger nor a smaller one is).
COLUMNS: list[tuple[str, str, str, bool | None]] = [
    ("weights", "parameters", "{:,.0f}", None),
    ("tokens read", "tokens", "{:,.0f}", None),
    ("perplexity", "perplexity", "{:.2f}", None),
    ("pretraining, s", "pretraining_seconds", "{:.1f}", False),
    ("fine-tuning, s", "fine_tuning_seconds", "{:.1f}", False),
    ("memory, MiB", "memory_mb", "{:.1f}", False),
    ("accuracy", "accuracy", "{:.1%}", True),
    ("accuracy, equal time", "equal_time/accuracy", "{:.1%}", True),
]


def comparison_table(folder: RunFolder) -> Picture:
    """Tabulates the size, cost, and accuracy of the models and the baseline's accuracy; marks the best."""
    data, metrics = folder.figure_data("comparison"), folder.metrics
    # Times differ between runs, so only the metrics have them; one seed has no list of values.
    for kind, values in data["kinds"].items():
        for name in ("pretraining_seconds", "fine_tuning_seconds"):
            values[name] = metrics.get(f"{kind}/{name}_seeds", [metrics[f"{kind}/{name}"]])
    headers, rows, best = comparison(data["kinds"], data["linear"])
    seeds = data["seeds"]
    spread = "one seed" if seeds == 1 else f"mean ± standard deviation of {seeds} seeds"
    note = (
        f"{data['examples']:,} held-out texts; {spread}. The perplexities answer different questions and "
        "cannot be compared. Memory: weights, gradients, AdamW's moments, and the widest batch's activations."
    )
    return table(headers, rows, "Three architectures of equal size", note, dict.fromkeys(best, BAR))


def comparison(
    kinds: dict[str, dict[str, list[float]]], linear: float
) -> tuple[list[str], list[list[str]], list[tuple[int, int]]]:
    """Returns headers, rows, and the best cells as `(row, column)`, where column 0 is the first number."""
    # The columns of equal time exist only if the run has measured it.
    columns = [column for column in COLUMNS if all(column[1] in values for values in kinds.values())]
    rows = [
        [NAMES[kind], *(_with_spread(values[key], form) for _, key, form, _ in columns)]
        for kind, values in kinds.items()
    ]
    rows.append([LINEAR, *(form.format(linear) if "accuracy" in key else "–" for _, key, form, _ in columns)])
    best = []
    for index, (_, key, _, larger) in enumerate(columns):
        if larger is not None:
            means = [statistics.fmean(values[key]) for values in kinds.values()]
            means += [linear] if "accuracy" in key else []
            best.append((int(np.argmax(means) if larger else np.argmin(means)), index))
    return ["", *(header for header, *_ in columns)], rows, best


def _with_spread(values: list[float], form: str) -> str:
    text = form.format(statistics.fmean(values))
    return text if len(set(values)) < 2 else f"{text} ± {form.format(statistics.stdev(values))}"


def mask_picture(masks: dict[str, Any], detail: str) -> Picture:
    """Draws which token may look at which, in one panel per model."""
    panels = {}
    for kind, name in (("gpt", "decoder"), ("bert", "encoder")):
        data = masks[f"{kind}/{name}"]
        panels[MASKS[kind]] = np.array(data["mask"]), data["rows"], data["columns"]  # (rows, columns)
    joint, tokens = joint_mask(masks)
    panels[MASKS["t5"]] = joint, tokens, tokens
    return mask_panels(panels, "Who may look at whom", detail)


def joint_mask(masks: dict[str, Any]) -> tuple[np.ndarray, list[str]]:
    """Combines T5's three masks into one and returns it with its tokens.

    Both axes hold the source and then the target. The source cannot look at the target, which does not exist
    yet when the encoder reads.

    Returns:
        The boolean mask, `(source + target, source + target)`, and the tokens, `source + target` of them.
    """
    encoder, decoder, cross = (masks[f"t5/{name}"] for name in ("encoder", "decoder", "decoder to encoder"))
    tokens, cut = [*encoder["rows"], *decoder["rows"]], len(encoder["rows"])
    joint = np.zeros((len(tokens), len(tokens)), dtype=bool)
    # Source to source, target to source, and target to target; the fourth quarter stays empty.
    joint[:cut, :cut], joint[cut:, :cut], joint[cut:, cut:] = encoder["mask"], cross["mask"], decoder["mask"]
    return joint, tokens


def accuracy_chart(data: dict[str, Any]) -> Picture:
    """Draws the accuracy of the three models and, as a level, that of the linear baseline."""
    values = {NAMES[kind]: numbers["accuracy"] for kind, numbers in data["kinds"].items()}
    return bar_chart(
        {name: statistics.fmean(numbers) for name, numbers in values.items()},
        "Accuracy on held-out texts",
        "accuracy",
        "After equal pretraining and the same labels.",
        levels={LINEAR: data["linear"]},
        errors={name: statistics.stdev(numbers) for name, numbers in values.items() if len(numbers) > 1}
        or None,
    )


def loss_chart(folder: RunFolder) -> Picture:
    """Draws the pretraining losses of the first seed."""
    lines, seed = {}, folder.report["seed"]
    for kind, name in NAMES.items():
        entries = [row for row in folder.history if row["part"] == f"{kind}-{seed}" and "loss" in row]
        steps, losses = [row["step"] for row in entries], [row["loss"] for row in entries]
        lines[f"{name}: {OBJECTIVES[kind]}"] = steps, losses
    detail = "Three questions about the same texts: the losses cannot be compared."
    return line_chart(lines, "Pretraining losses", "step", "nats per target", detail)
