"""Draws hidden states over time, the text colored by one unit, gradient against lag, and the loss."""

from pathlib import Path

from ...charts.matrix import heat_map
from ...charts.picture import Picture, save_all
from ...charts.plots import line_chart
from ...charts.text import colored_text, texts
from ...runs import RunFolder

_CHARACTERS = 110  # number of characters, one per column, that fit into the heat map


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    # `states["values"]` is (units, characters), and its first row is the readable unit.
    states, unit = folder.figure_data("hidden_states"), folder.figure_data("readable_unit")
    follows = f"Unit {unit['unit']} follows “{unit['feature']}”"
    return {
        "hidden_states": heat_map(
            [row[:_CHARACTERS] for row in states["values"]],  # (units, _CHARACTERS)
            states["units"],
            states["text"][:_CHARACTERS],
            "Hidden state over time",
            f"{follows} and is shown in the top row.",
        ),
        "readable_unit": colored_text(
            # The values of the readable unit are (characters,).
            states["text"],
            states["values"][0],
            f"{follows} (correlation {unit['correlation']:+.2f})",
        ),
        "gradient_by_lag": gradient_chart(folder),
        "loss": loss_chart(folder),
        "sample": texts({"temperature 0.7": folder.figure_data("samples")["0.7"]}, "Written by the model"),
    }


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def gradient_chart(folder: RunFolder) -> Picture:
    """Draws the gradient norm against the lag in steps, on a logarithmic axis."""
    lags = folder.figure_data("gradient_by_lag")
    return line_chart(
        {"gradient norm": (lags["lag"], lags["norm"])},
        "How much the loss depends on the state k steps earlier",
        "steps back in time",
        "gradient norm, relative to lag 0",
        log_y=True,
    )


def loss_chart(folder: RunFolder) -> Picture:
    """Draws the training loss and, as a level, the validation loss of the n-gram baseline."""
    entries = [entry for entry in folder.history if "loss" in entry]
    line = [entry["step"] for entry in entries], [entry["loss"] for entry in entries]
    levels = {"order-5 n-gram, validation": folder.report["baselines"]["validation_loss"]}
    return line_chart({"RNN": line}, "Training loss", "step", "nats per character", levels=levels)
