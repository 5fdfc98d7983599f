"""Builds the page of stage 17: three models read one sentence, and each does what it is best at."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from ...charts.attention import head_browser
from ...charts.picture import Picture
from ...charts.plots import bar_chart
from ...data.batches.token_rows import TokenRows
from ...errors import UserError
from ...hub.model_folder import load_pair, loaded
from ...runs import RunFolder
from ...training.recipes.masked_language_model import encode
from ...ui import pictures
from ...ui.attention_heads import attention_html
from ...ui.encoder import load_encoder
from ...ui.page import html, section, stage_page
from . import STAGE
from .charts import NAMES, comparison_table, mask_picture
from .objectives_compared import KINDS, class_scores, class_targets
from .strengths import (
    BEGINNINGS,
    BLANKS,
    GAP,
    GAPS,
    SENTENCE,
    Map,
    continue_text,
    fill_spans,
    half_of,
    look,
    mask_of,
)

SENTENCES = (SENTENCE, "Not once was the singer dull!", "Hugo said that the view was fine, and he was wrong.")
MORE_BEGINNINGS = (*BEGINNINGS, "If only the")
MORE_GAPS = (*GAPS, f"Although the fire {GAP}, the bed was {GAP}.")
PERCENT = "{:.1%}".format
LONGEST = 600  # characters of a text
MASKED_TOKENS = 8  # rows and columns of a mask; a phone has no room for more


class Architecture:
    """Holds one of the three models and its tokenizer, in evaluation mode.

    Args:
        kind: `"gpt"`, `"bert"`, or `"t5"`.
        auto_class: the Auto class that loads the model.
        folder: the folder in which the model was saved.

    Raises:
        UserError: If the folder cannot be read or its tokenizer belongs to another model.
    """

    def __init__(self, kind: str, auto_class: str, folder: Path):
        self.kind = kind
        self.model, self.tokenizer = load_pair(auto_class, folder)
        # Reading attention weights switches the model to eager attention, so visitors take turns.
        self.lock = threading.Lock()

    def look(self, text: str, target: str | None = None) -> dict[str, Map]:
        """Returns the attention of every head (see `strengths.look`)."""
        with self.lock:
            return look(self.kind, self.model, self.tokenizer, text, target)

    def verdict(self, text: str) -> list[tuple[str, float]]:
        """Returns every class with the probability that the encoder-decoder writes its name.

        The probabilities are normalized over the class names.

        Raises:
            UserError: If the text is empty.
        """
        if not text.strip():
            raise UserError("the text is empty; type a sentence")
        model, tokenizer = self.model, self.tokenizer
        names = [model.config.id2label[index] for index in range(model.config.num_labels)]
        ids = encode(tokenizer, [text], tokenizer.model_max_length)[0]
        # `class_scores` expects rows framed as for BERT and drops the first token; any token will do.
        rows = TokenRows([[tokenizer.pad_token_id, *ids]])
        with self.lock:
            scores = class_scores(model, rows, class_targets(tokenizer, names), tokenizer.pad_token_id)
        # (1, classes) -> (classes,)
        return list(zip(names, torch.from_numpy(scores[0]).softmax(-1).tolist(), strict=True))


def load_architecture(kind: str, auto_class: str, folder: Path) -> Architecture:
    """Loads the model saved in `folder` and keeps it in memory until its files change.

    Raises:
        UserError: If its weight file is missing, truncated, or a pickle, or its tokenizer belongs to another
            model.
    """
    return loaded(Architecture, folder, kind, auto_class)


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the models and the measurements from `folder` once the run is complete."""

    def model(kind: str) -> Architecture:
        return load_architecture(kind, KINDS[kind], folder.model(kind))

    def masks(text: str) -> str:
        data = {}
        beginning = _first_tokens(model("bert").tokenizer, text, MASKED_TOKENS)
        for kind in KINDS:
            # Half of the text stands for what T5's decoder has written so far.
            target = half_of(beginning) if kind == "t5" else None
            for name, (weights, rows, columns) in model(kind).look(beginning, target).items():
                data[f"{kind}/{name}"] = {"mask": mask_of(weights), "rows": rows, "columns": columns}
        note = (
            "Filled: may look, as the attention weights show. T5: the source, then half of it as the target."
        )
        return mask_picture(data, note).html()

    def verdicts(text: str) -> str:
        folders = {"gpt": folder.model("classifier-gpt"), "bert": folder.model_dir}
        readers = {kind: load_encoder(STAGE.auto_class, path) for kind, path in folders.items()}
        note = readers["bert"].note(text)
        rows = {
            f"{NAMES[kind]}: a head on its states": reader.classify(text) for kind, reader in readers.items()
        }
        t5 = load_architecture("t5", KINDS["t5"], folder.model("classifier-t5"))
        rows["T5: the probability of each word as its answer"] = t5.verdict(text)
        return _gallery(bar_chart(values, title, detail=note, form=PERCENT) for title, values in rows.items())

    def heads(text: str, which: str) -> str:
        kind, _, name = which.partition("/")  # such as "t5/decoder to encoder"
        weights, rows, columns = model(kind).look(text)[name]
        note = "Rows look, columns are looked at; click a head."
        return head_browser(weights, rows, columns, f"{NAMES[kind]}, {name}", note).html()

    def fill(text: str) -> str:
        encoder = load_encoder(KINDS["bert"], folder.model("bert"))
        note = encoder.note(text)
        return _gallery(
            bar_chart(
                rows, f"Blank {index}: {text}" if index > 1 else text, detail=note, form=PERCENT, tokens=True
            )
            for index, rows in enumerate(encoder.fill(text, 8), 1)
        )

    def write(text: str, temperature: float, seed: int) -> str:
        gpt, seed = model("gpt"), int(seed or 0)  # an emptied field sends None
        with gpt.lock:
            written = continue_text(gpt.model, gpt.tokenizer, text, seed, temperature)
        return pictures.plain_text(written, "GPT continues", f"temperature {temperature:g}, seed {seed}")

    def transform(text: str) -> str:
        t5 = model("t5")
        with t5.lock:
            restored, answer = fill_spans(t5.model, t5.tokenizer, text)
        exact = folder.metrics["t5/span_exact_match"]
        note = f"Its decoder wrote: {answer}. It restores {exact:.1%} of held-out texts word for word."
        return pictures.plain_text(restored, "T5 fills in the spans", note)

    def textbox(texts: tuple[str, ...], label: str, elem_id: str) -> gr.Textbox:
        box = gr.Textbox(texts[0], label=label, max_length=LONGEST, elem_id=elem_id, render=False)
        page.examples(box, texts)
        return box.render()

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "One sentence, three models", "The tokens are the same. What differs is who may look at whom."
            )
        )
        text = textbox(SENTENCES, "Sentence", "sentence")
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
        html(section("BERT fills in a blank", "It sees both sides of [MASK] and answers with one token."))
        blank = textbox(BLANKS, "Text with [MASK]", "blank")
        filled = html(elem_id="filled")
        html(section("GPT continues", "It sees only what comes before, which is why it can write."))
        beginning = textbox(MORE_BEGINNINGS, "Beginning", "beginning")
        with gr.Row():
            temperature = gr.Slider(0.1, 1.5, 0.7, step=0.1, label="Temperature", elem_id="temperature")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed")
        written = html(elem_id="written")
        html(
            section(
                "T5 transforms", f"It reads the whole text first and then writes what belongs in each {GAP}."
            )
        )
        gaps = textbox(MORE_GAPS, f"Text with {GAP}", "gaps")
        restored = html(elem_id="restored")
        html(section("At equal size", "The same texts in the same order, then the same labels."))
        table = html(elem_id="comparison")
        page.remember(sentence=text, blank=blank, beginning=beginning, gaps=gaps, seed=seed)
        page.set_up(lambda: comparison_table(folder).html(), [table])
        page.on_change([text], masks, [text], [masked])
        page.on_change([text], verdicts, [text], [verdict])
        page.on_change([text, which], heads, [text, which], [browser])
        page.on_change([blank], fill, [blank], [filled])
        page.on_change([beginning, temperature, seed], write, [beginning, temperature, seed], [written])
        page.on_change([gaps], transform, [gaps], [restored])
    return page.blocks


def _gallery(charts: Iterable[Picture]) -> str:
    return f'<div class="lp lp-gallery">{"".join(chart.html() for chart in charts)}</div>'


def _first_tokens(tokenizer: Any, text: str, count: int) -> str:
    """Returns the beginning of a text, up to `count` tokens."""
    offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    # `offsets` holds the first and last character of every token; the cut keeps the original spelling.
    return text if len(offsets) <= count else text[: offsets[count - 1][1]]
