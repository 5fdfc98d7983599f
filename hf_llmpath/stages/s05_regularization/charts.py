"""Draws training and test errors, the gap between them, batch normalization, and distorted images."""

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from ...charts.matrix import images
from ...charts.picture import INK, Picture, panels, save_all, series
from ...charts.plots import line_chart, plot
from ...runs import RunFolder
from . import SHOWN, RegularizationSettings


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    metrics, settings = folder.metrics, RegularizationSettings.noted(folder.report["settings"])
    sample = f"{settings.per_class} images of each class, {settings.wrong_labels:.0%} labeled wrong"
    seeds = f", mean of {settings.seeds} seeds" if settings.seeds > 1 else ""
    errors = ("train_error", "test_error", "test_error_sd", "error")
    rows = {shown: {name: metrics.get(f"{row}/{name}") for name in errors} for row, shown in SHOWN.items()}
    distorted = folder.figure_data("distorted")
    # (rows * columns, height, width)
    pixels = np.array([pixels for row in distorted.values() for pixels in row], dtype=np.uint8)
    return {
        "curves": _curves(folder, f"Learning from {sample}", settings.wrong_labels),
        "gap": gaps(rows, f"The gap: {sample}{seeds}"),
        "batch_norm": activations(folder),
        "augmentation": images(
            pixels, len(distorted["as it is"]), "Distorted images", "the first row is not distorted"
        ),
    }


def error_curves(course: Mapping[str, Any], caption: str, detail: str = "", **options: Any) -> Picture:
    """Draws the errors on the training and test images over the steps of a training.

    Args:
        course: `step`, `train_error` and `test_error` (shares), and `kept`, the step whose weights early
            stopping keeps, or None.
        options: further arguments of `line_chart`.
    """
    train, test = (100 * np.array(course[name]) for name in ("train_error", "test_error"))
    lines = {"training images": (course["step"], train), "test images": (course["step"], test)}
    marks = {} if course.get("kept") is None else {"kept": course["kept"]}
    return line_chart(lines, caption, "step", "wrong answers, %", detail, marks=marks, **options)


def _curves(folder: RunFolder, caption: str, wrong_labels: float) -> Picture:
    curves = folder.figure_data("curves")
    # One axis for all panels; errors at the start of a training may be cut off.
    highest = 100 * min(1.0, 1.8 * max(course["test_error"][-1] for course in curves.values()))
    levels = {"wrong labels": 100 * wrong_labels} if wrong_labels else {}
    charts = {
        SHOWN[name]: error_curves(course, SHOWN[name], levels=levels, y_range=(0, highest))
        for name, course in curves.items()
    }
    return panels(charts, caption, "No network can foresee the wrong labels of the test images.", columns=3)


def gaps(rows: Mapping[str, Mapping[str, float | None]], caption: str, detail: str = "") -> Picture:
    """Draws a bar per training from its training error to its test error.

    Args:
        rows: name -> `train_error`, `test_error`, and `error` by the true labels (shares), with
            `test_error_sd` for several seeds.
    """
    names = ("training images", "test images", "true labels")
    key = {name: series(index) for index, name in enumerate(names)}
    data, markup = [], ""
    worst = max(max(row["train_error"], row["test_error"]) for row in rows.values()) or 1.0
    for name, row in rows.items():
        train, test, true = (100 * row[error] for error in ("train_error", "test_error", "error"))
        spread = 100 * (row.get("test_error_sd") or 0.0)
        label = f"gap {test - train:.1f}"
        ends = {"low": test - spread, "high": test + spread, "end": max(train, test + spread, true)}
        data.append({"row": name, "train": train, "test": test, "true": true, "label": label} | ends)
        # In percent of the largest error: `train` and `test` are in percent, and `worst` is a share.
        left, width = min(train, test) / worst, abs(test - train) / worst
        told = f"{train:.1f}% → {test:.1f}%, {label}; {true:.1f}% by true labels"
        markup += (
            f'<div role="listitem" data-name="{escape(name)}"><span>{escape(name)}</span>'
            f'<b aria-hidden="true"><i style="margin-left:{left:.1f}%;width:{width:.1f}%"></i></b>'
            f'<span class="lp-bar-value">{told}</span></div>'
        )
    axis = alt.Axis(grid=False, domain=False, labelColor=INK)
    y = alt.Y("row:N", title=None, sort=list(rows), axis=axis)
    base = alt.Chart(alt.NamedData("rows")).encode(y)
    scale = alt.Scale(domain=[0, 1.12 * max(row["end"] for row in data) or 1], nice=False)  # room for labels
    x = alt.X("train:Q", title="wrong answers, %", scale=scale)
    bar = base.mark_bar(color=series(1), opacity=0.25, height=14).encode(x, x2="test:Q")
    layers = [bar, base.mark_rule(color=series(1)).encode(x="low:Q", x2="high:Q")]
    points = zip(("train", "test", "true"), key.values(), ("circle", "square", "diamond"), strict=True)
    for column, color, shape in points:
        point = base.mark_point(filled=True, opacity=1, size=60, color=color, shape=shape)
        layers.append(point.encode(x=f"{column}:Q"))
    layers.append(base.mark_text(align="left", dx=9).encode(x="end:Q", text="label:N"))
    chart = alt.layer(*layers).properties(height=alt.Step(26))
    picture = plot(chart, caption, detail, "", key, {"rows": data})
    return replace(picture, markup=f'<div class="lp-bars lp-gaps" role="list">{markup}</div>')


def activations(folder: RunFolder) -> Picture:
    """Draws the distribution of each layer's activation inputs, before and after batch normalization."""
    histograms = folder.figure_data("histograms")
    # Run folders of earlier versions have the second key.
    centers = histograms.get("centers") or histograms["centres"]
    charts = {}
    for layer in histograms["layers"]:
        lines = {name: (centers, 100 * np.array(layer[name])) for name in ("before", "after")}
        title = f"Layer {layer['layer']}"
        charts[title] = line_chart(lines, title, "value before the activation", "share of values, %")
    caption = "Inputs of the activations before and after batch normalization, test images"
    return panels(charts, caption, columns=2)
