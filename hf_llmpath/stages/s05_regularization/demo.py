"""The page of stage 5: regularizers with switches, and the gap between training and test error."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import torch

from ...charts.matrix import images
from ...charts.picture import Picture, figure
from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, section, stage_page
from . import SHOWN, STAGE
from .charts import activations, error_curves, gaps
from .live_overfitting import SWITCHES, Course, digits, learn
from .regularized import few_images, with_switches

FRAME = 0.06  # seconds between two pictures of a training


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page, which shows the measurements of the run in `folder`, if it has any."""

    def train(
        names: list[str], per_class: int, wrong: int, seed: int, tried: list[Course]
    ) -> Iterator[tuple[str, str, list[Course]]]:
        per_class, seed = int(per_class), int(seed or 0)
        course = None
        for course in learn(names, per_class, wrong / 100, seed, FRAME):
            yield course_picture(course), gaps_picture([*alike(tried, course), course]), tried
        # A training that is repeated replaces the earlier one.
        others = [
            other for other in tried if other.conditions != course.conditions or other.names != course.names
        ]
        yield course_picture(course), gaps_picture([*alike(others, course), course]), [*others, course]

    def from_run() -> tuple[str, str]:
        return table_of(folder.metrics), activations(folder).html()

    def show_course(name: str) -> str:
        course = folder.figure_data("curves")[name]
        return error_curves(course, f"{SHOWN[name]}: share of wrong answers", "first seed").html()

    with stage_page(STAGE, folder, model_id) as page:
        with page.always:
            html(
                section(
                    "Overfit, then regularize",
                    "A network of 85,000 weights memorizes a few digits, wrong labels included.",
                )
            )
            names = gr.CheckboxGroup(
                list(SWITCHES),
                value=[],
                label="Switched on",
                info="Train with none first, then with some of them",
                elem_id="switches",
            )
            with gr.Row():
                per_class = gr.Slider(
                    2,
                    60,
                    value=30,
                    step=1,
                    label="Training images of each digit",
                    min_width=200,
                    elem_id="per-class",
                )
                wrong = gr.Slider(
                    0, 40, value=20, step=5, label="Wrong labels, %", min_width=200, elem_id="wrong"
                )
                seed = gr.Number(
                    0,
                    label="Seed",
                    info="Of the sample and the weights",
                    precision=0,
                    minimum=0,
                    maximum=2**31 - 1,
                    min_width=120,
                )
            sample = html(elem_id="sample")
            tried = gr.State([])
            page.writer(
                train,
                [names, per_class, wrong, seed, tried],
                lambda: [html(EMPTY, elem_id="course"), html(elem_id="gaps"), tried],
                label="Train",
            )
            page.remember(images=per_class, wrong=wrong, seed=seed)
            # One event for all triggers: its answers arrive in order, and no older one replaces a newer one.
            gr.on(
                [page.blocks.load, *(control.change for control in (names, per_class, wrong, seed))],
                lambda *values: sample_picture(*values).html(),
                [names, per_class, wrong, seed],
                sample,
                show_progress="hidden",
                api_visibility="private",
                trigger_mode="always_last",
            )
        html(
            section(
                "The table of the run",
                "All rows learned from the same few images. The gap is test error minus training error.",
            )
        )
        table = html(elem_id="table")
        chosen = gr.Radio(
            [(shown, name) for name, shown in SHOWN.items()],
            value="plain",
            label="Training and test error of",
            elem_id="variant",
        )
        course = html(elem_id="run-course")
        html(section("What batch normalization does", "The inputs of the activations, before and after it."))
        histograms = html(elem_id="histograms")
        page.set_up(from_run, [table, histograms])
        page.on_change([chosen], show_course, [chosen], [course])
    return page.blocks


def table_of(metrics: dict[str, Any]) -> str:
    """Returns the errors in percent as HTML, a row per set of regularizers, with deviations over seeds."""

    def cell(name: str, scale: float = 100) -> str:
        spread = f" ± {scale * metrics[name + '_sd']:.1f}" if name + "_sd" in metrics else ""
        return f"{scale * metrics[name]:.1f}{spread}"

    rows = [
        [
            shown,
            *(cell(f"{row}/{name}") for name in ("train_error", "test_error", "gap", "error")),
            cell(f"{row}/seconds", 1),
        ]
        for row, shown in SHOWN.items()
    ]
    heads = ["switched on", "training error, %", "test error, %", "gap", "error by true labels, %", "seconds"]
    return pictures.table(heads, rows, "The table of the run")


EMPTY = figure('<p class="lp-empty">Train to see both errors.</p>', "Share of wrong answers")


def alike(tried: list[Course], course: Course) -> list[Course]:
    """Returns the trainings on the same images with other switches."""
    return [other for other in tried if other.conditions == course.conditions and other.names != course.names]


def course_picture(course: Course) -> str:
    """Returns a chart of both errors by step, as HTML."""
    detail = f"{course.name} switched on; {10 * course.per_class} training images, seed {course.seed}"
    if course.kept is not None:
        state = "stopped, kept" if course.done else "lowest validation loss so far"
        detail += f"; {state}: step {course.kept}"
    errors = {
        "step": course.steps,
        "train_error": course.train,
        "test_error": course.test,
        "kept": course.kept,
    }
    return error_curves(errors, "Share of wrong answers", detail).html()


def gaps_picture(courses: list[Course]) -> str:
    """Returns a chart of the gap of each training, as HTML."""
    names = ("train_error", "test_error", "error")
    rows = {course.name: dict(zip(names, course.last, strict=True)) for course in courses}
    return gaps(
        rows, "The gap", "from the training error to the error on 360 test images labeled alike"
    ).html()


def sample_picture(names: list[str], per_class: int, wrong: int, seed: int) -> Picture:
    """Draws the training images, one row per label; augmented images look as they may in a batch."""
    seed = int(seed or 0)
    sample, _ = few_images(digits().train, int(per_class), wrong / 100, seed)
    pixels = sample.pixels
    detail = "one row per label; some images are in the wrong row" if wrong else "one row per label"
    augmentation = with_switches(names, SWITCHES).augmentation(sample)
    if augmentation is not None:
        generator = torch.Generator().manual_seed(seed)
        # (images, 1, 8, 8) -> (images, 8, 8)
        values = augmentation(sample[:]["pixel_values"], generator).squeeze(1).numpy()
        # Undo the standardization.
        pixels = np.clip(255 * (values * sample.std + sample.mean), 0, 255).astype(np.uint8)
        detail += "; as one batch may show them, never the same again"
    rows = [pixels[sample.labels == label] for label in range(10)]  # (images of the label, 8, 8) each
    columns = max(map(len, rows))
    # Wrong labels make rows of different lengths; the rest of a row stays empty.
    sheet = np.zeros((10, columns, *pixels.shape[1:]), dtype=np.uint8)
    for label, row in enumerate(rows):
        sheet[label, : len(row)] = row
    # (10, columns, 8, 8) -> (10 * columns, 8, 8)
    return images(sheet.reshape(-1, *pixels.shape[1:]), columns, f"{len(sample)} training images", detail)
