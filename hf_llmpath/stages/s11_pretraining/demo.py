"""Builds the page of stage 11: an encoder fills in a blank, before and after its pretraining."""

import gradio as gr

from ...charts.plots import bar_chart
from ...runs import RunFolder
from ...ui.encoder import Encoder, load_encoder
from ...ui.page import html, section, stage_page
from . import STAGE
from .charts import NAMES, fill_chart, label_efficiency_chart, masking_chart, perplexity_chart

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
LONGEST = 1000  # characters of a text
SHOWN = 8  # likeliest tokens for a blank


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the models and the measurements from `folder` once the run is complete."""

    def encoder(name: str | None) -> Encoder:
        if name is None:
            return load_encoder("AutoModelForMaskedLM", folder.model_dir)
        auto_class = "AutoModelForMaskedLM" if name == "untrained" else "AutoModelForSequenceClassification"
        return load_encoder(auto_class, folder.model(name))

    def words_of(text: str, word: int | None) -> gr.Radio:
        words = text.split()
        # A shorter text may lack the chosen word; its last word is chosen in that case.
        choices = [(name, index) for index, name in enumerate(words)]
        if word is not None and word < len(words):
            return gr.Radio(choices)  # sending the value as well would undo a click made in the meantime
        return gr.Radio(choices, value=len(words) - 1 if words else None)

    def fill(text: str, word: int | None) -> str:
        after = encoder(None)
        blanked, hidden = blank(text, word, after.mask)
        detail = f"The hidden word was “{hidden}”. " if hidden else ""
        detail = (detail + after.note(blanked)).strip()
        charts = "".join(
            # The first mask is drawn, even if the text has several.
            fill_chart(model.fill(blanked, SHOWN)[0], f"{name}: {blanked}", detail).html()
            for name, model in (("Before pretraining", encoder("untrained")), ("After", after))
        )
        return f'<div class="lp lp-gallery">{charts}</div>'

    def classify(text: str) -> str:
        charts = ""
        for arm in ("pretrained", "random"):
            model = encoder(f"classifier-{arm}")
            chances, caption = model.classify(text), NAMES[arm].capitalize()
            charts += bar_chart(chances, caption, detail=model.note(text), form="{:.1%}".format).html()
        return f'<div class="lp lp-gallery">{charts}</div>'

    def from_run() -> tuple[str, ...]:
        charts = masking_chart(folder), label_efficiency_chart(folder), perplexity_chart(folder)
        return tuple(chart.html() for chart in charts)

    with stage_page(STAGE, folder, model_id) as page:
        html(section("Fill in the blank", "Click a word to hide it, or write [MASK] yourself."))
        text = gr.Textbox(EXAMPLES[0], label="Sentence", max_length=LONGEST, elem_id="sentence", render=False)
        page.examples(text, EXAMPLES)
        text.render()
        first = EXAMPLES[0].split()
        word = gr.Radio(
            [(name, index) for index, name in enumerate(first)],
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
    """Replaces the word number `word` of a text by a mask.

    The last word is replaced if the text has fewer words or `word` is None. Punctuation at the end of the
    word stays. A text that already has a mask stays as it is.

    Returns:
        The text with the mask, and the word that it hides, without punctuation; the word is empty if nothing
        was replaced.
    """
    words = text.split()
    if mask in text or not words:
        return text, ""
    # The page may send an old choice together with a new text.
    word = len(words) - 1 if word is None else min(word, len(words) - 1)
    whole = words[word]
    bare = whole.rstrip(".,;:!?\"'”’") or whole  # a word of punctuation alone is hidden as a whole
    words[word] = mask + whole[len(bare) :]
    return " ".join(words), bare
