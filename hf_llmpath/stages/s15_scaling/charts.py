"""Draws the scaling law, the cost of a step, the curves of all loops, the main model's loss, and a sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...charts.picture import INK, Picture, panels, save_all, series
from ...charts.plots import Line, bar_chart, line_chart
from ...charts.text import texts
from ...runs import RunFolder
from .scaling_law import PowerLaw

LOOPS = {
    "trainer": "Trainer",
    "accumulation": "Trainer, batch in 4 pieces",
    "checkpointing": "Trainer, activations recomputed",
    "accelerate": "Accelerate loop",
    "lightning": "Lightning",
}
COSTS = {
    "float32": "32 bits",
    "bf16": "bf16 autocast",
    "checkpointing": "checkpointing",
    "bf16_checkpointing": "bf16 and checkpointing",
}
AXES = {
    "inner_parameters": "parameters N, without embeddings",
    "inner_flops": "compute C = 6 N × tokens, FLOP",
}


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    sample = {"temperature 0.7": folder.figure_data("samples")["0.7"]}
    return {
        "scaling_law": law_chart(folder.figure_data("scaling")),
        "footprint": cost_chart(folder),
        "agreement": agreement_chart(folder),
        "loss": loss_chart(folder),
        "sizes": size_chart(folder),
        "sample": texts(sample, "Written by the main model"),
    }


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def fit_laws(points: Sequence[dict[str, Any]]) -> dict[str, PowerLaw]:
    """Fits the loss against each of `AXES`, with all points but the last."""
    fitted = points[:-1]
    losses = [point["validation_loss"] for point in fitted]
    return {name: PowerLaw.fit([point[name] for point in fitted], losses) for name in AXES}


def law_chart(points: Sequence[dict[str, Any]]) -> Picture:
    """Draws the points and the line that is fitted to all but the last of them, extended to the last."""
    charts, losses = {}, [point["validation_loss"] for point in points]
    for name, law in fit_laws(points).items():
        sizes = [point[name] for point in points]
        line = np.geomspace(min(sizes) * 0.9, max(sizes) * 1.15, 40)  # (40,), evenly spaced on the log axis
        fitted, extended = line[line <= sizes[-2]], line[line > sizes[-2]]
        lines = {
            "fitted line, dashed beyond": Line(fitted, [law.at(size) for size in fitted], color=INK),
            # An empty name keeps the second part of the line out of the legend.
            "": Line(extended, [law.at(size) for size in extended], dashed=True, color=INK),
            "measured": Line(sizes[:-1], losses[:-1], points=True, width=0, color=series(0)),
            "left out of the fit": Line(sizes[-1:], losses[-1:], points=True, width=0, color=series(1)),
        }
        caption = (
            f"Loss falls as {'N' if name == 'inner_parameters' else 'C'} to the power of −{law.exponent:.3f}"
        )
        charts[caption] = line_chart(lines, caption, AXES[name], "nats per character", log_x=True, log_y=True)
    return panels(charts, "The loss falls on a line as the model grows", columns=2)


def cost_chart(folder: RunFolder) -> Picture:
    """Draws the peak memory and the time of a step, with one bar for each way of training."""
    memory, metrics = folder.figure_data("footprint"), folder.metrics
    whole = "{:.0f}".format
    charts = {
        "Peak memory of a step, megabytes": {
            COSTS[key]: row["peak_memory_mb"] for key, row in memory.items()
        },
        "Time of a step, milliseconds": {COSTS[key]: metrics[f"{key}/milliseconds"] for key in memory},
    }
    parts = {name: bar_chart(values, name, form=whole) for name, values in charts.items()}
    return panels(parts, "What a training step of the main model costs", columns=2)


def agreement_chart(folder: RunFolder) -> Picture:
    """Draws the loss curves of all loops, which coincide.

    Each line is narrower than the line below it, which keeps all of them visible.
    """
    curves = folder.figure_data("agreement")
    lines = {
        LOOPS[name]: Line(range(1, len(values) + 1), values, width=2 + 2.2 * (len(curves) - 1 - index))
        for index, (name, values) in enumerate(curves.items())
    }
    return line_chart(lines, "One training, run in different ways", "step", "loss")


def loss_chart(folder: RunFolder) -> Picture:
    """Draws the training loss of the main model."""
    rows = [entry for entry in folder.history if entry["part"] == "main" and "loss" in entry]
    line = [row["step"] for row in rows], [row["loss"] for row in rows]
    levels = {
        "n-gram, held out": folder.report["baselines"]["validation_loss"],
        "this model, held out": folder.metrics["validation_loss"],
    }
    return line_chart(
        {"training": line}, "The main model as it trains", "step", "nats per character", levels=levels
    )


def size_chart(folder: RunFolder) -> Picture:
    """Draws the validation loss of each size and of the main model."""
    report, metrics = folder.report, folder.metrics
    losses = {
        f"{width} wide\n{metrics[f'width_{width}/parameters']:,} weights": metrics[
            f"width_{width}/validation_loss"
        ]
        for width in report["settings"]["widths"]
    }
    losses[f"main model\n{metrics['parameters']:,} weights"] = metrics["validation_loss"]
    return bar_chart(
        losses,
        "Loss by size; the main model was trained longer",
        "nats per character, validation",
        levels={"order-5 n-gram": report["baselines"]["validation_loss"]},
    )
