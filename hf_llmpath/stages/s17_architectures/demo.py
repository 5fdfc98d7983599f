"""The page of stage 17: three models on one sentence, with their masks, and what each of them is best at."""

from typing import Any

import gradio as gr

from ...runs import RunFolder
from ...ui import pictures
from ...ui.attention_heads import attention_html, head_browser, mask_pictures
from ...ui.encoder import load_encoder
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import STAGE
from .charts import LINEAR, MASKS, NAMES, comparison, joint_masks, measured
from .example_texts import GAP, half_of
from .live_architectures import Architecture, load_architecture
from .objectives_compared import KINDS
from .strengths import mask_of

SENTENCES = (
    "The tea was lovely, but the room was not.",
    "Not once was the singer dull!",
    "Hugo said that the view was fine, and he was wrong.",
)
BLANKS = ("The cake was lovely, but the tea was [MASK].", "We walked to the [MASK] on a sunny morning.")
BEGINNINGS = ("On a sunny morning", "Although the soup was", "If only the")
GAPS = (
    f"If only the {GAP} been good!",
    f"We had tea {GAP} near the mill. I found the cake {GAP}.",
    f"Although the fire {GAP}, the bed was {GAP}.",
)
LONGEST = 600  # characters
PLACES = 8  # tokens of a text whose masks are drawn


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the models and what the run measured are read from `folder` when they are there."""

    def model(kind: str) -> Architecture:
        return load_architecture(kind, KINDS[kind], folder.model(kind))

    def masks(text: str) -> str:
        found = {}
        # The first tokens are enough to see a mask, and a phone has no room for more.
        beginning = _first_tokens(model("bert").tokenizer, text, PLACES)
        for kind in KINDS:
            target = half_of(beginning) if kind == "t5" else None
            for name, (weights, rows, columns) in model(kind).look(beginning, target).items():
                found[f"{kind}/{name}"] = {"mask": mask_of(weights), "rows": rows, "columns": columns}
        named = {MASKS[kind]: panel for kind, panel in joint_masks(found).items()}
        note = "filled: may look, as found in the attention weights; of T5 the source and, behind it, half of it as a target"
        return mask_pictures(named, "Who may look at whom", note)

    def verdicts(text: str) -> str:
        t5 = load_architecture("t5", KINDS["t5"], folder.model("classifier-t5"))
        places = {"gpt": folder.model("classifier-gpt"), "bert": folder.model_dir}
        reading = {kind: load_encoder(STAGE.auto_class, place) for kind, place in places.items()}
        note = reading["bert"].note(text)
        charts = "".join(
            pictures.bars(reader.classify(text), f"{NAMES[kind]}: a head on its states", note)
            for kind, reader in reading.items()
        )
        charts += pictures.bars(t5.verdict(text), "T5: how likely it finds each word as its answer", note)
        return f'<div class="lp lp-gallery">{charts}</div>'

    def heads(text: str, which: str) -> str:
        kind, _, name = which.partition("/")
        weights, rows, columns = model(kind).look(text)[name]
        return head_browser(
            weights, rows, columns, f"{NAMES[kind]}, {name}", "rows look, columns are looked at; click a head"
        )

    def fill(text: str) -> str:
        encoder = load_encoder(KINDS["bert"], folder.model("bert"))
        charts = "".join(
            pictures.bars(rows, f"Blank {number}: {text}" if number > 1 else text, encoder.note(text))
            for number, rows in enumerate(encoder.fill(text, 8), 1)
        )
        return f'<div class="lp lp-gallery">{charts}</div>'

    def write(text: str, temperature: float, seed: int) -> str:
        written = model("gpt").go_on(text, int(seed or 0), temperature)
        return pictures.plain_text(
            written, "GPT goes on", f"temperature {temperature:g}, seed {int(seed or 0)}"
        )

    def transform(text: str) -> str:
        whole, answer = model("t5").fill_spans(text)
        exact = folder.metrics["t5/span_exact_match"]
        told = f"what its decoder wrote: {answer}; of held-out texts it restores {exact:.1%} word for word"
        return pictures.plain_text(whole, "T5 puts the spans in", told)

    def from_run() -> str:
        headers, rows, _ = comparison(measured(folder))
        shown = [name.replace("\n", " ") for name in headers]
        return pictures.table(shown, rows, f"GPT, BERT, T5 and {LINEAR}")

    with stage_page(STAGE, folder, model_id) as page:
        html(section("One sentence, three models", "The same tokens; what differs is who may look at whom."))
        text = gr.Textbox(
            SENTENCES[0], label="Sentence", max_length=LONGEST, elem_id="sentence", render=False
        )
        page.examples(text, SENTENCES)
        text.render()
        masked = html(elem_id="masks")
        verdict = html(elem_id="verdicts")
        which = gr.Radio(
            [
                ("GPT", "gpt/decoder"),
                ("BERT", "bert/encoder"),
                ("T5's encoder", "t5/encoder"),
                ("T5's decoder", "t5/decoder"),
                ("T5's decoder to its encoder", "t5/decoder to encoder"),
            ],
            value="bert/encoder",
            label="Attention of",
            elem_id="which",
        )
        browser = attention_html("heads")
        html(section("BERT fills a blank", "It sees both sides of [MASK] and answers with one token."))
        blank = gr.Textbox(
            BLANKS[0], label="Text with [MASK]", max_length=LONGEST, elem_id="blank", render=False
        )
        page.examples(blank, BLANKS)
        blank.render()
        filled = html(elem_id="filled")
        html(section("GPT goes on", "It sees what stands before, and nothing else: so it can write."))
        beginning = gr.Textbox(
            BEGINNINGS[0], label="Beginning", max_length=LONGEST, elem_id="beginning", render=False
        )
        page.examples(beginning, BEGINNINGS)
        beginning.render()
        with gr.Row():
            temperature = gr.Slider(0.1, 1.5, 0.7, step=0.1, label="Temperature", elem_id="temperature")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
        written = html(elem_id="written")
        html(
            section(
                "T5 transforms",
                f"It reads the whole text first and then writes another: here what belongs into each {GAP}.",
            )
        )
        gaps = gr.Textbox(GAPS[0], label=f"Text with {GAP}", max_length=LONGEST, elem_id="gaps", render=False)
        page.examples(gaps, GAPS)
        gaps.render()
        restored = html(elem_id="restored")
        html(section("At equal size", "The same texts in the same order, then the same labels."))
        table = html(elem_id="comparison")
        page.remember(sentence=text, blank=blank, beginning=beginning, gaps=gaps, seed=seed)
        page.set_up(from_run, [table])
        page.on_change([text], masks, [text], [masked])
        page.on_change([text], verdicts, [text], [verdict])
        page.on_change([text, which], heads, [text, which], [browser])
        page.on_change([blank], fill, [blank], [filled])
        page.on_change([beginning, temperature, seed], write, [beginning, temperature, seed], [written])
        page.on_change([gaps], transform, [gaps], [restored])
    return page.blocks


def _first_tokens(tokenizer: Any, text: str, count: int) -> str:
    """The beginning of a text, of so many tokens."""
    offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    return text if len(offsets) <= count else text[: offsets[count - 1][1]]
