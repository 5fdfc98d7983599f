"""Defines the controls for text that a model writes, and the display of a text while it grows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..decoding.character_writer import LONGEST_PROMPT, LONGEST_TEXT
from . import pictures
from .page import Page, html


@dataclass(frozen=True)
class WritingControls:
    """The inputs that determine a written text. `all` lists them in the order that page functions expect."""

    prompt: gr.Textbox
    temperature: gr.Slider
    length: gr.Slider
    seed: gr.Number

    @property
    def all(self) -> list[gr.components.Component]:
        return [self.prompt, self.temperature, self.length, self.seed]


def writing_controls(
    page: Page, examples: Sequence[str], length: int = 300, lines: int = 2
) -> WritingControls:
    """Adds examples, prompt, temperature, length, and seed; the page's address keeps all but the length.

    Args:
        page: the page to put them on.
        examples: texts of the example buttons; the first one is also the initial prompt.
        length: initial number of characters to write.
        lines: height of the prompt box in lines.
    """
    slug = page.stage.slug
    prompt = gr.Textbox(
        examples[0],
        label="Text",
        info="The model reads this first",
        lines=lines,
        max_lines=6,
        max_length=LONGEST_PROMPT,
        elem_id=f"{slug}-prompt",
        render=False,  # the examples stand above the box that they fill
    )
    page.examples(prompt, examples)
    prompt.render()
    with gr.Row():
        temperature = gr.Slider(
            0.1,
            2.0,
            value=0.7,
            step=0.05,
            label="Temperature",
            info="Low is safe, high is bold",
            min_width=200,
        )
        length = gr.Slider(
            20, LONGEST_TEXT, value=length, step=10, label="Characters to write", min_width=200
        )
        seed = gr.Number(
            0,
            label="Seed",
            info="Same seed, same text",
            precision=0,
            minimum=0,
            maximum=2**31 - 1,
            min_width=120,
            elem_id=f"{slug}-seed",
        )
    page.remember(prompt=prompt, temperature=temperature, seed=seed)
    return WritingControls(prompt, temperature, length, seed)


def sampling_caption(temperature: float, seed: int | None) -> str:
    """Returns a caption that says how a text was sampled."""
    return f"Temperature {temperature:g}, seed {seed or 0}"


def every_few(stream: Iterable[Any], count: int = 3) -> Iterator[tuple[Any, bool]]:
    """Yields every `count`-th item of a stream and the last item, each with True if it is the last.

    The pages send several characters at a time, because every message costs time.
    """
    item = None
    for index, item in enumerate(stream):
        if index % count == 0:
            yield item, False
    if item is not None:
        yield item, True


def empty_text(caption: str = "Nothing written yet", **options: object) -> gr.HTML:
    """Returns an empty frame for a text."""
    return html(pictures.plain_text("", caption), **options)
