"""The page of stage 10: every head of a Transformer while it rewrites a date or reads a review."""

import gradio as gr
import numpy as np

from ...runs import RunFolder
from ...training.attention_probes import AttentionMaps, attention_rollout
from ...ui import pictures
from ...ui.attention_heads import attention_html, attention_picture, head_browser, mask_pictures
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import STAGE
from .charts import masks
from .live_transformer import Transformer, load_transformer

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
LONGEST = 600  # characters


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the models and what the run measured are read from `folder` when they are there."""

    def writer() -> Transformer:
        return load_transformer("AutoModelForSeq2SeqLM", folder.model_dir)

    def rewrite(task: str, text: str, kind: str) -> tuple[str, str, str]:
        source = f"{task}: {text.strip().lower()}" if text.strip() else ""
        model = writer()
        maps = model.look(source)
        answer = pictures.plain_text(maps.answer, "Answer", model.note(source, maps))
        rows, columns = maps.axes(kind)
        heads = head_browser(
            maps.weights[kind], rows, columns, KINDS[kind], "rows look, columns are looked at; click a head"
        )
        return answer, heads, mask_picture(maps)

    def read(text: str) -> tuple[str, str, str]:
        reader = load_transformer("AutoModelForSequenceClassification", folder.model("reader"))
        maps = reader.look(text)
        verdict = pictures.bars(list((maps.predicted or {}).items()), "Verdict", reader.note(text, maps))
        weights = maps.weights["encoder"]
        heads = head_browser(
            weights,
            maps.source,
            maps.source,
            "Every head of the encoder",
            "rows look, columns are looked at; click a head",
        )
        rollout = attention_rollout(weights)
        made = attention_picture(
            rollout / rollout.max(),
            maps.source,
            maps.source,
            "Attention rollout",
            f"what each position is made of after all layers; the fullest cell stands for {rollout.max():.0%}",
            verb="is made of",
        )
        return verdict, heads, made

    def from_run() -> tuple[gr.Radio, str, str]:
        tasks = _tasks(folder)
        curves, alike = position_pictures(folder)
        return gr.Radio(tasks, value=tasks[-1], visible=len(tasks) > 1), curves, alike

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Rewrite", "The encoder reads all at once; the decoder writes one character after the other."
            )
        )
        text = gr.Textbox(
            INPUTS["date"][0], label="Source", max_length=LONGEST, elem_id="source", render=False
        )
        page.examples(text, [example for name in _tasks(folder) for example in INPUTS[name]])
        text.render()
        task = gr.Radio(["date"], value="date", label="Task", visible=False, elem_id="task")
        answer = html(elem_id="answer")
        kind = gr.Radio(
            [(name, value) for value, name in KINDS.items()], value="cross", label="Attention", elem_id="kind"
        )
        heads = attention_html("heads")
        html(
            section(
                "Read", "The encoder alone, with a verdict at its end. Word order decides: try a negation."
            )
        )
        review = gr.Textbox(
            REVIEWS[0], label="Review", lines=2, max_length=LONGEST, elem_id="review", render=False
        )
        page.examples(review, REVIEWS)
        review.render()
        verdict = html(elem_id="verdict")
        review_heads = attention_html("review-heads")
        rollout = attention_html("rollout")
        html(section("Who may look at whom", "The masks of the source above, with two places of padding."))
        mask = html(elem_id="masks")
        html(section("Where a token stands", "Attention sees a set. Positions are put in from outside."))
        curves = html(elem_id="positions")
        alike = html(elem_id="alike")
        page.remember(source=text, review=review, kind=kind)
        page.set_up(from_run, [task, curves, alike])
        page.on_change([text, task, kind], rewrite, [task, text, kind], [answer, heads, mask])
        page.on_change([review], read, [review], [verdict, review_heads, rollout])
    return page.blocks


def _tasks(folder: RunFolder) -> list[str]:
    """The toy tasks of the run, those of the quick preset where there is none yet."""
    return list(folder.report["settings"]["tasks"] if folder.is_complete else STAGE.settings.quick().tasks)


def mask_picture(maps: AttentionMaps) -> str:
    """The masks of this source and answer, the last places of a long one."""
    shown = {
        name: (np.asarray(mask), rows, columns)
        for name, (mask, rows, columns) in masks(maps.source[-12:], maps.target[:12]).items()
    }
    return mask_pictures(shown, "Masks", "filled: may look")


def position_pictures(folder: RunFolder) -> tuple[str, str]:
    """Curves of some dimensions of the sinusoidal encoding, and how alike two positions are by their
    distance.
    """
    data = folder.figure_data("positions")
    table = np.asarray(data["table"])
    places = list(range(len(table)))
    curves = {f"dimension {d}": (places, table[:, d].tolist()) for d in (0, 8, 16, 24) if d < table.shape[1]}
    alike = {name: (list(range(len(line))), line) for name, line in data["alike"].items()}
    return (
        pictures.line_chart(
            curves,
            "Sinusoidal positions",
            "position",
            "slow and fast waves: together they name every position",
        ),
        pictures.line_chart(
            alike,
            "How alike two positions are",
            "distance between them",
            "cosine of the angle, averaged over all pairs of dimensions: near positions look alike",
        ),
    )
