"""Draws the forms of the model: quality against speed, tokens per second, the beam tree, and the loss."""

from collections.abc import Mapping
from pathlib import Path

from ...charts.picture import Picture, save_all
from ...charts.plots import bar_chart, line_chart, scatter
from ...charts.text import table
from ...runs import RunFolder
from .beam_tree import tree_picture

# Form in the run's table -> name in the pictures. The other forms are shown under their own names.
FORMS = {
    "greedy": "32 bits, greedy",
    "bare steps": "32 bits, bare steps",
    "no cache": "32 bits, no cache",
    "int8": "int8 (bitsandbytes)",
    "nf4": "nf4 (bitsandbytes)",
    "student": "student, half the depth",
}
COLUMNS = {  # measurement of `deploy.speed` -> its heading and format
    "tokens_per_second": ("tokens per second", "{:,.0f}"),
    "first_token_ms": ("first token, ms", "{:.1f}"),
    "megabytes": ("MB", "{:.2f}"),
    "perplexity": ("perplexity", "{:.4g}"),
    "agreement": ("as 32 bits", "{:.1%}"),
}
Measures = Mapping[str, Mapping[str, float]]  # form -> its measurements by `deploy.speed`


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    rows, beams = folder.figure_data("table"), folder.figure_data("beams")
    return {
        "trade_off": trade_off(rows),
        "tokens_per_second": speeds({name: row["tokens_per_second"] for name, row in rows.items()}),
        "beams": tree_picture(beams["steps"], beams["prompt"], "Beam search as a tree"),
        "loss": _losses(folder),
    }


def trade_off(rows: Measures) -> Picture:
    """Plots the perplexity of each form against its speed.

    Decoding methods are left out: they compute the same logits as the reference, so only their speed differs.
    """
    forms = [name for name in rows if "beam" not in name and name not in ("no cache", "bare steps")]
    titles = {name: f"{FORMS.get(name, name)}: {rows[name]['megabytes']:.1f} MB" for name in forms}
    return scatter(
        {titles[name]: (rows[name]["tokens_per_second"], rows[name]["perplexity"]) for name in forms},
        "Quality against speed",
        "tokens per second, one text at a time, logarithmic",
        "perplexity of held-out text",
        "The area of a point stands for the megabytes of the weights.",
        sizes={titles[name]: rows[name]["megabytes"] for name in forms},
        log_x=True,
    )


def speeds(tokens_per_second: Mapping[str, float], detail: str = "One text at a time") -> Picture:
    """Draws the speed of each form as a bar."""
    bars = {FORMS.get(name, name): speed for name, speed in tokens_per_second.items()}
    return bar_chart(bars, "Tokens per second", detail=detail, form="{:,.0f}".format)


def forms_table(rows: Measures) -> Picture:
    """Tabulates all measurements of all forms."""
    headers = ["form", *(heading for heading, _ in COLUMNS.values())]
    cells = [
        [FORMS.get(name, name), *(form.format(row[measure]) for measure, (_, form) in COLUMNS.items())]
        for name, row in rows.items()
    ]
    return table(headers, cells, "Every form of the model")


def _losses(folder: RunFolder) -> Picture:
    """Draws the loss of the teacher and of a student that was trained without it."""
    names = {"teacher": "teacher", f"alone-{folder.report['seed']}": "student without the teacher"}
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for entry in folder.history:
        if entry["part"] in names and "loss" in entry:
            steps, losses = lines.setdefault(names[entry["part"]], ([], []))
            steps.append(entry["step"])
            losses.append(entry["loss"])
    return line_chart(lines, "Loss on the training text", "step", "nats per word")
