"""Gates over text, memory against distance, the adding problem, the fair table, and a sample."""

from pathlib import Path

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.style import save
from ...charts.text import gate_strips, samples
from ...runs import RunFolder

CELLS = ("rnn", "gru", "lstm")


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    report = folder.report
    metrics, settings = report["metrics"], report["settings"]
    gates = folder.figure_data("gates")
    memory = {cell.upper(): (list(range(len(y))), y) for cell, y in folder.figure_data("memory").items()}
    adding = {
        cell.upper(): ([step for step, _ in curve], [error for _, error in curve])
        for cell, curve in folder.figure_data("adding").items()
    }
    scores = {
        f"{cell.upper()}\n{metrics[f'{cell}/parameters']:,} weights\n{metrics[f'{cell}/seconds']:.0f} s": metrics[
            f"{cell}/bits_per_character"
        ]
        for cell in CELLS
    }
    table = score_bars(
        scores,
        "Equal weights, equal time",
        "bits per character, validation (lower is better)",
        {"order-5 n-gram": report["baselines"]["bits_per_character"]},
    )
    return [
        save(
            gate_strips(gates["units"], gates["text"], "What the gates of the LSTM do over a text"),
            target / "gates.png",
        ),
        save(
            curves(
                memory,
                "How far the gradient reaches",
                "steps back",
                "gradient norm, relative to lag 0",
                log=True,
            ),
            target / "memory.png",
        ),
        save(
            curves(
                adding,
                f"The adding problem, length {settings['adding_length']}",
                "step",
                "mean squared error",
                {"always answering 1": 1 / 6, "goal": 0.01},
                log=True,
            ),
            target / "adding.png",
        ),
        save(table, target / "table.png"),
        save(
            samples({"temperature 0.7": folder.figure_data("samples")["0.7"]}, "Written by the LSTM"),
            target / "sample.png",
        ),
    ]
