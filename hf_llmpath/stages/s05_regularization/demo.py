"""The page of stage 5: switch the regularizers on and off, and watch the gap between training and test error."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import torch

from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import SHOWN, STAGE
from .live_overfitting import SWITCHES, Course, digits, learn
from .regularized import few_images, with_switches

FRAME = 0.06  # seconds between two pictures of a training


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; what the run measured is read from `folder` when it is there."""

    def train(
        names: list[str], per_class: int, wrong: int, seed: int, tried: list[Course]
    ) -> Iterator[tuple[str, str, list[Course]]]:
        per_class, seed = int(per_class), int(seed or 0)
        course = None
        for course in learn(names, per_class, wrong / 100, seed, FRAME):
            yield course_picture(course), gaps_picture(alike(tried, course) + [course]), tried
        others = [known for known in tried if key(known) != key(course)]
        yield course_picture(course), gaps_picture(alike(others, course) + [course]), [*others, course]

    def from_run() -> tuple[str, str]:
        return table_of(folder.metrics), histograms_picture(folder)

    def show_course(name: str) -> str:
        curves = folder.figure_data("curves")[name]
        lines = {
            "training images": (curves["step"], curves["train_error"]),
            "test images": (curves["step"], curves["test_error"]),
        }
        return pictures.line_chart(
            lines, f"{SHOWN[name]}: share of wrong answers", "training step", "first seed"
        )

    with stage_page(STAGE, folder, model_id) as page:
        with page.always:
            html(
                section(
                    "Overfit, then mend it",
                    "A network of 85,000 weights learns a few digits by heart, the wrong labels too.",
                )
            )
            names = gr.CheckboxGroup(
                list(SWITCHES),
                value=[],
                label="Switched on",
                info="Train with none first, then with some",
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
                    0,
                    40,
                    value=20,
                    step=5,
                    label="Wrong labels among them, %",
                    min_width=200,
                    elem_id="wrong",
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
            for trigger in (page.blocks.load, *(part.change for part in (names, per_class, wrong, seed))):
                trigger(
                    sample_picture,
                    [names, per_class, wrong, seed],
                    sample,
                    show_progress="hidden",
                    api_visibility="private",
                    trigger_mode="always_last",
                )
        html(
            section(
                "The table of the run",
                "Each row learned the same few images; the gap is test minus training error.",
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
        html(
            section(
                "What batch normalization does", "The values that the activations read, before and after it."
            )
        )
        histograms = html(elem_id="histograms")
        page.set_up(from_run, [table, histograms])
        page.on_change([chosen], show_course, [chosen], [course])
    return page.blocks


def table_of(metrics: dict[str, Any]) -> str:
    """Errors in percent, a row for each set of regularizers, with deviations where there are several seeds."""

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


EMPTY = pictures.figure('<p class="lp-empty">Train to see both errors.</p>', "Share of wrong answers")


def key(course: Course) -> tuple:
    return course.names, course.per_class, course.wrong, course.seed


def alike(tried: list[Course], course: Course) -> list[Course]:
    """Trainings on the same images, the last one of each set of switches."""
    return [other for other in tried if key(other)[1:] == key(course)[1:] and other.names != course.names]


def course_picture(course: Course) -> str:
    """Both errors against the step."""
    lines = {"training images": (course.steps, course.train), "test images": (course.steps, course.test)}
    detail = f"{course.name} switched on; {10 * course.per_class} training images, seed {course.seed}"
    if course.kept is not None:
        detail += (
            f"; {'stopped, kept' if course.done else 'lowest validation loss so far'}: step {course.kept}"
        )
    return pictures.line_chart(lines, "Share of wrong answers", "training step", detail)


def gaps_picture(courses: list[Course]) -> str:
    """A bar from the training error to the test error for each training."""
    worst = max(max(course.last[:2]) for course in courses) or 1.0
    rows = []
    for course in courses:
        train, test, true = course.last
        left, width = 100 * min(train, test) / worst, 100 * abs(test - train) / worst
        by_truth = f"; {true:.1%} by true labels" if course.wrong else ""
        rows.append(
            f'<div role="listitem" data-name="{course.name}"><span>{course.name}</span>'
            f'<b aria-hidden="true"><i style="margin-left:{left:.1f}%;width:{width:.1f}%"></i></b>'
            f'<span class="lp-bar-value">{train:.1%} → {test:.1%}, gap {100 * (test - train):.1f}{by_truth}</span></div>'
        )
    detail = "from the error on the training images to the error on 360 others that are labeled alike"
    return pictures.figure(
        f'<div class="lp-bars lp-gaps" role="list">{"".join(rows)}</div>', "The gap", detail
    )


def sample_picture(names: list[str], per_class: int, wrong: int, seed: int) -> str:
    """The training images, a row for each label; with augmentation, as a batch may show them."""
    seed = int(seed or 0)
    sample, _ = few_images(digits().train, int(per_class), wrong / 100, seed)
    pixels, detail = (
        sample.pixels,
        "a row for each label; some are in the wrong row" if wrong else "a row for each label",
    )
    augmentation = with_switches(names, SWITCHES).augmentation(sample)
    if augmentation is not None:
        values = (
            augmentation(sample[:]["pixel_values"], torch.Generator().manual_seed(seed)).squeeze(1).numpy()
        )
        pixels = np.clip(255 * (values * sample.std + sample.mean), 0, 255).astype(np.uint8)
        detail += "; as one batch may show them, never the same again"
    rows = [pixels[sample.labels == label] for label in range(10)]
    columns = max(map(len, rows))
    sheet = np.zeros((10, columns, *pixels.shape[1:]), dtype=np.uint8)
    for label, row in enumerate(rows):
        sheet[label, : len(row)] = row
    return pictures.images(
        sheet.reshape(-1, *pixels.shape[1:]), columns, f"{len(sample)} training images", detail
    )


def histograms_picture(folder: RunFolder) -> str:
    """What the activations of each layer read, before and after batch normalization."""
    found = folder.figure_data("histograms")
    shown = []
    for layer in found["layers"]:
        lines = {part: (found["centers"], layer[part]) for part in ("before", "after")}
        shown.append(
            pictures.line_chart(
                lines, f"Layer {layer['layer']}", "value", "share of all units and test images"
            )
        )
    return f'<div class="lp lp-gallery">{"".join(shown)}</div>'
