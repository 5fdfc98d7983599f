"""The page of stage 4: the network reads a digit that you draw, and charts show gradients by depth."""

import gradio as gr

from ...charts.picture import figure
from ...charts.plots import bar_chart
from ...runs import RunFolder
from ...ui.page import html, section, stage_page
from . import ACTIVATIONS, INITIALIZATIONS, STAGE, shown
from .canvas import activity_picture, drawing_canvas, example_buttons, load_digit_reader, seen_picture
from .charts import gradient_norms

EMPTY = "Nothing is drawn yet: draw a digit, or choose an example."


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page, which shows the model and the measurements of the run in `folder`, if it has any."""

    def from_run() -> tuple[str, gr.CheckboxGroup]:
        nets = list(folder.figure_data("gradient_norms"))
        return example_buttons(folder.figure_data("examples")), gr.CheckboxGroup(
            [(shown(net), net) for net in nets]
        )

    def read_drawing(drawing: str) -> tuple[str, str, str]:
        reader = load_digit_reader(folder.model_dir)
        pixels = reader.pixels(drawing)
        if pixels is None:
            return figure(f'<p class="lp-empty">{EMPTY}</p>', "The answer"), "", ""
        probabilities, layers = reader(pixels)
        best = max(probabilities, key=lambda row: row[1])
        caption, detail = f"It reads “{best[0]}”", f"probability {best[1]:.1%}"
        answer = bar_chart(probabilities, caption, detail=detail, form="{:.1%}".format, tokens=True)
        return answer.html(), seen_picture(pixels), activity_picture(layers)

    first = ["sigmoid_xavier", "relu_normal", "relu_he", "relu_he_residual"]
    nets = [f"{act}_{init}" for act in ACTIVATIONS for init in INITIALIZATIONS]
    with stage_page(STAGE, folder, model_id) as page:
        html(section("Draw a digit", "Use the pointer, a finger, or the arrow keys with space for the pen."))
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
                "The gradient passes back through twenty layers. In some networks it fades, in others it "
                "survives.",
            )
        )
        chosen = gr.CheckboxGroup(
            [(shown(net), net) for net in [*nets, first[-1]]], value=first, label="Networks"
        )
        norms = html(elem_id="gradient-norms")
        page.set_up(from_run, [examples, chosen])
        page.on_change([drawing], read_drawing, [drawing], [answer, looks, activity])
        page.on_change([chosen], lambda names: gradient_norms(folder, names).html(), [chosen], [norms])
    return page.blocks
