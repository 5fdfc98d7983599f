"""Builds the page of stage 10: every head of a Transformer while it rewrites a date or reads a review."""

import threading
from pathlib import Path

import gradio as gr

from ...charts.attention import head_browser
from ...charts.picture import visible
from ...charts.plots import bar_chart
from ...hub.model_folder import load_pair, loaded
from ...runs import RunFolder
from ...training.attention_probes import AttentionMaps, attention_maps, attention_rollout
from ...ui import pictures
from ...ui.attention_heads import attention_html
from ...ui.page import html, section, stage_page
from . import STAGE, TransformerSettings
from .charts import mask_chart, rollout_chart, similarity_chart, wave_chart

INPUTS = {
    "date": ("3rd of march 1998", "december 24, 2031", "7.11.1915"),
    "reverse": ("stream", "transformer"),
    "sort": ("transformer", "hello"),
}
REVIEWS = (
    "The room was lovely, but the tea was awful.",
    "Not once was the singer dull!",
    "Hugo said that the view was fine, and he was wrong.",
)
KINDS = {
    "cross": "From the answer to the source",
    "decoder": "Within the answer",
    "encoder": "Within the source",
}
HINT = "rows look, columns are looked at; click a head"
LONGEST = 600  # characters of a text
_ONE_AT_A_TIME = threading.Lock()  # a model is switched to eager attention while its weights are recorded


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the models and the measurements from `folder` once the run is complete."""
    noted = folder.report["settings"] if folder.is_complete else {}
    tasks = list(TransformerSettings.noted(noted).tasks)

    def rewrite(task: str, text: str, kind: str) -> tuple[str, str, str]:
        # The tokenizer of the toy tasks knows no capital letters; the task is the first token.
        source = f"{task}: {text.strip().lower()}" if text.strip() else ""
        maps, note = look("AutoModelForSeq2SeqLM", folder.model_dir, source)
        answer = pictures.plain_text(maps.answer, "Answer", note)
        # The weights of one kind are (layers, heads, queries, keys).
        heads = head_browser(maps.weights[kind], *maps.axes(kind), KINDS[kind], HINT)
        return answer, heads.html(), mask_chart(maps.source[-12:], maps.target[:12]).html()

    def read(text: str) -> tuple[str, str, str]:
        maps, note = look("AutoModelForSequenceClassification", folder.model("reader"), text)
        verdict = bar_chart(maps.predicted or {}, "Verdict", detail=note, form="{:.1%}".format)
        weights = maps.weights["encoder"]  # (layers, heads, length, length)
        heads = head_browser(weights, maps.source, maps.source, "Every head of the encoder", HINT)
        return verdict.html(), heads.html(), rollout_chart(attention_rollout(weights), maps.source).html()

    def from_run() -> tuple[gr.Radio, str, str]:
        tasks = TransformerSettings.noted(folder.report["settings"]).tasks
        choice = gr.Radio(list(tasks), value=tasks[-1], visible=len(tasks) > 1)
        return choice, wave_chart(folder).html(), similarity_chart(folder).html()

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section("Rewrite", "The encoder reads all at once; the decoder writes character after character.")
        )
        text = gr.Textbox(
            INPUTS["date"][0], label="Source", max_length=LONGEST, elem_id="source", render=False
        )
        page.examples(text, [example for name in tasks for example in INPUTS[name]])
        text.render()
        task = gr.Radio(["date"], value="date", label="Task", visible=False, elem_id="task")
        answer = html(elem_id="answer")
        kind = gr.Radio(
            [(name, value) for value, name in KINDS.items()], value="cross", label="Attention", elem_id="kind"
        )
        heads = attention_html("heads")
        html(section("Read", "An encoder with a classifier on top. Word order decides: try a negation."))
        review = gr.Textbox(
            REVIEWS[0], label="Review", lines=2, max_length=LONGEST, elem_id="review", render=False
        )
        page.examples(review, REVIEWS)
        review.render()
        verdict = html(elem_id="verdict")
        review_heads = attention_html("review-heads")
        rollout = attention_html("rollout")
        html(section("Who may look at whom", "The masks of the source above, with two padding tokens."))
        mask = html(elem_id="masks")
        html(section("Where a token stands", "Attention sees a set. Positions are put in from outside."))
        curves = html(elem_id="positions")
        alike = html(elem_id="alike")
        page.remember(source=text, review=review, kind=kind)
        page.set_up(from_run, [task, curves, alike])
        page.on_change([text, task, kind], rewrite, [task, text, kind], [answer, heads, mask])
        page.on_change([review], read, [review], [verdict, review_heads, rollout])
    return page.blocks


def look(auto_class: str, folder: Path, text: str) -> tuple[AttentionMaps, str]:
    """Runs the model in `folder` on a text and records the attention of every head.

    Returns:
        The answer or verdict of the model with its attention, and remarks on how it read the text: whether
        the text was cut, and which of its words or characters the model does not know.

    Raises:
        UserError: If the text is empty or the folder cannot be loaded.
    """
    model, tokenizer = loaded(load_pair, folder, auto_class)
    with _ONE_AT_A_TIME:
        maps = attention_maps(model, tokenizer, text)
    notes, length = [], len(maps.source)
    if maps.cut:
        notes.append(f"The text has {length + maps.cut} tokens; the model read the first {length}.")
    encoding = tokenizer(text, return_offsets_mapping=True, truncation=True, max_length=length)
    # A dictionary keeps the order of the text and drops repetitions.
    unknown = dict.fromkeys(
        text[start:end].strip() or " "
        for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        if token == tokenizer.unk_token_id
    )
    if unknown:
        notes.append(f"The model never saw {' '.join(map(visible, list(unknown)[:8]))}.")
    return maps, " ".join(notes)
