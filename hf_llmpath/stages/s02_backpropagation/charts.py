"""Draws gradients on a graph, the gradient check, the effect of the learning rate, and the training."""

from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from ...charts.decision_surface import decision_surfaces
from ...charts.picture import BAD, SOFT, Picture, panels, save_all, series
from ...charts.plots import Line, Plot, line_chart, plot
from ...runs import RunFolder
from .graph_picture import computation_graph

HIGHEST = 10.0  # cap on the losses in the charts


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    history = folder.history
    # The history has one part per seed; the chart shows the first.
    rows = [row for row in history if row["part"] == history[0]["part"]]
    epochs = [row["epoch"] for row in rows]
    losses = {
        "training": (epochs, [row["loss"] for row in rows]),
        "test": (epochs, [row["test_loss"] for row in rows]),
    }
    surfaces = {
        f"epoch {data['epoch']}: {data['accuracy']:.1%}": data for data in folder.figure_data("on_the_way")
    }
    sweep, name = folder.figure_data("learning_rates"), folder.report["dataset"]["name"]
    return {
        "graph": computation_graph(folder.figure_data("graph"), "Backpropagation, one number at a time"),
        "gradient_checks": _gradient_checks(folder.figure_data("gradient_checks")),
        "learning_rates": _learning_rates(sweep),
        "learning_curves": _learning_curves(sweep["cross-entropy"]),
        "on_the_way": decision_surfaces(
            surfaces, f"The surface of {name} during training, with the test accuracy"
        ),
        "loss": line_chart(losses, "Loss during training", "epoch", "binary cross-entropy, nats", log_y=True),
    }


def _gradient_checks(rows: list[dict[str, Any]]) -> Picture:
    """Draws the largest error of each layer and loss, with the limits that the stage promises."""
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    colors = {loss: series(index) for index, loss in enumerate(losses)}
    layers = list(dict.fromkeys(row["layer"] for row in rows))

    def dots(kind: str, title: str, limit: float) -> Plot:
        # A logarithmic axis has no zero: an error of exactly zero is drawn at its left end.
        data = [row | {"error": max(row[kind], 1e-17), "color": colors[row["loss"]]} for row in rows]
        worst = max(row[kind] for row in rows)
        ticks = alt.Axis(values=[1e-16, 1e-13, 1e-10, 1e-7], format=".0e", grid=True)
        scale = alt.Scale(type="log", domain=[3e-18, 1e-6], nice=False)
        x = alt.X("error:Q", title="largest relative error", scale=scale, axis=ticks)
        y = alt.Y("layer:N", title=None, sort=layers, axis=alt.Axis(grid=True))
        shape = alt.Shape("loss:N", scale=alt.Scale(domain=losses), legend=None)
        points = alt.Chart(alt.NamedData("errors")).mark_point(filled=True, size=55, opacity=0.9)
        points = points.encode(x, y, shape=shape, color=alt.Color("color:N", scale=None))
        rule = alt.Chart(alt.Data(values=[{"error": limit}])).mark_rule(color=SOFT, strokeDash=[5, 4])
        told = f"The largest error of all is {worst:.1e}; the limit is {limit:.0e}."
        chart = alt.layer(rule.encode(x), points).properties(height=alt.Step(26))
        return plot(chart, title, "", told, colors, {"errors": data})

    charts = {
        "against central differences": dots("central_difference", "against central differences", 1e-7),
        "against torch autograd": dots("autograd", "against torch autograd", 1e-10),
    }
    return panels(charts, "Errors of the gradients of every layer", "dashed: the limits", columns=2)


def _learning_rates(sweep: dict[str, list[dict[str, Any]]]) -> Picture:
    """Draws the loss after the last epoch by learning rate; a loss that ran away is a red point on top."""
    charts, words = {}, []
    for index, (name, rows) in enumerate(sweep.items()):
        # A loss above ten times the first epoch's loss at the lowest rate counts as one that ran away.
        top = 10 * rows[0]["curve"][0] if rows[0]["curve"] else HIGHEST
        away = [row for row in rows if row["diverged_at"] is not None or row["loss"] > top]
        stayed = [row for row in rows if row not in away]
        rates, losses = [row["rate"] for row in stayed], [row["loss"] for row in stayed]
        lines = {"stayed finite": Line(rates, losses, points=True, color=series(index))}
        if away:
            rates = [row["rate"] for row in away]
            lines["ran away"] = Line(rates, [top] * len(away), width=0, points=True, color=BAD)
        for row in away:
            end = f"step {row['diverged_at']}" if row["diverged_at"] is not None else f"{row['loss']:.0e}"
            words.append(f"{row['rate']:g} ({end})")
        charts[name] = line_chart(
            lines, name, "learning rate", "loss after the last epoch", log_x=True, log_y=True
        )
    detail = "Red: rates at which the loss ran away, with the loss reached or the step at which it overflowed"
    return panels(
        charts, "Too small, right, too large", f"{detail}: {', '.join(words) or 'none'}.", columns=2
    )


def _learning_curves(rows: list[dict[str, Any]]) -> Picture:
    """Draws the loss by epoch for each learning rate whose loss stayed finite, from blue (low) to red."""
    finite = [row for row in rows if row["diverged_at"] is None]
    lines = {
        f"{row['rate']:g}": Line(
            range(1, len(row["curve"]) + 1),
            np.minimum(row["curve"], HIGHEST),
            # The hue runs from 220 (blue) to 0 (red); `max` avoids a division by zero for a single rate.
            color=f"hsl({220 - 220 * index / max(1, len(finite) - 1):.0f}, 65%, 45%)",
        )
        for index, row in enumerate(finite)
    }
    return line_chart(
        lines,
        "Cross-entropy by learning rate",
        "epoch",
        "training loss, nats",
        f"losses are cut at {HIGHEST:g}",
        log_y=True,
    )
