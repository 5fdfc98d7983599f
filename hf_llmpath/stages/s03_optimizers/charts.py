"""Paths on the surfaces, the table as bars, loss against steps and seconds, and steps against the
learning rate.
"""

from pathlib import Path

from ...charts.style import save
from ...runs import RunFolder
from .descent import TITLES
from .descent_charts import contour_paths, race_curves, rate_curves, step_bars
from .surfaces import SURFACES


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    table, paths, settings = (
        folder.figure_data("table"),
        folder.figure_data("paths"),
        folder.report["settings"],
    )
    titles = {problem: SURFACES[problem].title if problem in SURFACES else "Images" for problem in table}
    courses = {name: row["course"] for name, row in table["images"].items()}
    panels = [(SURFACES[name], found) for name, found in paths.items()]
    steps = max(len(path) for found in paths.values() for path in found.values()) - 1
    return [
        save(
            contour_paths(
                panels, TITLES, f"The first {steps} steps, each optimizer at its best learning rate"
            ),
            target / "paths.png",
        ),
        save(
            step_bars(
                table, TITLES, titles, "Steps to the target loss, at the best learning rate of a common grid"
            ),
            target / "steps.png",
        ),
        save(
            race_curves(
                courses,
                TITLES,
                settings["target_loss"],
                "The network on images, each at its best learning rate",
            ),
            target / "loss.png",
        ),
        save(
            rate_curves(table, TITLES, titles, "How much the learning rate matters"),
            target / "learning_rates.png",
        ),
    ]
