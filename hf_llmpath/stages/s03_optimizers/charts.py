"""Draws the race: paths, steps to the target, losses, and the effect of the learning rate."""

from functools import partial
from pathlib import Path

import numpy as np

from ...charts.picture import Picture, panels, save_all
from ...charts.plots import Line, bar_chart, line_chart
from ...runs import RunFolder
from .descent import TITLES
from .descent_map import COLORS, descent_map
from .surfaces import SURFACES


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    table = folder.figure_data("table")
    titles = {problem: SURFACES[problem].title if problem in SURFACES else "Images" for problem in table}
    return {
        "paths": _paths(folder),
        "steps": _steps(table, titles),
        "loss": _losses(table["images"], folder.report["settings"]["target_loss"]),
        "learning_rates": _learning_rates(table, titles),
    }


def _paths(folder: RunFolder) -> Picture:
    data, key = folder.figure_data("paths"), {TITLES[name]: color for name, color in COLORS.items()}
    maps = {}
    for name, paths in data.items():
        surface = SURFACES[name]
        maps[f"{surface.title}: {surface.formula}"] = Picture(
            surface.title, partial(descent_map, surface, paths), key=key
        )
    steps = max(len(path) for paths in data.values() for path in paths.values()) - 1
    caption = f"The first {steps} steps, each optimizer at its best learning rate"
    return panels(maps, caption, "darker is higher; the square is the start, the star the minimum", columns=1)


def _steps(table: dict, titles: dict[str, str]) -> Picture:
    charts = {}
    for problem, rows in table.items():
        means, deviations = {}, {}
        for name, row in rows.items():
            steps = np.array(row["steps"][row["best"]], dtype=float)  # (starts,)
            title = TITLES[name] + ("" if all(row["reached"][row["best"]]) else " *")
            means[title] = steps.mean()
            deviations[title] = steps.std(ddof=1) if len(steps) > 1 else 0.0
        charts[titles[problem]] = bar_chart(
            means, titles[problem], "steps", errors=deviations, form="{:,.0f}".format
        )
    caption = "Steps to the target loss, at the best learning rate of a common grid"
    return panels(charts, caption, "mean ± deviation over starts; * not from every start", columns=2)


def _losses(rows: dict, target: float) -> Picture:
    charts = {}
    for along, unit in (("step", "step"), ("seconds", "seconds spent on steps")):
        lines = {TITLES[name]: (row["course"][along], row["course"]["loss"]) for name, row in rows.items()}
        charts[f"by {along}"] = line_chart(
            lines, f"Loss by {along}", unit, "training loss", levels={"target": target}, log_y=True
        )
    return panels(charts, "The network on images, each optimizer at its best learning rate", columns=2)


def _learning_rates(table: dict, titles: dict[str, str]) -> Picture:
    charts = {}
    for problem, rows in table.items():
        lines = {}
        for name, row in rows.items():
            from_all = np.array(row["reached"]).all(axis=1)  # (rates, starts) -> (rates,)
            # (rates,); the chart leaves out NaN, the rates at which a start did not reach the target.
            steps = np.where(from_all, np.mean(row["steps"], axis=1), np.nan)
            lines[TITLES[name]] = Line(row["rates"], steps.tolist(), points=True, color=COLORS[name])
        charts[titles[problem]] = line_chart(
            lines, titles[problem], "learning rate", "steps to the target", log_x=True, log_y=True
        )
    detail = "where every start arrived; below the best rate, half the rate takes twice the steps"
    return panels(charts, "How much the learning rate matters", detail, columns=2)
