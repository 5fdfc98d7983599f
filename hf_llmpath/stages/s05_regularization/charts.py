"""Training and test error side by side, the gap, activations before and after batch norm, and distorted
images.
"""

from pathlib import Path

import numpy as np

from ...charts.style import save
from ...runs import RunFolder
from . import SHOWN
from .generalization import before_and_after, gap_bars, image_rows, side_by_side


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target, report = folder.path / "figures", folder.report
    metrics, settings = report["metrics"], report["settings"]
    sample = f"{settings['per_class']} images of each class, {settings['wrong_labels']:.0%} labeled wrong"
    courses = {SHOWN[name]: course for name, course in folder.figure_data("curves").items()}
    seeds = f", mean of {settings['seeds']} seeds" if settings["seeds"] > 1 else ""
    rows = {
        shown: {
            part: metrics.get(f"{name}/{part}")
            for part in ("train_error", "test_error", "test_error_sd", "error")
        }
        for name, shown in SHOWN.items()
    }
    distorted = {name: np.array(images) for name, images in folder.figure_data("distorted").items()}
    return [
        save(
            side_by_side(courses, f"Learning from {sample}", settings["wrong_labels"]), target / "curves.png"
        ),
        save(gap_bars(rows, f"The gap: {sample}{seeds}"), target / "gap.png"),
        save(
            before_and_after(
                folder.figure_data("histograms"), "What the activations read, over the test images"
            ),
            target / "batch_norm.png",
        ),
        save(image_rows(distorted, "Distorted images, as batches show them"), target / "augmentation.png"),
    ]
