"""The page of stage 15: a story written by models of growing size, what they expect next, and the law
that they follow.
"""

import math
from collections.abc import Iterator

import gradio as gr

from ...charts.wording import number
from ...decoding.character_writer import CharacterWriter, load_character_writer
from ...runs import RunFolder
from ...ui import pictures
from ...ui.controls import drawn, every, writing_controls, written
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import STAGE
from .charts import COSTS, LOOPS, laws

EXAMPLES = ("One rainy morning, ", '"Oh no, the hat is ', "The dog was g", "Before bedtime Sam ")
SHOWN = 12  # bars
LARGEST = 5  # sizes on the slider before the main model


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the models are read from `folder` when they are there."""

    def widths() -> list[int]:
        return list(folder.report["settings"]["widths"])

    def model(size: int) -> CharacterWriter:
        sizes = widths()
        place = max(1, int(size)) - 1
        return load_character_writer(
            folder.model(f"width-{sizes[place]}") if place < len(sizes) else folder.model_dir
        )

    def sizes(size: int) -> gr.Slider:
        # Only what changes is sent: the page begins at the main model of a run with the usual number of
        # sizes.
        count = len(widths()) + 1
        return gr.Slider(maximum=count, value=min(int(size), count)) if count != LARGEST + 1 else gr.skip()

    def next_character(prompt: str, temperature: float, size: int) -> str:
        found = model(size)
        rows = found.next_probabilities(prompt, temperature)
        rest = sum(probability for _, probability in rows[SHOWN:])
        detail = (
            f"a model of {found.parameters:,} weights, after “{pictures.shortened(prompt)}”, at temperature {temperature:g}; "
            f"all others together {rest:.1%}"
        )
        return pictures.bars(
            rows[:SHOWN], "Probability of the next character", f"{detail}. {found.note(prompt)}".strip()
        )

    def write(prompt: str, temperature: float, length: int, seed: int, size: int) -> Iterator[str]:
        found = model(size)
        caption = f"Written by {found.parameters:,} weights: {drawn(temperature, seed).lower()}"
        for writing, last in every(found.write(prompt, temperature, length, seed or 0)):
            yield pictures.plain_text(writing.text, caption, prompt=prompt, writing=not last)

    def from_run() -> tuple[str, str, str]:
        return law_pictures(folder), footprint_pictures(folder), agreement_pictures(folder)

    with stage_page(STAGE, folder, model_id) as page:
        controls = writing_controls(page, EXAMPLES)
        size = gr.Slider(
            1,
            LARGEST + 1,
            value=LARGEST + 1,
            step=1,
            label="Size of the model",
            info="1 is the smallest; the largest is the main model",
            elem_id="size",
        )
        page.remember(size=size)
        page.set_up(lambda: sizes(LARGEST + 1), [size])
        html(
            section(
                "What comes next?",
                "Type, and watch models of different size weigh every possible next character.",
            )
        )
        bars = html(elem_id="next-character")
        page.on_change(
            [controls.prompt, controls.temperature, size], next_character, [*controls.all[:2], size], [bars]
        )
        html(section("Write", "The same seed and the same beginning; only the size of the model differs."))
        page.writer(write, [*controls.all, size], lambda: [written(elem_id="written")])
        html(
            section(
                "The scaling law",
                "Loss against size: a line on logarithmic axes, carried on to a larger model.",
            )
        )
        law = html(elem_id="law")
        html(section("What a step costs", "Memory can be bought with time, and both saved by fewer bits."))
        costs = html(elem_id="costs")
        html(section("One training, run in different ways", "Loss curves that must be the same."))
        agreement = html(elem_id="agreement")
        page.set_up(from_run, [law, costs, agreement])
    return page.blocks


def law_pictures(folder: RunFolder) -> str:
    """The points and the line, and a table of both."""
    points = folder.figure_data("scaling")
    law = laws(points)["inner_parameters"]
    sizes = [point["inner_parameters"] for point in points]
    places = [math.log10(size) for size in sizes]
    measured = [point["validation_loss"] for point in points]
    expected = [law.at(size) for size in sizes]
    chart = pictures.line_chart(
        {"measured": (places, measured), f"line: N to the power of −{law.exponent:.3f}": (places, expected)},
        "Loss against parameters",
        "logarithm (base 10) of the parameters, embeddings left out",
        "nats per character, logarithmic; the line is fitted to all but the last",
        log_y=True,
    )
    rows = [
        [f"{point['width']} wide", f"{size:,}", number(loss), number(line)]
        for point, size, loss, line in zip(points, sizes, measured, expected, strict=True)
    ]
    rows[-1][0] += ", left out of the fit"
    return chart + pictures.table(
        ["model", "parameters", "measured", "line"], rows, "The scaling law in numbers"
    )


def footprint_pictures(folder: RunFolder) -> str:
    """Memory and time of a step, for each way to take it."""
    rows, metrics = folder.figure_data("footprint"), folder.metrics
    memory = [(name, rows[key]["peak_memory_mb"]) for key, name in COSTS.items()]
    times = [(name, metrics[f"{key}/milliseconds"]) for key, name in COSTS.items()]
    charts = pictures.bars(memory, "Peak memory of a step", "megabytes, weights left out", "{:.0f}")
    return f'<div class="lp lp-gallery">{charts}{pictures.bars(times, "Time of a step", "milliseconds", "{:.0f}")}</div>'


def agreement_pictures(folder: RunFolder) -> str:
    """The loss curves of the loops, and how far each is from the Trainer's."""
    curves, metrics = folder.figure_data("agreement"), folder.metrics
    lines = {LOOPS[name]: (range(1, len(values) + 1), values) for name, values in curves.items()}
    chart = pictures.line_chart(lines, "Loss after every step", "step", "the lines lie on each other")
    rows = [
        [LOOPS[name], number(metrics[f"{name}/loss_difference"])]
        for name in curves
        if f"{name}/loss_difference" in metrics
    ]
    return chart + pictures.table(
        ["loop", "largest difference"], rows, "Difference from the Trainer's curve, in nats"
    )
