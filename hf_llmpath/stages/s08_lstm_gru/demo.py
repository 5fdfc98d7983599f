"""The page of stage 8: gates that open and close over a text, and the three cells side by side."""

from collections.abc import Iterator

import gradio as gr

from ...runs import RunFolder
from ...ui import pictures
from ...ui.controls import every, writing_controls, written
from ...ui.language import CharacterModel, load_character_model
from ...ui.page import html, stage_page
from ...ui.panels import compared, section
from . import STAGE

EXAMPLES = (
    '"I was looking for you everywhere!" cried Karl.',
    "On a rainy afternoon, Mara the baker could not find her white boat.",
    '"Just feed the hens for me," said Rosa.',
)
CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
GATES = {
    "input_gate": "input gate",
    "forget_gate": "forget gate",
    "output_gate": "output gate",
    "reset_gate": "reset gate",
    "update_gate": "update gate",
    "hidden_state": "hidden state",
}


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the models are read from `folder` when they are there."""

    def model(cell: str) -> CharacterModel:
        return load_character_model(folder.model(cell))

    def set_up() -> tuple[str, str]:
        metrics = folder.metrics
        tables = compared(metrics, CELLS, "Text: RNN, GRU and LSTM compared")
        tables += compared(metrics, CELLS, "Adding problem: RNN, GRU and LSTM compared", prefix="adding/")
        return tables, memory_pictures(folder)

    def read(prompt: str, cell: str, unit: int) -> str:
        return gates_picture(model(cell), prompt, int(unit) - 1)

    def write(prompt: str, temperature: float, length: int, seed: int, cell: str) -> Iterator[str]:
        for writing, last in every(model(cell).write(prompt, temperature, length, seed or 0)):
            yield pictures.plain_text(writing.text, f"Written by the {CELLS[cell]}", prompt=prompt, writing=not last)

    with stage_page(STAGE, folder, model_id) as page:
        cell = gr.Radio([(name, cell) for cell, name in CELLS.items()], value="lstm", label="Model", elem_id="cell")
        controls = writing_controls(page, EXAMPLES)
        page.remember(cell=cell)
        html(section("Gates over the text", "An open gate lets through, a closed one holds back."))
        unit = gr.Slider(0, 512, value=0, step=1, label="Unit", info="0 is the mean over all units", elem_id="unit")
        gates = html(elem_id="gates")
        html(section("Write"))
        page.writer(write, [*controls.all, cell], lambda: [written(elem_id="written")])
        html(section("A fair table", "Equal parameters, equal data, equal time: what the gates buy."))
        table = html(elem_id="fair-table")
        html(section("How far the memory reaches", "The gradient k steps back, and a task that needs a long memory."))
        memory = html(elem_id="memory")
        page.on_ready(set_up, [], [table, memory])
        page.on_change([controls.prompt, cell, unit], read, [controls.prompt, cell, unit], [gates])
    return page.blocks


def gates_picture(model: CharacterModel, prompt: str, unit: int) -> str:
    """A strip per gate: mean over the units, or one `unit` (counted from 0) if it is not negative."""
    tokens, gates = model.gates(prompt)
    name = CELLS[model.model.config.cell]
    if not tokens:
        return pictures.figure('<p class="lp-empty">Type a text to see the gates.</p>', f"Gates of the {name}")
    rows = {GATES[gate]: values for gate, values in gates.items() if gate in GATES}
    unit = min(unit, model.model.config.hidden_size - 1)
    strips = {gate: values[:, unit] if unit >= 0 else values.mean(axis=1) for gate, values in rows.items()}
    detail = f"unit {unit + 1}" if unit >= 0 else f"mean over {model.model.config.hidden_size} units"
    caption = f"Gates of the {name}" if model.model.config.cell != "rnn" else "The RNN has no gates: its hidden state"
    return pictures.strips(strips, tokens, caption, f"{detail}. {model.note(prompt)}".strip())


def memory_pictures(folder: RunFolder) -> str:
    """Gradient against distance, and the error on the adding problem as the cells train."""
    memory, adding = folder.figure_data("memory"), folder.figure_data("adding")
    lags = {name: (range(len(memory[cell])), memory[cell]) for cell, name in CELLS.items()}
    curves = {name: tuple(zip(*adding[cell], strict=True)) for cell, name in CELLS.items()}
    reach = pictures.line_chart(lags, "Gradient norm against distance", "steps back in time", "logarithmic", log_y=True)
    caption = "Adding problem: error on unseen examples"
    errors = pictures.line_chart(curves, caption, "training step", "logarithmic", log_y=True)
    return f'<div class="lp lp-gallery">{reach}{errors}</div>'
