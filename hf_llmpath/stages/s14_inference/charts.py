"""The table as pictures: quality against speed, tokens per second; the beam tree; and the two losses."""

from pathlib import Path

from matplotlib.figure import Figure

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.style import save
from ...charts.trade_off import FORMS, forms_picture
from ...runs import RunFolder
from .tree_chart import beam_tree


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target, rows = folder.path / "figures", folder.figure_data("table")
    beams = folder.figure_data("beams")
    return [
        save(forms_picture(rows), target / "trade_off.png"),
        save(_speeds(rows), target / "tokens_per_second.png"),
        save(beam_tree(beams["steps"], beams["prompt"]), target / "beams.png"),
        save(_loss(folder), target / "loss.png"),
    ]


def _speeds(rows: dict[str, dict[str, float]]) -> Figure:
    speeds = {FORMS.get(name, name): row["tokens_per_second"] for name, row in rows.items()}
    return score_bars(speeds, "The same model, written with", "tokens per second, one text at a time")


def _loss(folder: RunFolder) -> Figure:
    lines = {}
    seed, parts = folder.report["seed"], {entry["part"] for entry in folder.history}
    names = {"teacher": "teacher", "student without the teacher": f"alone-{seed}"}
    for name, part in names.items():
        if part not in parts:
            continue
        found = [
            (entry["step"], entry["loss"])
            for entry in folder.history
            if entry["part"] == part and "loss" in entry
        ]
        lines[name] = [step for step, _ in found], [loss for _, loss in found]
    return curves(lines, "Loss on the training text", "step", "nats per word")
