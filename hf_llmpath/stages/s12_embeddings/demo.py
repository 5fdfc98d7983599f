"""Builds the page of stage 12: neighbors on the map of words, analogies, and one word in two contexts."""

from pathlib import Path

import gradio as gr
import numpy as np

from ...charts.plots import bar_chart
from ...errors import UserError
from ...hub.model_folder import load_pair, loaded
from ...runs import RunFolder
from ...ui.page import html, section, stage_page
from . import STAGE
from .charts import OBJECTIVES, word_map
from .contextual_vectors import contextual_vectors
from .word_probes import WordVectors

WORDS = ("kite", "baker", "harbour", "honey", "goat")
ANALOGY = ("mara", "baker", "tom")
CONTEXTS = (
    ("light", "I have no light, said Nell.", "It was light and strong."),
    ("light", "Ivy could light the green lantern.", "Its light fell on every face."),
    ("light", "It was light and strong.", "The basket was light and strong."),
)
NEIGHBORS = 10
LONGEST = 300  # characters of a text


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the models and the measurements from `folder` once the run is complete."""

    def vectors(objective: str | None) -> WordVectors:
        first = folder.report["settings"]["objectives"][0]  # its vectors are the model of the stage
        return load_word_vectors(folder.model_dir if objective in (None, first) else folder.model(objective))

    def choices() -> tuple[gr.Radio, gr.Radio]:
        objectives = folder.report["settings"]["objectives"]
        maps = list(folder.figure_data("map")["maps"])
        return (
            gr.Radio([(OBJECTIVES[name], name) for name in objectives], value=objectives[0]),
            gr.Radio(maps, value=maps[-1]),
        )

    def neighbors(word: str, objective: str, kind: str) -> tuple[str, str]:
        near = vectors(objective).neighbors(word, NEIGHBORS)
        data, asked = folder.figure_data("map"), word.strip().lower()
        # A run with few words has no map by t-SNE.
        kind = kind if kind in data["maps"] else next(iter(data["maps"]))
        missing = "" if asked in data["words"] else f"“{word}” itself is not on the map."
        chart = word_map(data, kind, {asked, *(other for other, _ in near)}, missing)
        return _cosines(near, f"Nearest to “{word}”", "cosine similarity"), chart.html()

    def analogy(one: str, other: str, third: str, objective: str) -> str:
        answers = vectors(objective).analogy(one, other, third)
        caption = f"{one} is to {other} as {third} is to …"
        return _cosines(answers, caption, f"nearest to {other} − {one} + {third}")

    def contexts(word: str, one: str, other: str) -> str:
        cosine = contextual_similarity(folder.model("contextual"), word, one, other)
        # A static vector equals itself; a bar cannot show a negative cosine.
        rows = [("static", 1.0), ("contextual", max(0.0, cosine))]
        return _cosines(rows, f"How similar is “{word}” in the two?", "cosine of its two vectors")

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Find a word",
                "Its nearest words by the cosine of the vectors, and where they lie on the map.",
            )
        )
        word = gr.Textbox(WORDS[0], label="Word", max_length=40, elem_id="word", render=False)
        page.examples(word, WORDS)
        word.render()
        with gr.Row():
            names = [(title, name) for name, title in OBJECTIVES.items()]
            objective = gr.Radio(names, value="skipgram", label="Learned by")
            kind = gr.Radio(["PCA", "t-SNE"], value="t-SNE", label="Map", elem_id="kind")
        near, chart = html(elem_id="near"), html(elem_id="map")
        page.remember(word=word)
        page.set_up(choices, [objective, kind])
        page.on_change([word, objective, kind], neighbors, [word, objective, kind], [near, chart])
        html(section("Analogies", "What is to the third word as the second is to the first?"))
        with gr.Row():
            asked = [
                gr.Textbox(value, label=label, max_length=40, min_width=140)
                for value, label in zip(ANALOGY, ("Word", "is to", "as"), strict=True)
            ]
        answer = html(elem_id="analogy")
        page.on_change([*asked, objective], analogy, [*asked, objective], [answer])
        html(
            section("One word, two contexts", "A static vector is the same everywhere. An encoder's is not.")
        )
        with gr.Row():
            which = gr.Textbox(CONTEXTS[0][0], label="Ambiguous word", max_length=40, min_width=140)
            first = gr.Textbox(CONTEXTS[0][1], label="First text", max_length=LONGEST, min_width=240)
            second = gr.Textbox(CONTEXTS[0][2], label="Second text", max_length=LONGEST, min_width=240)
        gr.Examples([list(row) for row in CONTEXTS], [which, first, second], label="Examples")
        both = html(elem_id="contexts")
        page.on_change([which, first, second], contexts, [which, first, second], [both])
    return page.blocks


def _cosines(rows: list[tuple[str, float]], caption: str, detail: str) -> str:
    return bar_chart(rows, caption, detail=detail, form="{:.2f}".format).html()


def load_word_vectors(folder: Path) -> WordVectors:
    """Loads the word vectors saved in `folder` and keeps them in memory until the files change."""
    return loaded(_word_vectors, folder)


def _word_vectors(folder: Path) -> WordVectors:
    return WordVectors.of(*load_pair("AutoModel", folder))


def _encoder(folder: Path) -> tuple:
    return load_pair("AutoModelForMaskedLM", folder)


def contextual_similarity(folder: Path, word: str, one: str, other: str) -> float:
    """Returns the cosine of the vectors that the encoder in `folder` gives to a word in two texts.

    Raises:
        UserError: If a text does not contain the word.
    """
    asked, spans = word.strip(), []
    for text in (one, other):
        start = text.lower().find(asked.lower())
        if not asked or start < 0:
            raise UserError(
                f"'{word}' does not stand in '{text[:40]}'; write it there, or choose another word"
            )
        spans.append((start, start + len(asked)))
    model, tokenizer = loaded(_encoder, folder)
    # (2, hidden_size) -> two of (hidden_size,)
    first, second = contextual_vectors(model.model, tokenizer, [one, other], spans)
    # cos(a, b) = a · b / (|a| |b|)
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
