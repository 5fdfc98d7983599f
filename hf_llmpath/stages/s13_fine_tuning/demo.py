"""Builds the page of stage 13: a text, a question, and the passage that answers it, with its probability."""

from pathlib import Path

import gradio as gr

from ...charts.plots import bar_chart
from ...charts.text import token_boxes
from ...decoding.answer_spans import Answer, answer_questions
from ...errors import UserError
from ...hub.model_folder import load_pair, loaded
from ...runs import RunFolder
from ...ui.page import html, section, stage_page
from . import STAGE
from .charts import early_stopping, gradient_norms, mark_words

TEXT = (
    "Because she was hungry, Wren walked to the bakery on Tuesday. "
    "There Wren sold a red ball with some luck. "
    "On Sunday, Otto the smith hurried to the mill, because he liked the quiet. "
    "Before long Otto found an old map there."
)
QUESTIONS = (
    "Who found the old map?",
    "What did Wren sell?",
    "When did Otto go to the mill?",
    "Why did Wren walk to the bakery?",
)
LONGEST, LONGEST_QUESTION = 6000, 200  # characters
SHOWN = 6  # answers
MEANINGS = {"answer": "likeliest answer", "other": "next likeliest"}


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the model and the measurements from `folder` once the run is complete."""

    def answer(question: str, text: str) -> str:
        reader = load_reader(folder.model_dir)
        return answers_markup(
            question, text, reader.answers(question, text, SHOWN), reader.note(question, text)
        )

    def from_run() -> list[str]:
        # A run without one of the comparisons has no data for its picture.
        trainings = {entry["part"] for entry in folder.history}
        return [
            draw(folder).html() if training in trainings else ""
            for training, draw in (("stopped", early_stopping), ("clipped", gradient_norms))
        ]

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Ask a text",
                "The answer is a passage of the text; change either and see how sure the model is.",
            )
        )
        text = gr.Textbox(TEXT, label="Text", lines=4, max_length=LONGEST, elem_id="text")
        question = gr.Textbox(
            QUESTIONS[0], label="Question", max_length=LONGEST_QUESTION, elem_id="question", render=False
        )  # rendered below its examples, which need it as their target
        page.examples(question, QUESTIONS)
        question.render()
        page.remember(question=question, text=text)
        answers = html(elem_id="answers")
        html(section("When to stop", "A few questions are soon memorized; the loss on others says when."))
        stopping = html(elem_id="early-stopping")
        html(
            section(
                "Steps too long",
                "The same training at a high learning rate, with gradients clipped and as they come.",
            )
        )
        clipping = html(elem_id="clipping")
        page.set_up(from_run, [stopping, clipping])
        page.on_change([question, text], answer, [question, text], [answers])
    return page.blocks


def answers_markup(question: str, text: str, answers: list[Answer], note: str = "") -> str:
    """Renders the text with its two likeliest answers marked, and all answers as bars."""
    best = answers[0]
    # There are two marks and up to `SHOWN` answers: the other answers appear only as bars.
    spans = {name: (answer.start, answer.end) for name, answer in zip(MEANINGS, answers, strict=False)}
    caption = f"Answer: {best.text}" if best.text else "No answer in this text"
    detail = f"{question} {note}".strip()
    marked = token_boxes([("", *mark_words(text, spans))], caption, MEANINGS, detail)
    bars = bar_chart(
        [(answer.text or "(no answer)", answer.score) for answer in answers],
        "How likely",
        detail="probability of each answer",
        form="{:.1%}".format,
    )
    return f'<div class="lp lp-stack">{marked.html()}{bars.html()}</div>'


class PassageReader:
    """A model that answers questions with a passage of a text, together with its tokenizer."""

    def __init__(self, folder: Path):
        self.model, self.tokenizer = load_pair("AutoModelForQuestionAnswering", folder)
        self.limit = self.model.config.max_position_embeddings

    def answers(self, question: str, context: str, top_k: int) -> list[Answer]:
        """Returns the `top_k` likeliest answers; the empty one ("no answer") competes with the others.

        Raises:
            UserError: If the question or the text is empty.
        """
        for name, text in (("question", question), ("text", context)):
            if not text.strip():
                raise UserError(f"the {name} is empty; type one")
        return answer_questions(
            self.model, self.tokenizer, [question], [context], self.limit, top_k=top_k, no_answer=True
        )[0]

    def note(self, question: str, context: str) -> str:
        """Returns notes on how the model reads the text: in several windows, or with unknown words."""
        # `verbose=False` silences the warning about texts longer than the model's limit.
        ids, notes = self.tokenizer(question, context, verbose=False)["input_ids"], []
        if len(ids) > self.limit:
            notes.append(
                f"Question and text have {len(ids)} tokens; the model read them in windows of {self.limit}."
            )
        if unknown := ids.count(self.tokenizer.unk_token_id):
            notes.append(f"{unknown} of the words are unknown to the model.")
        return " ".join(notes)


def load_reader(folder: Path) -> PassageReader:
    """Loads the model saved in `folder` and keeps it in memory until its files change.

    Raises:
        UserError: If its weight file is missing, truncated, or a pickle, or its tokenizer belongs to another
            model.
    """
    return loaded(PassageReader, folder)
