"""Draws gates over text, gradient against lag, the adding problem, the comparison, and a sample text."""

from pathlib import Path

import numpy as np

from ...charts.matrix import heat_map
from ...charts.picture import Picture, panels, save_all
from ...charts.plots import bar_chart, line_chart
from ...charts.text import texts
from ...runs import RunFolder

CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    return {
        "gates": gates_chart(folder),
        "memory": memory_chart(folder),
        "adding": adding_chart(folder),
        "table": score_chart(folder),
        "sample": texts({"temperature 0.7": folder.figure_data("samples")["0.7"]}, "Written by the LSTM"),
    }


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def gates_chart(folder: RunFolder) -> Picture:
    """Draws the gates of some units over a text: a panel per gate, a row per unit, a column per character."""
    gates = folder.figure_data("gates")
    parts = {}
    for name, values in gates["units"].items():  # (units, characters)
        highest = max(1.0, float(np.abs(values).max()))  # only the cell state can be larger than 1
        caption = name.replace("_", " ") + ("" if highest == 1 else f", up to {highest:.1f}")
        parts[caption] = heat_map(values, gates["indices"], gates["text"], caption, highest=highest)
    detail = "Amber is 1 and open, blank is 0 and closed; negative values of the cell are blue."
    return panels(parts, "What the gates of the LSTM do over a text", detail, columns=1)


def memory_chart(folder: RunFolder) -> Picture:
    """Draws the gradient norm of each cell against the lag in steps, on a logarithmic axis."""
    memory = folder.figure_data("memory")
    lines = {name: (range(len(memory[cell])), memory[cell]) for cell, name in CELLS.items()}
    return line_chart(
        lines, "How far the gradient reaches", "steps back", "gradient norm, relative to lag 0", log_y=True
    )


def adding_chart(folder: RunFolder) -> Picture:
    """Draws the error on the adding problem as the cells train."""
    adding, length = folder.figure_data("adding"), folder.report["settings"]["adding_length"]
    # Each curve is a list of [step, error] pairs, unzipped here into steps and errors. The error of always
    # answering 1 is the variance of a sum of two uniform numbers, 2 * 1/12. The goal is `SOLVED`.
    return line_chart(
        {name: tuple(zip(*adding[cell], strict=True)) for cell, name in CELLS.items()},
        f"The adding problem, length {length}: error on unseen examples",
        "step",
        "mean squared error",
        levels={"always answering 1": 1 / 6, "goal": 0.01},
        log_y=True,
    )


def score_chart(folder: RunFolder) -> Picture:
    """Draws the bits per character of the cells, with the number of weights and the training time of each."""
    metrics = folder.metrics
    scores = {
        f"{name}\n{metrics[f'{cell}/parameters']:,} weights, {metrics[f'{cell}/seconds']:.0f} s": metrics[
            f"{cell}/bits_per_character"
        ]
        for cell, name in CELLS.items()
    }
    return bar_chart(
        scores,
        "Equal weights, equal time",
        "bits per character, validation (lower is better)",
        levels={"order-5 n-gram": folder.report["baselines"]["bits_per_character"]},
    )
