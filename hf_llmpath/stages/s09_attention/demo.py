"""Builds the page of stage 9: point at a word of a summary and see where the network looked for it."""

import threading
from pathlib import Path

import gradio as gr
import torch

from ...charts.picture import shortened
from ...charts.text import texts
from ...data.tokenizers.word_level import unknown_words
from ...errors import UserError
from ...hub.model_folder import load_pair, loaded
from ...runs import RunFolder
from ...ui.page import html, section, stage_page
from . import STAGE
from .charts import NAMES, alignment_chart, loss_chart, score_chart
from .source_alignment import Alignment, align

EXAMPLES = (
    "Snow lay on the fences that morning, and everybody stayed at home. Sam the hunter thought about a red "
    "map night and day. He had fallen on the stairs and could not walk to the shop. In the orchard, where "
    "bees hummed in the trees, Sam told Edith the keeper the whole story. June was at the lake, painting a "
    'little book, and saw nothing. "Take mine until spring," said the keeper.',
    "All that Rosa the painter dreamed of was an old lantern. The price was too high for Rosa: her purse "
    "was as empty as an old well. Nell the sailor, who was singing at the bakery, soon knew the whole "
    "story. Nell looked behind ten boxes in the attic and shouted with joy.",
    "Zelda the baker longed for a purple bicycle. When Zelda came to the shop, the last one was already "
    "sold. Igor the tailor heard about it at the market. Igor took glue, nails and thread and sat up all "
    "night.",
)
LONGEST = 4000  # characters of a document
_ONE_AT_A_TIME = threading.Lock()  # generate() draws from the random generator that all threads share


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the models and the measurements from `folder` once the run is complete."""

    def summarize(document: str, beams: int, temperature: float, seed: int) -> tuple[str, str]:
        seed = seed or 0  # an empty field arrives as None
        alignment = write(folder.model_dir, document, beams, temperature, seed)
        detail = f"Temperature {temperature:g}, seed {seed}" if temperature else "The likeliest words"
        detail += f", beam of {beams}. " if beams > 1 else ". "
        detail += note(folder.model_dir, document, alignment)
        shown = alignment.as_data() | {"summary": alignment.words}  # with source words for unknown tokens
        others = {
            NAMES[name].capitalize(): write(folder.model(name), document, beams, temperature, seed).text
            for name in ("without_attention", "without_copying", "additive")
            if folder.model(name).is_dir()  # two of these models are optional
        }
        compared = texts(others, "The same document, other networks").html() if others else ""
        caption = alignment.text or "Summary"
        return alignment_chart(shown, caption, detail.strip()).html(), compared

    def from_run() -> tuple[str, str]:
        return loss_chart(folder).html(), score_chart(folder).html()

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section("Point at a word", "While the network wrote a word of the summary, it looked somewhere.")
        )
        document = gr.Textbox(
            EXAMPLES[0],
            label="Document",
            info="A report about two people of the village; the network knows their words only",
            lines=5,
            max_lines=12,
            max_length=LONGEST,
            elem_id="document",
            render=False,
        )
        page.examples(document, EXAMPLES)
        document.render()
        with gr.Row():
            beams = gr.Slider(
                1, 8, value=1, step=1, label="Beam width", info="1 takes the likeliest word each time"
            )
            temperature = gr.Slider(0, 2, value=0, step=0.1, label="Temperature", info="0 takes no chances")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, min_width=120)
        page.remember(document=document, beams=beams, temperature=temperature, seed=seed)
        looked = html(elem_id="looked")
        html(section("Without looking back", "The same training, other ways of remembering the text."))
        compared = html(elem_id="compared")
        training = html(elem_id="losses")
        scores = html(elem_id="scores")
        page.set_up(from_run, [training, scores])
        controls = [document, beams, temperature, seed]
        page.on_change(controls, summarize, controls, [looked, compared])
    return page.blocks


def write(folder: Path, document: str, num_beams: int, temperature: float, seed: int) -> Alignment:
    """Summarizes `document` with the model in `folder` and records where the model looks.

    The summary is the best one of the beam or, if `temperature` is above 0, a sample.

    Raises:
        UserError: If the document is empty or the folder cannot be loaded.
    """
    if not document.strip():
        raise UserError("the document is empty; type or pick a text")
    model, tokenizer = loaded(load_pair, folder, "AutoModelForSeq2SeqLM")
    options = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
    # The state of the CPU generator is restored afterwards; without devices, no GPU generator is touched.
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        return align(model, tokenizer, document, num_beams=int(num_beams), **options)


def note(folder: Path, document: str, alignment: Alignment) -> str:
    """Returns remarks on how the model read the document: whether it was cut, and which words are unknown."""
    notes, length = [], len(alignment.source)
    if alignment.left_out:
        total = length + alignment.left_out
        notes.append(f"The document has {total} tokens; the model read the first {length}.")
    _, tokenizer = loaded(load_pair, folder, "AutoModelForSeq2SeqLM")
    if unknown := unknown_words(tokenizer, document):
        names = ", ".join(shortened(word, 24) for word in unknown[:8]) + (" …" if len(unknown) > 8 else "")
        notes.append(f"It never saw: {names}.")
        if any(alignment.unknown):
            notes.append("Where it wrote an unknown word, you read the one that it looked at.")
    return " ".join(notes)
