"""The page of stage 5: switch the regularizers on and off, and watch the gap between training and test error."""

from collections.abc import Iterator

import gradio as gr
import numpy as np

from ...runs import RunFolder
from ...training.regularized import small_sample, with_switches
from ...ui import pictures
from ...ui.live_overfitting import SWITCHES, Course, digits, learn
from ...ui.page import html, stage_page
from ...ui.panels import compared, section
from . import SHOWN, STAGE

FRAME = 0.06  # seconds between two pictures of a training


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; what the run measured is read from `folder` when it is there."""

    def train(
        names: list[str], per_class: int, seed: int, tried: list[Course]
    ) -> Iterator[tuple[str, str, list[Course]]]:
        per_class, seed = int(per_class), int(seed or 0)
        course = None
        for course in learn(names, per_class, seed, FRAME):
            yield course_picture(course), gaps_picture(alike(tried, course) + [course]), tried
        others = [known for known in tried if key(known) != key(course)]
        yield course_picture(course), gaps_picture(alike(others, course) + [course]), [*others, course]

    def from_run() -> tuple[str, str, gr.Radio]:
        metrics = folder.metrics
        variants = {name: shown for name, shown in SHOWN.items() if f"{name}/error" in metrics}
        table = compared(metrics, variants, "The table of the run: few training images")
        return table, histograms_picture(folder), gr.Radio([(shown, name) for name, shown in variants.items()])

    def show_course(name: str) -> str:
        curves = folder.figure_data("curves")[name]
        lines = {
            "training images": (curves["step"], curves["train_error"]),
            "test images": (curves["step"], curves["error"]),
        }
        return pictures.line_chart(lines, f"{SHOWN[name]}: share of wrong answers", "training step", "first seed")

    with stage_page(STAGE, folder, model_id) as page:
        with page.always:
            html(section("Overfit, then mend it", "A network of 85,000 weights learns a handful of digits by heart."))
            names = gr.CheckboxGroup(
                list(SWITCHES),
                value=[],
                label="Switched on",
                info="Train with none first, then with some",
                elem_id="switches",
            )
            with gr.Row():
                per_class = gr.Slider(
                    2, 60, value=10, step=1, label="Training images of each digit", min_width=200, elem_id="per-class"
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
                [names, per_class, seed, tried],
                lambda: [html(EMPTY, elem_id="course"), html(elem_id="gaps"), tried],
                label="Train",
            )
            page.remember(images=per_class, seed=seed)
            for trigger in (page.blocks.load, per_class.change, seed.change, names.change):
                trigger(
                    sample_picture,
                    [names, per_class, seed],
                    sample,
                    show_progress="hidden",
                    api_visibility="private",
                    trigger_mode="always_last",
                )
        html(
            section(
                "The table of the run", "Each row learned the same few images; the gap is test minus training error."
            )
        )
        table = html(elem_id="table")
        chosen = gr.Radio(list(SHOWN), value="plain", label="Training and test error of", elem_id="variant")
        course = html(elem_id="run-course")
        html(section("What batch normalization does", "The values that the activations read, before and after it."))
        histograms = html(elem_id="histograms")
        page.set_up(from_run, [table, histograms, chosen])
        page.on_change([chosen], show_course, [chosen], [course])
    return page.blocks


EMPTY = pictures.figure('<p class="lp-empty">Train to see both errors.</p>', "Share of wrong answers")


def key(course: Course) -> tuple:
    return course.names, course.per_class, course.seed


def alike(tried: list[Course], course: Course) -> list[Course]:
    """Trainings on the same images, the last one of each set of switches."""
    same = [other for other in tried if (other.per_class, other.seed) == (course.per_class, course.seed)]
    return [other for other in same if other.names != course.names]


def course_picture(course: Course) -> str:
    """Both errors against the step."""
    lines = {"training images": (course.steps, course.train), "test images": (course.steps, course.test)}
    detail = f"{course.name} switched on; {10 * course.per_class} training images, seed {course.seed}"
    if course.kept is not None:
        detail += f"; {'stopped, kept' if course.done else 'lowest validation loss so far'}: step {course.kept}"
    return pictures.line_chart(lines, "Share of wrong answers", "training step", detail)


def gaps_picture(courses: list[Course]) -> str:
    """A bar from the training error to the test error for each training."""
    worst = max(course.last[1] for course in courses) or 1.0
    rows = []
    for course in courses:
        train, test = course.last
        left, width = 100 * train / worst, 100 * (test - train) / worst
        rows.append(
            f'<div role="listitem" data-name="{course.name}"><span>{course.name}</span>'
            f'<b aria-hidden="true"><i style="margin-left:{left:.1f}%;width:{max(width, 0):.1f}%"></i></b>'
            f'<span class="lp-bar-value">{train:.1%} → {test:.1%}, gap {test - train:.1%}</span></div>'
        )
    body = f'<div class="lp-bars lp-gaps" role="list">{"".join(rows)}</div>'
    return pictures.figure(body, "The gap", "from the error on the training images to the error on 360 others")


def sample_picture(names: list[str], per_class: int, seed: int) -> str:
    """The training images; with augmentation, as a batch may show them."""
    per_class, seed = int(per_class), int(seed or 0)
    sample, _ = small_sample(digits().train, per_class, seed)
    pixels, detail = sample.pixels, "all of them"
    augmentation = with_switches(names, SWITCHES).augmentation(sample, seed)
    if augmentation is not None:
        values = augmentation(sample[:]["pixel_values"]).squeeze(1).numpy()
        pixels = np.clip(255 * (values * sample.std + sample.mean), 0, 255).astype(np.uint8)
        detail = "as one batch may show them: never the same again"
    columns = per_class if per_class <= 24 else 30
    return pictures.images(pixels, columns, f"{len(sample)} training images", detail)


def histograms_picture(folder: RunFolder) -> str:
    """What the activations of each layer read, before and after batch normalization."""
    found = folder.figure_data("histograms")
    shown = []
    for layer in found["layers"]:
        lines = {part: (found["centres"], layer[part]) for part in ("before", "after")}
        shown.append(
            pictures.line_chart(lines, f"Layer {layer['layer']}", "value", "share of all units and test images")
        )
    return f'<div class="lp lp-gallery">{"".join(shown)}</div>'
