"""The page of stage 14: one prompt gone on from in three ways, the beam tree, and a race of the model's
forms.
"""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from ...charts.trade_off import FORMS
from ...runs import RunFolder
from ...ui import pictures
from ...ui.controls import drawn
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import STAGE
from .live_decoding import GREEDY, LONGEST_PROMPT, Continuation, Sampling, load_decoder, race
from .tree_picture import tree_picture

EXAMPLES = ("On a rainy afternoon, Mara", "Otto the smith had always wished", "Wren was sad, because")
TREE_STEPS = 8
COLUMNS = ("tokens per second", "first token, ms", "MB", "perplexity", "as 32 bits")


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the model and what the run measured are read from `folder` when they are there."""

    def go_on(
        prompt: str,
        temperature: float,
        top_k: int,
        top_p: float,
        beams: int,
        penalty: float,
        tokens: int,
        seed: int | None,
    ) -> tuple[str, str]:
        decoder = load_decoder(folder.model_dir)
        sampling = Sampling(temperature, int(top_k), top_p)
        found = {
            "Greedy": decoder.write(prompt, GREEDY, int(tokens)),
            f"Sampled: {drawn(temperature, seed).lower()}": decoder.write(
                prompt, sampling, int(tokens), seed or 0
            ),
        }
        best, _ = decoder.search(prompt, int(beams), int(tokens), penalty)
        found[f"Beam search, {int(beams)} beams"] = best
        _, steps = decoder.search(prompt, int(beams), min(TREE_STEPS, int(tokens)), penalty)
        tree = tree_picture(
            steps, prompt, f"The first {len(steps)} steps of the beam search",
            "log-probability of each text so far; shaded: ended; outlined: the way to the best",
        )  # fmt: skip
        return _side_by_side(prompt, found, decoder.note(prompt)), tree

    def run_race(prompt: str, tokens: int) -> Iterator[str]:
        student = folder.model("student")
        yield pictures.figure('<p class="lp-empty">Making the forms…</p>', "Tokens per second")
        for speeds in race(
            folder.model_dir, folder.onnx_dir, student if student.is_dir() else None, prompt, int(tokens)
        ):
            yield race_picture(speeds, int(tokens))

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Three ways to go on",
                "The same model, the same prompt: what is chosen from its probabilities.",
            )
        )
        prompt = gr.Textbox(
            EXAMPLES[0], label="Text", max_length=LONGEST_PROMPT, elem_id="prompt", render=False
        )
        page.examples(prompt, EXAMPLES)
        prompt.render()
        with gr.Row():
            temperature = gr.Slider(0.1, 2, value=0.8, step=0.05, label="Temperature", min_width=200)
            top_k = gr.Slider(0, 50, value=0, step=1, label="Top k", info="0 keeps all tokens", min_width=200)
            top_p = gr.Slider(
                0.05, 1, value=0.95, step=0.05, label="Top p", info="1 keeps all tokens", min_width=200
            )
        with gr.Row():
            beams = gr.Slider(1, 6, value=3, step=1, label="Beams", min_width=200)
            penalty = gr.Slider(
                -1,
                2,
                value=1,
                step=0.25,
                label="Length penalty",
                info="Above 0 favors long texts",
                min_width=200,
            )
            tokens = gr.Slider(8, 64, value=32, step=8, label="Tokens to write", min_width=200)
            seed = gr.Number(
                0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, min_width=100, elem_id="seed"
            )
        controls: list[Any] = [prompt, temperature, top_k, top_p, beams, penalty, tokens, seed]
        page.remember(
            prompt=prompt, temperature=temperature, top_k=top_k, top_p=top_p, beams=beams, seed=seed
        )
        texts = html(elem_id="texts")
        tree = html(elem_id="tree")
        html(
            section(
                "A race",
                "Every form of the model writes the same number of tokens, here and now; the first time they are made.",
            )
        )
        page.writer(run_race, [prompt, tokens], lambda: [html(elem_id="race")], label="Start the race")
        html(section("Measured by the run", "One text at a time; the median of several measurements."))
        table = html(elem_id="forms")
        page.set_up(lambda: table_picture(folder.figure_data("table")), [table])
        page.on_change(controls, go_on, controls, [texts, tree])
    return page.blocks


def _side_by_side(prompt: str, found: dict[str, Continuation], note: str) -> str:
    parts = [
        pictures.plain_text(
            one.text,
            name,
            f"{one.log_probability:.2f} nats per token, {one.tokens_per_second:,.0f} tokens/s. {note}".strip(),
            prompt=prompt,
        )
        for name, one in found.items()
    ]
    return f'<div class="lp lp-gallery lp-thirds">{"".join(parts)}</div>'


def race_picture(speeds: dict[str, float], tokens: int) -> str:
    """Bars of the forms that have written something so far."""
    rows = [(FORMS.get(name, name), speed) for name, speed in speeds.items()]
    return pictures.bars(rows, "Tokens per second", f"{tokens} tokens, one text at a time", "{:,.0f}")


def table_picture(rows: dict[str, dict[str, float]]) -> str:
    """The table of all forms."""
    cells = [
        (
            FORMS.get(name, name), f"{row['tokens_per_second']:,.0f}", f"{row['first_token_ms']:.1f}", f"{row['megabytes']:.2f}",
            f"{row['perplexity']:.4g}", f"{row['agreement']:.1%}",
        )
        for name, row in rows.items()
    ]  # fmt: skip
    return pictures.table(("form", *COLUMNS), cells, "Every form of the model")
