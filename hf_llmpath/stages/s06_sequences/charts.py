"""Draws one-hot rows, next-character bars, samples at three temperatures, forecasts, and the loss."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ...charts.matrix import matrix_svg
from ...charts.picture import INK, Picture, panels, save_all, visible
from ...charts.plots import Line, bar_chart, line_chart
from ...charts.text import texts
from ...runs import RunFolder


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    one_hot_rows = folder.figure_data("one_hot")
    samples = {f"temperature {heat}": text for heat, text in folder.figure_data("samples").items()}
    return {
        "one_hot": one_hot(
            one_hot_rows["vocabulary"],
            [one_hot_rows["vocabulary"].index(character) for character in one_hot_rows["characters"]],
            "One-hot: each character is one row with a single 1",
        ),
        "next_characters": temperatures(folder.figure_data("next_characters")),
        "samples": texts(samples, "The same model, three temperatures"),
        "loss": loss_chart(folder),
        **forecasts(folder),
    }


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def one_hot(
    vocabulary: Sequence[str], hot: Sequence[int], caption: str, detail: str = "", hidden: int = 0
) -> Picture:
    """Draws one-hot rows over a vocabulary; a card shows all rows, a page the last one as cells of 0 and 1.

    Args:
        hot: the position of the 1 in each row.
        hidden: the number of further vocabulary entries (all 0), which are counted but not drawn.
    """
    rows = np.zeros((len(hot), len(vocabulary)))  # (characters, vocabulary)
    for row, index in enumerate(hot):
        rows[row, index : index + 1] = 1  # an empty slice if the 1 is among the hidden entries
    names = [visible(token) for token in vocabulary]
    last = hot[-1]
    cells = "".join(
        f"<span{' class=on' if index == last else ''}>{escape(name)}</span>"
        for index, name in enumerate(names)
    )
    if hidden:
        cells += f'<span class="rest">+ {hidden} byte tokens</span>'
    where = f", at position {last}: '{names[last]}'" if last < len(names) else ", among the byte tokens"
    return Picture(
        caption,
        lambda width: matrix_svg(rows, [names[index] for index in hot], names, width, "vocabulary", tall=18),
        detail,
        f"A row of {len(vocabulary) + hidden} zeros with a single one{where}.",
        markup=f'<div class="lp-onehot" aria-hidden="true">{cells}</div>',
        width=60 + 15 * len(vocabulary),
    )


def temperatures(data: Mapping[str, Any]) -> Picture:
    """Draws the likeliest next characters after a prompt, with one panel per temperature."""
    parts = {
        f"temperature {heat}": next_characters(list(zip(data["characters"], shares, strict=True)), "")
        for heat, shares in data["probabilities"].items()
    }
    caption = f"What comes after “{data['prompt'][-36:]}”" if data["prompt"] else "The first character"
    return panels(parts, caption)


def next_characters(shares: Sequence[tuple[str, float]], caption: str, detail: str = "") -> Picture:
    """Draws the probability of each next character."""
    return bar_chart(shares, caption, detail=detail, form="{:.1%}".format, tokens=True)


def loss_chart(folder: RunFolder) -> Picture:
    """Draws the loss of each training of the run against the best n-gram."""
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for entry in folder.history:
        if "loss" in entry:
            steps, losses = lines.setdefault(entry["part"], ([], []))
            steps.append(entry["step"])
            losses.append(entry["loss"])
    levels = {"order-5 n-gram, validation": folder.report["baselines"]["validation_loss"]}
    return line_chart(lines, "Training loss", "step", "nats per character", levels=levels)


def forecasts(folder: RunFolder) -> dict[str, Picture]:
    """Draws the run's forecasts of each series against the true values."""
    charts = {}
    for path in sorted((folder.path / "figures").glob("forecast_*.json")):
        data = folder.figure_data(path.stem)
        values, cut = data["values"], data["cut"]
        future = range(cut, len(values))
        start = max(0, cut - 2 * len(future))  # the known part in view is twice as long as the future
        lines = {
            "truth": Line(range(start, len(values)), values[start:], color=INK),
            "model, one step ahead": (future, data["forecast"]),
            "model, all at once": Line(future, data["rollout"], dashed=True),
            "a season ago": Line(future, data["seasonal_naive"], dashed=True),
        }
        # The tint begins and ends halfway between two months.
        caption, held_out = f"Forecast of {data['name'].replace('_', ' ')}", (cut - 0.5, len(values) - 0.5)
        charts[path.stem] = line_chart(lines, caption, "month (tinted: held out)", shade=held_out)
    return charts
