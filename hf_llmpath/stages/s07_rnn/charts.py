"""Hidden states over time, the text colored by one unit, gradient against lag, and the loss."""

from pathlib import Path

from ...charts.curves import curves
from ...charts.style import save
from ...charts.text import colored_text, heat_map, samples
from ...runs import RunFolder


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    states, unit, lags = (
        folder.figure_data(name) for name in ("hidden_states", "readable_unit", "gradient_by_lag")
    )
    width = 110
    heat = heat_map(
        [row[:width] for row in states["values"]],
        states["text"][:width],
        [f"unit {index}" for index in states["units"]],
        f"Hidden state over time (top row: unit {unit['unit']}, “{unit['feature']}”)",
    )
    title = f"Unit {unit['unit']} follows “{unit['feature']}” (correlation {unit['correlation']:+.2f})"
    losses = [entry for entry in folder.history if "loss" in entry]
    loss = ([entry["step"] for entry in losses], [entry["loss"] for entry in losses])
    levels = {"order-5 n-gram, validation": folder.report["baselines"]["validation_loss"]}
    gradient = curves(
        {"RNN": (lags["lag"], lags["norm"])},
        "How far the gradient reaches",
        "steps back",
        "gradient norm, relative to lag 0",
        log=True,
    )
    return [
        save(heat, target / "hidden_states.png"),
        save(colored_text(states["text"], states["values"][0], title), target / "readable_unit.png"),
        save(gradient, target / "gradient_by_lag.png"),
        save(
            curves({"RNN": loss}, "Training loss", "step", "nats per character", levels), target / "loss.png"
        ),
        save(
            samples({"temperature 0.7": folder.figure_data("samples")["0.7"]}, "Written by the model"),
            target / "sample.png",
        ),
    ]
