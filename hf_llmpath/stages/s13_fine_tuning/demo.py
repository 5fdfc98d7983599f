"""The page of stage 13: a text, a question, and the passage that answers it, with how sure the reader is."""

import re

import gradio as gr

from ...decoding.answer_spans import Answer
from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import STAGE
from .charts import NAMES, lines_of
from .live_reader import load_reader

TEXT = (
    "Because she was hungry, Wren walked to the bakery on Tuesday. There Wren sold a red ball with some luck. "
    "On Sunday, Otto the smith hurried to the mill, because he liked the quiet. Before long Otto found an old map there."
)
QUESTIONS = (
    "Who found the old map?",
    "What did Wren sell?",
    "When did Otto go to the mill?",
    "Why did Wren walk to the bakery?",
)
LONGEST, LONGEST_QUESTION = 6000, 200  # characters
SHOWN = 6
MARKS = {"answer": "likeliest answer", "other": "next likeliest"}


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the reader and what the run measured are read from `folder` when they are there."""

    def answer(question: str, text: str) -> str:
        reader = load_reader(folder.model_dir)
        found = reader.answers(question, text, SHOWN)
        return answers_picture(question, text, found, reader.note(question, text))

    def from_run() -> tuple[str, str]:
        return stopping_picture(folder), clipping_picture(folder)

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Ask a text",
                "The answer is a passage of the text; change either and see how sure the reader is.",
            )
        )
        text = gr.Textbox(TEXT, label="Text", lines=4, max_length=LONGEST, elem_id="text")
        question = gr.Textbox(
            QUESTIONS[0], label="Question", max_length=LONGEST_QUESTION, elem_id="question", render=False
        )
        page.examples(question, QUESTIONS)
        question.render()
        page.remember(question=question, text=text)
        answers = html(elem_id="answers")
        html(
            section(
                "When to stop", "A few questions are soon learned by heart; the loss on others says when."
            )
        )
        stopping = html(elem_id="early-stopping")
        html(
            section(
                "Steps too long",
                "The same training at a high learning rate, gradients clipped and as they come.",
            )
        )
        clipping = html(elem_id="clipping")
        page.set_up(from_run, [stopping, clipping])
        page.on_change([question, text], answer, [question, text], [answers])
    return page.blocks


def answers_picture(question: str, text: str, found: list[Answer], note: str = "") -> str:
    """The text with the likeliest answers marked, and all of them as bars."""
    best = found[0]
    words, marks = [], []
    for match in re.finditer(r"\w+(?:['’-]\w+)*|[^\w\s]", text):
        start, end = match.span()
        words.append(match.group())
        inside = [
            place for place, one in enumerate(found[:2]) if one.text and one.start <= start and end <= one.end
        ]
        marks.append("answer" if 0 in inside else "other" if 1 in inside else "")
    said = f"Answer: {best.text}" if best.text else "No answer in this text"
    marked = pictures.marked_tokens(words, marks, MARKS, said, f"{question} {note}".strip())
    rows = [(answer.text or "(no answer)", answer.score) for answer in found]
    return f'<div class="lp lp-stack">{marked}{pictures.bars(rows, "How likely", "probability of each answer")}</div>'


def stopping_picture(folder: RunFolder) -> str:
    """Loss on the few questions and on others, to the end and with early stopping."""
    lines = {
        "the few questions": lines_of(folder, "not_stopped", "loss"),
        "held-out questions": lines_of(folder, "not_stopped", "eval_loss"),
        "held-out, early stopping": lines_of(folder, "stopped", "eval_loss"),
    }
    if not lines["held-out questions"][0]:
        return ""
    steps, metrics = lines["held-out, early stopping"][0][-1], folder.metrics
    detail = (
        f"stopped after {steps:,} of {metrics['not_stopped/steps']:,} steps: loss "
        f"{metrics['stopped/validation_loss']:.2f} instead of {metrics['not_stopped/validation_loss']:.2f}"
    )
    return pictures.line_chart(lines, "Loss with few questions", "step", detail)


def clipping_picture(folder: RunFolder) -> str:
    """Norm of the gradient of both trainings at a high rate."""
    lines = {NAMES[arm]: lines_of(folder, arm, "grad_norm") for arm in ("not_clipped", "clipped")}
    if not lines[NAMES["clipped"]][0]:
        return ""
    limit, last = folder.report["settings"]["max_grad_norm"], lines[NAMES["clipped"]][0][-1]
    lines["the limit"] = [1, last], [limit, limit]
    metrics = folder.metrics
    detail = (
        f"before clipping, logarithmic; loss at the end {metrics['clipped/validation_loss']:.2f} clipped, "
        f"{metrics['not_clipped/validation_loss']:.2f} not"
    )
    return pictures.line_chart(lines, "Length of the gradient", "step", detail, log_y=True)
