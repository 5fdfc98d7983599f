"""The page of stage 12: search the map of words, ask for neighbors and analogies, and bend a word by its
context.
"""

from typing import Any

import gradio as gr

from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import STAGE
from .charts import NAMES
from .live_words import load_contextual, load_word_vectors, word_map

WORDS = ("kite", "baker", "harbour", "honey", "goat")
ANALOGY = ("mara", "baker", "tom")
CONTEXTS = (
    ("light", "I have no light, said Nell.", "It was light and strong."),
    ("light", "Ivy could light the green lantern.", "Its light fell on every face."),
    ("light", "It was light and strong.", "The basket was light and strong."),
)
SHOWN = 10
LONGEST = 300  # characters


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the models and what the run measured are read from `folder` when they are there."""

    def vectors(objective: str) -> Any:
        first = folder.report["settings"]["objectives"][0]
        return load_word_vectors(folder.model_dir if objective in (None, first) else folder.model(objective))

    def choices() -> tuple[gr.Radio, gr.Radio]:
        objectives = folder.report["settings"]["objectives"]
        maps = list(folder.figure_data("map")["maps"])
        return (
            gr.Radio([(NAMES[name], name) for name in objectives], value=objectives[0]),
            gr.Radio(maps, value=maps[-1]),
        )

    def neighbors(word: str, objective: str, kind: str) -> tuple[str, str]:
        near = vectors(objective).neighbors(word, SHOWN)
        drawn = folder.figure_data("map")
        kind = kind if kind in drawn["maps"] else next(iter(drawn["maps"]))
        marked = {word.strip().lower(), *(other for other, _ in near)}
        missing = "" if word.strip().lower() in drawn["words"] else f"“{word}” itself is not on the map. "
        chart = word_map(
            drawn["words"],
            drawn["maps"][kind],
            drawn["kinds"],
            marked,
            f"{kind} of the vectors",
            missing + _ABOUT[kind],
        )
        return pictures.bars(near, f"Nearest to “{word}”", "cosine similarity", "{:.2f}"), chart

    def analogy(one: str, other: str, third: str, objective: str) -> str:
        found = vectors(objective).analogy(one, other, third)
        caption = f"{one} is to {other} as {third} is to …"
        return pictures.bars(found, caption, f"nearest to {other} − {one} + {third}", "{:.2f}")

    def contexts(word: str, one: str, other: str) -> str:
        cosine = load_contextual(folder.model("contextual")).similarity(word, one, other)
        rows = [("static", 1.0), ("contextual", max(0.0, cosine))]
        return pictures.bars(
            rows, f"How alike is “{word}” in the two?", "cosine of its two vectors", "{:.2f}"
        )

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
            objective = gr.Radio(
                [(name, key) for key, name in NAMES.items()], value="skipgram", label="Learned by"
            )
            kind = gr.Radio(["PCA", "t-SNE"], value="t-SNE", label="Map", elem_id="kind")
        near, chart = html(elem_id="near"), html(elem_id="map")
        page.remember(word=word)
        page.set_up(choices, [objective, kind])
        page.on_change([word, objective, kind], neighbors, [word, objective, kind], [near, chart])
        html(section("Analogies", "What is to the third word as the second is to the first?"))
        with gr.Row():
            asked = [
                gr.Textbox(text, label=label, max_length=40, min_width=140)
                for text, label in zip(ANALOGY, ("Word", "is to", "as"), strict=True)
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


_ABOUT = {
    "PCA": "The plane in which the vectors differ most.",
    "t-SNE": "Neighbors stay neighbors; how far groups lie apart means nothing.",
}
