"""The scaling law, what a step costs, the loops on one curve, the main model's loss, and a sample."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.style import save
from ...charts.text import samples
from ...runs import RunFolder
from .scaling_charts import footprint_bars, overlaid_curves, scaling_law
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


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    agreement = {LOOPS[name]: values for name, values in folder.figure_data("agreement").items()}
    metrics = folder.metrics
    costs = {
        COSTS[name]: row | {"milliseconds": metrics[f"{name}/milliseconds"]}
        for name, row in folder.figure_data("footprint").items()
    }
    return [
        save(_law(folder.figure_data("scaling")), target / "scaling_law.png"),
        save(footprint_bars(costs, "What a training step of the main model costs"), target / "footprint.png"),
        save(
            overlaid_curves(agreement, "One training, run in different ways", "step", "loss"),
            target / "agreement.png",
        ),
        save(_loss(folder), target / "loss.png"),
        save(_sizes(folder), target / "sizes.png"),
        save(
            samples({"temperature 0.7": folder.figure_data("samples")["0.7"]}, "Written by the main model"),
            target / "sample.png",
        ),
    ]


def laws(points: list[dict[str, Any]]) -> dict[str, PowerLaw]:
    """Through all points but the last: the loss against `inner_parameters` and against `inner_flops`."""
    loss = [point["validation_loss"] for point in points[:-1]]
    return {
        name: PowerLaw.fit([point[name] for point in points[:-1]], loss)
        for name in ("inner_parameters", "inner_flops")
    }


def _law(points: list[dict[str, Any]]) -> Figure:
    found = laws(points)
    labels = {
        "inner_parameters": "parameters N, embeddings left out",
        "inner_flops": "compute C = 6 N × tokens, FLOP",
    }
    signs = {"inner_parameters": "N", "inner_flops": "C"}
    panels = [
        (
            labels[name],
            [point[name] for point in points],
            law.at,
            f"L ∝ {signs[name]}$^{{-{law.exponent:.3f}}}$",
        )
        for name, law in found.items()
    ]
    losses = [point["validation_loss"] for point in points]
    return scaling_law(
        panels, losses, "The loss falls on a line as the model grows", "loss, nats per character"
    )


def _loss(folder: RunFolder) -> Figure:
    report = folder.report
    rows = [entry for entry in folder.history if entry["part"] == "main" and "loss" in entry]
    levels = {
        "n-gram, held out": report["baselines"]["validation_loss"],
        "this model, held out": report["metrics"]["validation_loss"],
    }
    line = {"training": ([row["step"] for row in rows], [row["loss"] for row in rows])}
    return curves(line, "The main model as it trains", "step", "loss, nats per character", levels)


def _sizes(folder: RunFolder) -> Figure:
    report = folder.report
    metrics = report["metrics"]
    bars = {
        f"{width} wide\n{metrics[f'width_{width}/parameters']:,} weights": metrics[
            f"width_{width}/validation_loss"
        ]
        for width in report["settings"]["widths"]
    }
    bars[f"main model\n{metrics['parameters']:,} weights"] = metrics["validation_loss"]
    level = {"order-5 n-gram": report["baselines"]["validation_loss"]}
    return score_bars(
        bars, "Loss by size; the main model was trained longer", "loss, nats per character, validation", level
    )
