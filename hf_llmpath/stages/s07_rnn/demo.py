"""Builds the page of stage 7: a look into the memory of a recurrent network while it reads and writes."""

from collections.abc import Iterator

import gradio as gr
import numpy as np

from ...charts.matrix import heat_map
from ...charts.picture import figure
from ...charts.text import colored_text
from ...decoding.character_writer import CharacterWriter, Trace, load_character_writer
from ...runs import RunFolder
from ...ui.controls import empty_text, every_few, sampling_caption, writing_controls
from ...ui.page import html, section, stage_page
from . import STAGE
from .charts import gradient_chart

EXAMPLES = (
    '"Come along!" said Ivy, and she ran to the harbour. "It was worth every step, was it not?" said Jonas.',
    "Otto had a blue hat, Edith had a red one.\nThey talked until late.",
    '"Please mend my book," Mara begged. "Not now," said Ada.',
)
MOST_UNITS = 8192  # the range of the unit slider until the size of the model is known
ROWS = 40  # maximum number of units in the heat map


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the model and the measurements from `folder` once the run is complete."""

    def model() -> CharacterWriter:
        return load_character_writer(folder.model_dir)

    def from_run() -> tuple[gr.Radio, gr.Slider, str]:
        measured = folder.figure_data("readable_unit")
        table = measured.get("table") or [measured]  # a run may hold the best unit alone
        features: dict[int, list[str]] = {}
        for row in table:  # one unit may follow several features
            features.setdefault(row["unit"], []).append(row["feature"])
        choices = [(f"{', '.join(names)} · unit {unit}", unit) for unit, names in features.items()]
        last = model().model.config.hidden_size - 1
        return (
            gr.Radio(choices, value=measured["unit"]),
            gr.Slider(0, last, value=measured["unit"], step=1),
            gradient_chart(folder).html(),
        )

    def read(prompt: str, unit: int) -> tuple[str, str]:
        trace = model().states(prompt)  # its values are (time, units)
        # The address of the page keeps the unit, which may come from a larger model.
        unit = min(int(unit), model().model.config.hidden_size - 1)
        return text_picture(folder, trace, unit, model().note(prompt)), heat_picture(trace, unit)

    def write(prompt: str, temperature: float, length: int, seed: int, unit: int) -> Iterator[str]:
        # An empty seed field arrives as None.
        for writing, last in every_few(
            model().write(prompt, temperature, length, seed or 0, with_states=True)
        ):
            unit = min(int(unit), model().model.config.hidden_size - 1)
            yield text_picture(
                folder, writing.trace, unit, f"{sampling_caption(temperature, seed)}.", caret=not last
            )

    with stage_page(STAGE, folder, model_id) as page:
        controls = writing_controls(page, EXAMPLES, lines=3)
        html(
            section(
                "One unit of the memory", "Each unit of the hidden state is a number that it carries along."
            )
        )
        named = gr.Radio(
            label="Units that follow something readable", info="Found by correlation after the training"
        )
        # A complete run sets the unit before the page opens, so early typing does not show another unit.
        first = folder.figure_data("readable_unit")["unit"] if folder.is_complete else 0
        unit = gr.Slider(
            0, MOST_UNITS - 1, value=first, step=1, label="Unit", info="Or look at any other", elem_id="unit"
        )
        page.remember(unit=unit)
        colored = html(elem_id="colored")
        html(
            section(
                "The whole memory", "Time runs to the right. Watch which units hold on and which flicker."
            )
        )
        heat = html(elem_id="heat")
        html(section("Write", "The network reads its own text, and the same unit follows along."))
        page.writer(write, [*controls.all, unit], lambda: [empty_text(elem_id="written")])
        html(
            section("Why it forgets", "The gradient that reaches back through time shrinks with every step.")
        )
        lags = html(elem_id="gradient-by-lag")
        page.set_up(from_run, [named, unit, lags])
        named.input(lambda chosen: chosen, named, unit, show_progress="hidden", api_visibility="private")
        page.on_change([controls.prompt, unit], read, [controls.prompt, unit], [colored, heat])
    return page.blocks


def text_picture(folder: RunFolder, trace: Trace, unit: int, note: str = "", caret: bool = False) -> str:
    """Draws the text, colored by one unit, and names the features that the unit follows, if any."""
    measured = folder.figure_data("readable_unit")
    known = [row for row in measured.get("table") or [measured] if row["unit"] == unit]
    follows = [
        f"“{row['feature']}” (correlation {row['correlation']:+.2f} on held-out text)" for row in known
    ]
    detail = f"Follows {' and '.join(follows)}. {note}" if follows else note
    # (time, units) -> (time,); an empty trace may have no column to select.
    values = trace.values[:, unit] if trace.tokens else np.zeros(0)
    return colored_text(trace.tokens, values, f"Text colored by unit {unit}", detail.strip(), caret).html()


def heat_picture(trace: Trace, unit: int) -> str:
    """Draws the chosen unit over time, followed by the units that vary most over this text."""
    if not trace.tokens:
        return figure(
            '<p class="lp-empty">Type a text to see the hidden state.</p>', "Hidden state over time"
        )
    # Sort the units by their standard deviation over time, (units,), from large to small.
    order = [unit, *(int(u) for u in np.argsort(-trace.values.std(axis=0)) if u != unit)][:ROWS]
    detail = f"Unit {unit} in the frame, then the {len(order) - 1} units that vary most over this text."
    values = trace.values[:, order].T  # (time, units) -> (rows, time)
    return heat_map(values, order, trace.tokens, "Hidden state over time", detail, highlight=0).html()
