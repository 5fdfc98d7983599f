"""The page of stage 4: draw a digit, see the answer and what each layer makes of it; and what depth does
to a gradient.
"""

import gradio as gr

from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import ACTIVATIONS, INITIALIZATIONS, STAGE, shown
from .canvas import activity_picture, drawing_canvas, example_buttons, load_reader, seen, seen_picture

EMPTY = "Nothing is drawn yet: draw a digit, or choose an example."


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the model and what the run measured are read from `folder` when they are there."""

    def from_run() -> tuple[str, gr.CheckboxGroup]:
        nets = list(folder.figure_data("gradient_norms"))
        return example_buttons(folder.figure_data("examples")), gr.CheckboxGroup(
            [(shown(net), net) for net in nets]
        )

    def read(drawing: str) -> tuple[str, str, str]:
        reader = load_reader(folder.model_dir)
        pixels = seen(drawing, reader.size)
        if pixels is None:
            return pictures.figure(f'<p class="lp-empty">{EMPTY}</p>', "The answer"), "", ""
        shares, layers = reader.read(pixels)
        best = max(shares, key=lambda row: row[1])
        answer = pictures.bars(shares, f"It reads “{best[0]}”", f"probability {best[1]:.1%}")
        return answer, seen_picture(pixels), activity_picture(layers)

    def gradients(names: list[str]) -> str:
        norms = folder.figure_data("gradient_norms")
        lines = {
            shown(name): (list(range(1, len(norms[name]) + 1)), norms[name])
            for name in norms
            if name in names
        }
        return pictures.line_chart(
            lines,
            "Gradient norm by layer, before training",
            "hidden layer (1 reads the image)",
            "at the weights of each layer; logarithmic",
            log_y=True,
        )

    first = ["sigmoid_xavier", "relu_normal", "relu_he", "relu_he_residual"]
    nets = [f"{act}_{init}" for act in ACTIVATIONS for init in INITIALIZATIONS]
    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Draw a digit", "With the pointer or a finger; or with the arrow keys, and space for the pen."
            )
        )
        examples = html(elem_id="examples")
        with gr.Row():
            with gr.Column(min_width=290):
                drawing = drawing_canvas("drawing")
            with gr.Column(min_width=290):
                answer = html(elem_id="answer")
        looks = html(elem_id="seen")
        activity = html(elem_id="activity")
        html(
            section(
                "Why depth is hard",
                "The gradient on its way back through twenty layers: it fades, or it lives.",
            )
        )
        chosen = gr.CheckboxGroup(
            [(shown(net), net) for net in [*nets, first[-1]]], value=first, label="Networks"
        )
        norms = html(elem_id="gradient-norms")
        page.set_up(from_run, [examples, chosen])
        page.on_change([drawing], read, [drawing], [answer, looks, activity])
        page.on_change([chosen], gradients, [chosen], [norms])
    return page.blocks
