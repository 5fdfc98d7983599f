"""The page of stage 1: a playground in which a network learns to classify points in the plane."""

import gradio as gr

from ...runs import RunFolder
from ...ui.live_network import Design
from ...ui.page import html, section, stage_page
from ...ui.playground import playground
from . import STAGE


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; the playground works without a run."""
    with stage_page(STAGE, folder, model_id) as page, page.always:
        html(
            section(
                "Playground",
                "Press Play and watch a network learn where one class ends and the other begins. One unit "
                "draws one line. How many does XOR need, and how many do the spirals need?",
            )
        )
        playground(page, Design(shape="xor", layers=1, units=4, activation="tanh"), rate=0.1, speed=1)
    return page.blocks
