"""The page of stage 6: the model predicts what comes next, character by character."""

from collections.abc import Iterator
from itertools import zip_longest

import gradio as gr

from ...charts.picture import shortened
from ...decoding.character_writer import CharacterWriter, load_character_writer
from ...runs import RunFolder
from ...ui import pictures
from ...ui.controls import empty_text, every_few, sampling_caption, writing_controls
from ...ui.page import html, section, stage_page
from . import STAGE
from .charts import forecasts, next_characters, one_hot

EXAMPLES = ("One rainy morning, ", '"Oh no, the hat is ', "The dog was g", "Before bedtime Sam ")
TEMPERATURES = (0.3, 0.7, 1.2)
SHOWN = 12  # bars in the chart of next characters


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page, which uses the model and the forecasts of the run in `folder`, if it has any."""

    def model() -> CharacterWriter:
        return load_character_writer(folder.model_dir)

    def next_character(prompt: str, temperature: float) -> tuple[str, str]:
        return bars_picture(model(), prompt, temperature), one_hot_picture(model(), prompt)

    def write(prompt: str, temperature: float, length: int, seed: int) -> Iterator[str]:
        for writing, last in every_few(model().write(prompt, temperature, length, seed or 0)):
            yield pictures.plain_text(
                writing.text, sampling_caption(temperature, seed), prompt=prompt, writing=not last
            )

    def compare(prompt: str, length: int, seed: int) -> Iterator[list[str]]:
        texts = [""] * len(TEMPERATURES)
        # Texts may end at different lengths; `zip_longest` yields None for a text that has ended.
        streams = zip_longest(*(model().write(prompt, heat, length, seed or 0) for heat in TEMPERATURES))
        for writings, last in every_few(streams):
            texts = [writing.text if writing else text for writing, text in zip(writings, texts, strict=True)]
            yield [
                pictures.plain_text(text, sampling_caption(heat, seed), prompt=prompt, writing=not last)
                for text, heat in zip(texts, TEMPERATURES, strict=True)
            ]

    def gallery() -> str:
        charts = "".join(picture.html() for picture in forecasts(folder).values())
        return f'<div class="lp lp-gallery">{charts}</div>'

    with stage_page(STAGE, folder, model_id) as page:
        controls = writing_controls(page, EXAMPLES)
        html(section("What comes next?", "Type, and watch the model weigh every possible next character."))
        bars = html(elem_id="next-character")
        row = html(elem_id="one-hot")
        page.on_change([controls.prompt, controls.temperature], next_character, controls.all[:2], [bars, row])
        html(
            section(
                "Write", "Draw a character, add it to the text, read it again. Writing is no more than that."
            )
        )
        page.writer(write, controls.all, lambda: [empty_text(elem_id="written")])
        html(
            section(
                "Three temperatures", "The same model and seed. Only the sharpness of the choice differs."
            )
        )
        page.writer(compare, [controls.prompt, controls.length, controls.seed], side_by_side, label="Compare")
        html(
            section(
                "The same cell forecasts a series", "Text is not the only sequence: so is a value a month."
            )
        )
        series = html(elem_id="forecasts")
        page.set_up(gallery, [series])
    return page.blocks


def side_by_side() -> list[gr.HTML]:
    """Makes an empty frame for each temperature, side by side."""
    with gr.Row():
        return [empty_text(f"Temperature {heat:g}", min_width=260) for heat in TEMPERATURES]


def bars_picture(model: CharacterWriter, prompt: str, temperature: float) -> str:
    """Returns a chart of the most probable next characters, as HTML."""
    rows = model.next_probabilities(prompt, temperature)
    rest = sum(probability for _, probability in rows[SHOWN:])
    detail = f"After “{shortened(prompt)}”, at temperature {temperature:g}; all others together {rest:.1%}."
    detail = f"{detail} {model.note(prompt)}".strip()
    return next_characters(rows[:SHOWN], "Probability of the next character", detail).html()


def one_hot_picture(model: CharacterWriter, prompt: str) -> str:
    """Returns the input of the current step as HTML: a cell per vocabulary entry, of which one is lit."""
    hot = int(model.encode(prompt)[0, -1])  # the last id of (1, 1 + length)
    # Byte tokens are counted, but not drawn.
    cells = [
        label for label in model.labels(list(range(len(model.tokenizer)))) if not label.startswith("<0x")
    ]
    width = model.model.get_input_embeddings().weight.shape[1]
    detail = (
        f"Multiplied by the embedding matrix ({len(model.tokenizer)} × {width}), it picks row {hot}. "
        f"This is why an embedding look-up needs no multiplication."
    )
    hidden = len(model.tokenizer) - len(cells)
    return one_hot(cells, [hot], "The current character as a one-hot row", detail, hidden).html()
