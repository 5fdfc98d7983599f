"""Gradient norm by layer, its ratios as a table, activations by layer, the deep trainings, and the
confusion matrix.
"""

from pathlib import Path

from ...charts.curves import curves
from ...charts.style import save
from ...runs import RunFolder
from . import ACTIVATIONS, DEEP, INITIALIZATIONS, shown
from .depth_charts import confusion, layer_histograms, norms_by_layer, ratio_table

LINES = ("sigmoid_normal", "sigmoid_xavier", "tanh_xavier", "relu_normal", "relu_he", "relu_he_residual")


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target, metrics = folder.path / "figures", folder.metrics
    norms, activations, answers = (
        folder.figure_data(name) for name in ("gradient_norms", "activations", "confusion")
    )
    depth = len(next(iter(norms.values())))
    ratios = {
        shown(act): {shown(init): metrics[f"gradient_ratio/{act}_{init}"] for init in INITIALIZATIONS}
        for act in ACTIVATIONS
    }
    layers = sorted({1, max(1, depth // 4), max(1, depth // 2), depth})
    return [
        save(
            norms_by_layer(
                {shown(name): norms[name] for name in LINES}, f"Gradient in {depth} layers before training"
            ),
            target / "gradient_norms.png",
        ),
        save(ratio_table(ratios, "Gradient norm, first layer / last layer"), target / "gradient_ratios.png"),
        save(
            layer_histograms(
                {shown(name): found for name, found in activations.items()},
                layers,
                "Activations before training",
            ),
            target / "activations.png",
        ),
        save(
            curves(
                {shown(name): _loss(folder, f"deep-{name}") for name in DEEP},
                f"The same training with {depth} layers",
                "step",
                "training loss",
            ),
            target / "deep_training.png",
        ),
        save(
            confusion(answers["counts"], answers["classes"], f"Accuracy {metrics['accuracy']:.1%}"),
            target / "confusion.png",
        ),
    ]


def _loss(folder: RunFolder, part: str) -> tuple[list[float], list[float]]:
    rows = [row for row in folder.history if row["part"] == part and "loss" in row]
    return [row["step"] for row in rows], [row["loss"] for row in rows]
