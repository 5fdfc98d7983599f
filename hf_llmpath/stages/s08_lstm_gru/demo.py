"""Builds the page of stage 8: gates that open and close over a text, and the three cells side by side."""

from collections.abc import Iterator

import gradio as gr

from ...charts.matrix import strips
from ...charts.picture import figure
from ...decoding.character_writer import CharacterWriter, load_character_writer
from ...runs import RunFolder
from ...ui import pictures
from ...ui.controls import empty_text, every_few, sampling_caption, writing_controls
from ...ui.page import compared, html, section, stage_page
from . import STAGE
from .charts import CELLS, adding_chart, memory_chart

EXAMPLES = (
    '"I was looking for you everywhere!" cried Karl.',
    "On a rainy afternoon, Mara the baker could not find her white boat.",
    '"Just feed the hens for me," said Rosa.',
)
MOST_UNITS = 512  # the range of the unit slider; a number beyond the model selects its last unit
# Candidates and the cell state have no name here: they are contents, not gates.
GATES = {
    "input_gate": "input gate",
    "forget_gate": "forget gate",
    "output_gate": "output gate",
    "reset_gate": "reset gate",
    "update_gate": "update gate",
    "hidden_state": "hidden state",
}


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the models and the measurements from `folder` once the run is complete."""

    def model(cell: str) -> CharacterWriter:
        return load_character_writer(folder.model(cell))

    def from_run() -> tuple[str, str]:
        metrics = folder.metrics
        tables = compared(metrics, CELLS, "Text: RNN, GRU and LSTM compared")
        tables += compared(metrics, CELLS, "Adding problem: RNN, GRU and LSTM compared", prefix="adding/")
        charts = memory_chart(folder).html() + adding_chart(folder).html()
        return tables, f'<div class="lp lp-gallery">{charts}</div>'

    def read(prompt: str, cell: str, unit: int) -> str:
        return gates_picture(model(cell), prompt, int(unit))

    def write(prompt: str, temperature: float, length: int, seed: int, cell: str) -> Iterator[str]:
        # An empty seed field arrives as None.
        for writing, last in every_few(model(cell).write(prompt, temperature, length, seed or 0)):
            caption = f"Written by the {CELLS[cell]}: {sampling_caption(temperature, seed).lower()}"
            yield pictures.plain_text(writing.text, caption, prompt=prompt, writing=not last)

    with stage_page(STAGE, folder, model_id) as page:
        cell = gr.Radio(
            [(name, cell) for cell, name in CELLS.items()], value="lstm", label="Model", elem_id="cell"
        )
        controls = writing_controls(page, EXAMPLES)
        page.remember(cell=cell)
        html(section("Gates over the text", "An open gate lets through, a closed one holds back."))
        unit = gr.Slider(
            0,
            MOST_UNITS,
            value=0,
            step=1,
            label="Unit",
            info="0 picks the one that moves most",
            elem_id="unit",
        )
        gates = html(elem_id="gates")
        html(section("Write"))
        page.writer(write, [*controls.all, cell], lambda: [empty_text(elem_id="written")])
        html(
            section(
                "A fair table",
                "Equal parameters, the same text, and the seconds that each took: what the gates buy.",
            )
        )
        table = html(elem_id="fair-table")
        html(
            section(
                "How far the memory reaches",
                "The gradient k steps back, and a task that needs a long memory.",
            )
        )
        memory = html(elem_id="memory")
        page.set_up(from_run, [table, memory])
        page.on_change([controls.prompt, cell, unit], read, [controls.prompt, cell, unit], [gates])
    return page.blocks


def gates_picture(model: CharacterWriter, prompt: str, unit: int) -> str:
    """Draws a strip for each gate, once for the mean over all units and once for a single unit.

    Args:
        model: the model that reads the prompt.
        prompt: the text to read.
        unit: the number of the single unit, counted from 1; 0 picks the unit that moves most.
    """
    tokens, gates = model.gates(prompt)  # name -> (time, hidden)
    rows = {GATES[gate]: values for gate, values in gates.items() if gate in GATES}
    config = model.model.config
    name = (
        f"Gates of the {CELLS[config.cell]}"
        if config.cell != "rnn"
        else "The RNN has no gates: its hidden state"
    )
    if not tokens:
        return figure('<p class="lp-empty">Type a text to see the gates.</p>', name)
    chosen = min(unit, config.hidden_size) - 1
    if unit == 0:
        # The standard deviation over time is (hidden,) for each gate; the gates add up.
        chosen = int(sum(values.std(axis=0) for values in rows.values()).argmax())
    means = {gate: values.mean(axis=1) for gate, values in rows.items()}  # (time, hidden) -> (time,)
    single = {gate: values[:, chosen] for gate, values in rows.items()}  # (time, hidden) -> (time,)
    why = "The one that moves most over this text." if unit == 0 else f"One of {config.hidden_size}."
    detail = f"Mean over {config.hidden_size} units. {model.note(prompt)}".strip()
    charts = (
        strips(means, tokens, name, detail).html() + strips(single, tokens, f"Unit {chosen + 1}", why).html()
    )
    return f'<div class="lp lp-stack">{charts}</div>'
