"""Gradients on the graph, the gradient check, learning rates up to divergence, and a surface and a loss
as they train.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from ...charts.curves import curves
from ...charts.network import computation_graph
from ...charts.style import COLORS, MUTED, save, subplots
from ...charts.surface import decision_surfaces, headline
from ...runs import RunFolder

AWAY = "#b91c1c"  # of a loss that ran away


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    report = folder.report
    part = folder.history[0]["part"]
    rows = [row for row in folder.history if row["part"] == part]
    epochs = [row["epoch"] for row in rows]
    losses = {
        "training": (epochs, [row["loss"] for row in rows]),
        "test": (epochs, [row["test_loss"] for row in rows]),
    }
    stages = {
        f"epoch {data['epoch']}: {data['accuracy']:.1%}": data for data in folder.figure_data("on_the_way")
    }
    graph = computation_graph(
        folder.figure_data("graph"),
        "Back-propagation, one number at a time",
        "A gradient is the sum, over the edges that leave a node, of the gradient at their end × the local derivative.",
    )
    return [
        save(graph, target / "graph.png"),
        save(gradient_checks(folder.figure_data("gradient_checks")), target / "gradient_checks.png"),
        save(learning_rates(folder.figure_data("learning_rates")), target / "learning_rates.png"),
        save(
            rate_curves(folder.figure_data("learning_rates")["cross-entropy"]), target / "learning_curves.png"
        ),
        save(
            decision_surfaces(
                stages, f"{report['dataset']['name']} as it trains (accuracy on points not learned)"
            ),
            target / "on_the_way.png",
        ),
        save(
            curves(losses, "Loss as it trains", "epoch", "binary cross-entropy, nats", log=True),
            target / "loss.png",
        ),
    ]


def gradient_checks(rows: list[dict[str, Any]]) -> Figure:
    """Largest error of every layer and loss, on a logarithmic axis, with the limits that are promised."""
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    figure, axes = subplots(1, 2, width=9.6, height=1.2 + 0.36 * len(layers), sharey=True)
    for axis, (kind, title, limit) in zip(
        axes,
        (
            ("central_difference", "against central differences", 1e-7),
            ("autograd", "against torch autograd", 1e-10),
        ),
        strict=True,
    ):
        for color, marker, loss in zip(COLORS, "os^", losses, strict=False):
            found = {row["layer"]: row[kind] for row in rows if row["loss"] == loss}
            # An error of exactly zero stands at the left end of the axis.
            axis.scatter(
                [max(found[layer], 1e-17) for layer in layers],
                range(len(layers)),
                color=color,
                marker=marker,
                s=26,
                label=loss,
            )
        axis.axvline(limit, color=MUTED, linestyle="--", linewidth=1)
        axis.set(
            xscale="log",
            title=title,
            xlabel=f"largest relative error (dashed: limit {limit:.0e})",
            xlim=(5e-19, 1e-6),
        )
        axis.set_yticks(range(len(layers)), layers)
    axes[0].invert_yaxis()
    axes[0].legend(loc="upper left")
    return figure


def learning_rates(sweep: dict[str, list[dict[str, Any]]]) -> Figure:
    """Loss after the last epoch against the learning rate, for each loss; what ran away stands at the
    upper edge.
    """
    figure, axes = subplots(1, len(sweep), width=9.6, height=3.8)
    for axis, color, (name, found) in zip(axes, COLORS, sweep.items(), strict=False):
        top = 10 * found[0]["curve"][0] if found[0]["curve"] else 10.0
        stayed = [row for row in found if row["diverged_at"] is None and row["loss"] <= top]
        axis.plot([row["rate"] for row in stayed], [row["loss"] for row in stayed], marker="o", color=color)
        for place, row in enumerate(row for row in found if row not in stayed):
            ended = row["diverged_at"] is not None
            axis.plot(
                [row["rate"]],
                [top],
                marker="x" if ended else "^",
                color=AWAY,
                markersize=8,
                markeredgewidth=2,
            )
            axis.annotate(
                f"step {row['diverged_at']}" if ended else f"{row['loss']:.0e}",
                (row["rate"], top),
                xytext=(0, -16 - 11 * (place % 2)),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=AWAY,
            )
        lowest = min([row["loss"] for row in stayed if row["loss"] > 0] or [top / 100])
        axis.set(xscale="log", yscale="log", title=name, xlabel="learning rate", ylim=(lowest / 3, 3 * top))
    axes[0].set_ylabel("training loss after the last epoch")
    headline(
        figure,
        "Too small, right, too large (red: × no longer finite, at which step; ▲ above the edge, with the loss)",
    )
    return figure


def rate_curves(found: list[dict[str, Any]]) -> Figure:
    """Loss against epoch for each learning rate whose loss stayed finite."""
    lines = {
        f"{row['rate']:g}": (range(1, len(row["curve"]) + 1), np.minimum(row["curve"], 10))
        for row in found
        if row["diverged_at"] is None
    }
    figure = curves(
        lines, "Cross-entropy by learning rate", "epoch", "training loss, nats (cut at 10)", log=True
    )
    axis = figure.axes[0]
    for line, share in zip(
        axis.get_lines(), np.linspace(0.95, 0.05, len(lines)), strict=True
    ):  # dark: a large rate
        line.set_color(colormaps["viridis"](share))
    axis.legend(title="learning rate", ncols=2, fontsize=7, loc="lower left")
    return figure
