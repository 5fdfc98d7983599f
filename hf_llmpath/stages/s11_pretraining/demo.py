"""The page of stage 11: blank out a word and see what the encoder puts there, before and after its
pretraining.
"""

import math
import statistics
from typing import Any

import gradio as gr

from ...runs import RunFolder
from ...ui import pictures
from ...ui.encoder import Encoder, load_encoder
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import STAGE
from .charts import MEANINGS, NAMES, marks

EXAMPLES = (
    "The cake was lovely, but the tea was dreadful.",
    "We walked to the mill on a sunny morning.",
    "Nobody could call the soup good.",
)
REVIEWS = (
    "The room was lovely, although I found the tea awful.",
    "Not once was the singer dull!",
    "Hugo said that the view was fine, and he was wrong.",
)
LONGEST = 1000  # characters
SHOWN = 8  # tokens for a blank


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the models and what the run measured are read from `folder` when they are there."""

    def encoder(name: str | None) -> Encoder:
        if name is None:
            return load_encoder("AutoModelForMaskedLM", folder.model_dir)
        auto_class = "AutoModelForMaskedLM" if name == "untrained" else "AutoModelForSequenceClassification"
        return load_encoder(auto_class, folder.model(name))

    def words_of(text: str, word: int | None) -> gr.Radio:
        words = text.split()
        kept = word if word is not None and word < len(words) else (len(words) - 1 if words else None)
        return gr.Radio([(text, place) for place, text in enumerate(words)], value=kept)

    def fill(text: str, word: int | None) -> str:
        after = encoder(None)
        blanked, hidden = blank(text, word, after.mask)
        found = {
            "Before pretraining": encoder("untrained").fill(blanked, SHOWN),
            "After": after.fill(blanked, SHOWN),
        }
        note = after.note(blanked)
        was = f"The hidden word was “{hidden}”. " if hidden else ""
        charts = "".join(
            pictures.bars(rows, f"{name}: {blanked}", (was + note).strip())
            for name, places in found.items()
            for rows in places[:1]
        )
        return f'<div class="lp lp-gallery">{charts}</div>'

    def classify(text: str) -> str:
        charts = ""
        for arm in ("pretrained", "random"):
            model = encoder(f"classifier-{arm}")
            charts += pictures.bars(model.classify(text), NAMES[arm].capitalize(), model.note(text))
        return f'<div class="lp lp-gallery">{charts}</div>'

    def from_run() -> tuple[str, str, str]:
        return masking_picture(folder), efficiency_picture(folder), perplexity_picture(folder)

    with stage_page(STAGE, folder, model_id) as page:
        html(section("Fill in the blank", "Click a word to hide it, or write [MASK] yourself."))
        text = gr.Textbox(EXAMPLES[0], label="Sentence", max_length=LONGEST, elem_id="sentence", render=False)
        page.examples(text, EXAMPLES)
        text.render()
        first = EXAMPLES[0].split()
        word = gr.Radio(
            [(name, place) for place, name in enumerate(first)],
            value=len(first) - 1,
            label="Hidden word",
            elem_id="word",
        )
        page.remember(sentence=text)
        filled = html(elem_id="filled")
        html(
            section(
                "What the pretraining saw",
                "The same text three times; each time other tokens are to be guessed.",
            )
        )
        masking = html(elem_id="masking")
        html(
            section(
                "What it is worth",
                "The same few labels, from the pretrained encoder and from random weights.",
            )
        )
        review = gr.Textbox(
            REVIEWS[0], label="Text to classify", max_length=LONGEST, elem_id="review", render=False
        )
        page.examples(review, REVIEWS)
        review.render()
        page.remember(review=review)
        classified = html(elem_id="classified")
        efficiency = html(elem_id="label-efficiency")
        perplexity = html(elem_id="perplexity")
        page.set_up(from_run, [masking, efficiency, perplexity])
        page.on_change([text], words_of, [text, word], [word])
        page.on_change([text, word], fill, [text, word], [filled])
        page.on_change([review], classify, [review], [classified])
    return page.blocks


def blank(text: str, word: int | None, mask: str) -> tuple[str, str]:
    """The text with a mask in place of its word number `word` (the last one, if there is none of that
    number), and that word; as it is where it has a mask already. Punctuation at the end of a word stays."""
    words = text.split()
    if mask in text or not words:
        return text, ""
    # A choice may be older than the text that it comes with.
    word = len(words) - 1 if word is None else min(word, len(words) - 1)
    whole = words[word]
    bare = whole.rstrip(".,;:!?\"'”’") or whole
    words[word] = mask + whole[len(bare) :]
    return " ".join(words), bare


def masking_picture(folder: RunFolder) -> str:
    """A text as the model sees it in three draws."""
    data = folder.figure_data("masking")
    lines = ""
    for number, draw in enumerate(data["draws"][:3], 1):
        lines += pictures.marked_tokens(
            draw["seen"], marks(data["tokens"], draw), MEANINGS, f"As the model sees it, time {number}"
        )
    return f'<div class="lp lp-stack">{lines}</div>'


def efficiency_picture(folder: RunFolder) -> str:
    """Accuracy against the number of labels, or bars where there is one number only."""
    scores = folder.figure_data("label_efficiency")
    means = {NAMES[arm]: [statistics.fmean(values) for values in scores[arm]] for arm in NAMES}
    caption, counts = "Accuracy on held-out texts", scores["counts"]
    if len(counts) == 1:
        rows = [(name, values[0]) for name, values in means.items()]
        return pictures.bars(rows, caption, f"after {counts[0]:,} labeled texts")
    chart = pictures.line_chart(
        {name: (range(len(counts)), values) for name, values in means.items()},
        caption,
        "labeled texts: " + ", ".join(f"{count:,}" for count in counts),
        _seeds(scores),
    )
    rows = [[name, *(f"{value:.1%}" for value in values)] for name, values in means.items()]
    return chart + pictures.table(["labeled texts", *(f"{count:,}" for count in counts)], rows, caption)


def _seeds(scores: dict[str, Any]) -> str:
    seeds = len(scores["pretrained"][0])
    return f"mean of {seeds} seeds" if seeds > 1 else "one seed"


def perplexity_picture(folder: RunFolder) -> str:
    """Perplexity on held-out texts as the pretraining went."""
    found = [entry for entry in folder.history if entry["part"] == "pretraining" and "eval_loss" in entry]
    steps, values = [entry["step"] for entry in found], [math.exp(entry["eval_loss"]) for entry in found]
    caption = "Perplexity of masked tokens on held-out texts"
    return pictures.line_chart({"perplexity": (steps, values)}, caption, "step", "logarithmic", log_y=True)
