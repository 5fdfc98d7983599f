"""Builds the page of stage 15: texts by models of growing size, their next characters, the scaling law."""

from collections.abc import Iterator

import gradio as gr

from ...charts.picture import shortened
from ...charts.plots import bar_chart
from ...charts.wording import number
from ...decoding.character_writer import CharacterWriter, load_character_writer
from ...runs import RunFolder
from ...ui import pictures
from ...ui.controls import empty_text, every_few, sampling_caption, writing_controls
from ...ui.page import html, section, stage_page
from . import STAGE
from .charts import LOOPS, agreement_chart, cost_chart, fit_laws, law_chart

EXAMPLES = ("One rainy morning, ", '"Oh no, the hat is ', "The dog was g", "Before bedtime Sam ")
SHOWN = 12  # bars of likely characters
LARGEST = 5  # the usual number of sizes before the main model, which comes last on the slider


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the models and the measurements from `folder` once the run is complete."""

    def widths() -> list[int]:
        return list(folder.report["settings"]["widths"])

    def model(size: int) -> CharacterWriter:
        sizes = widths()
        index = max(1, int(size)) - 1
        return load_character_writer(
            folder.model(f"width-{sizes[index]}") if index < len(sizes) else folder.model_dir
        )

    def sizes(size: int) -> gr.Slider:
        # The slider already fits a run with the usual sizes; an update could undo what a visitor has chosen.
        count = len(widths()) + 1
        return gr.Slider(maximum=count, value=min(int(size), count)) if count != LARGEST + 1 else gr.skip()

    def next_character(prompt: str, temperature: float, size: int) -> str:
        writer = model(size)
        rows = writer.next_probabilities(prompt, temperature)
        rest = sum(probability for _, probability in rows[SHOWN:])
        detail = (
            f"A model of {writer.parameters:,} weights, after “{shortened(prompt)}”, at temperature "
            f"{temperature:g}; all other characters together: {rest:.1%}. {writer.note(prompt)}"
        )
        caption, percent = "Probability of the next character", "{:.1%}".format
        return bar_chart(rows[:SHOWN], caption, detail=detail.strip(), form=percent, tokens=True).html()

    def write(prompt: str, temperature: float, length: int, seed: int, size: int) -> Iterator[str]:
        writer = model(size)
        caption = f"Written by {writer.parameters:,} weights: {sampling_caption(temperature, seed).lower()}"
        # `seed or 0`: an emptied field sends None.
        for writing, last in every_few(writer.write(prompt, temperature, length, seed or 0)):
            yield pictures.plain_text(writing.text, caption, prompt=prompt, writing=not last)

    def from_run() -> tuple[str, str, str]:
        return law_pictures(folder), cost_chart(folder).html(), agreement_pictures(folder)

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
        html(section("What comes next?", "Type, and watch models of each size weigh every next character."))
        bars = html(elem_id="next-character")
        page.on_change(
            [controls.prompt, controls.temperature, size], next_character, [*controls.all[:2], size], [bars]
        )
        html(section("Write", "The seed and the beginning are the same; only the size of the model differs."))
        page.writer(write, [*controls.all, size], lambda: [empty_text(elem_id="written")])
        html(section("The scaling law", "On logarithmic axes, loss against size is a line."))
        law = html(elem_id="law")
        html(
            section(
                "What a step costs",
                "Recomputing saves memory and costs time; 16 bits save memory and may save time.",
            )
        )
        costs = html(elem_id="costs")
        html(section("One training, run in different ways", "Loss curves that must be the same."))
        agreement = html(elem_id="agreement")
        page.set_up(from_run, [law, costs, agreement])
    return page.blocks


def law_pictures(folder: RunFolder) -> str:
    """Renders the picture of the scaling law and a table of its points and its line."""
    points = folder.figure_data("scaling")
    law = fit_laws(points)["inner_parameters"]
    rows = [
        [f"{point['width']} wide", f"{size:,}", number(point["validation_loss"]), number(law.at(size))]
        for point in points
        for size in [point["inner_parameters"]]
    ]
    rows[-1][0] += ", left out of the fit"
    columns = ["model", "parameters", "measured", "line"]
    return law_chart(points).html() + pictures.table(columns, rows, "The scaling law in numbers")


def agreement_pictures(folder: RunFolder) -> str:
    """Renders the loss curves of the loops and a table of how far each is from the Trainer's."""
    metrics = folder.metrics
    rows = [
        [LOOPS[name], number(metrics[f"{name}/loss_difference"])]
        for name in folder.figure_data("agreement")
        if f"{name}/loss_difference" in metrics
    ]
    caption = "Difference from the Trainer's curve, in nats"
    return agreement_chart(folder).html() + pictures.table(["loop", "largest difference"], rows, caption)
