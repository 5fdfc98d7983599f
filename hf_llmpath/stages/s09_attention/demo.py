"""The page of stage 9: type a document, point at a word of its summary, and see where the network looked."""

import math

import gradio as gr
import numpy as np

from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, stage_page
from ...ui.panels import section
from . import STAGE
from .alignment_picture import pointed
from .charts import NAMES, losses
from .live_summarizer import Summarizer, load_summarizer
from .source_alignment import Alignment

EXAMPLES = (
    "Snow lay on the fences that morning, and everybody stayed at home. Sam the hunter thought about a red map night and "
    "day. He had fallen on the stairs and could not walk to the shop. In the orchard, where bees hummed in the trees, Sam "
    'told Edith the keeper the whole story. June was at the lake, painting a little book, and saw nothing. "Take mine until '
    'spring," said the keeper.',
    "All that Rosa the painter dreamed of was an old lantern. The price was too high for Rosa: her purse was as empty as an "
    "old well. Nell the sailor, who was singing at the bakery, soon knew the whole story. Nell looked behind ten boxes in "
    "the attic and shouted with joy.",
    "Zelda the baker longed for a purple bicycle. When Zelda came to the shop, the last one was already sold. Igor the "
    "tailor heard about it at the market. Igor took glue, nails and thread and sat up all night.",
)
LONGEST = 4000  # characters
ORDER = ("without_attention", "without_copying", "additive")


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the models and what the run measured are read from `folder` when they are there."""

    def summarize(document: str, beams: int, temperature: float, seed: int) -> tuple[str, str]:
        model = load_summarizer(folder.model_dir)
        found = model.write(document, beams, temperature, seed or 0)
        how = f"Temperature {temperature:g}, seed {seed or 0}" if temperature else "The likeliest words"
        how += f", beam of {beams}. " if beams > 1 else ". "
        return look_picture(found, how + model.note(document, found)), others(
            document, beams, temperature, seed or 0
        )

    def others(document: str, beams: int, temperature: float, seed: int) -> str:
        rows = []
        for name in ORDER:
            if folder.model(name).is_dir():
                model: Summarizer = load_summarizer(folder.model(name))
                rows.append([NAMES[name].capitalize(), model.write(document, beams, temperature, seed).text])
        return (
            pictures.table(["network", "what it wrote"], rows, "The same document, other networks")
            if rows
            else ""
        )

    def from_run() -> tuple[str, str]:
        return loss_picture(folder), score_picture(folder)

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Point at a word", "Each word of the summary was written while the network looked somewhere."
            )
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
        html(
            section(
                "Without looking back",
                "The same network, the same training, other ways of remembering the text.",
            )
        )
        compared = html(elem_id="compared")
        training = html(elem_id="losses")
        scores = html(elem_id="scores")
        page.set_up(from_run, [training, scores])
        controls = [document, beams, temperature, seed]
        page.on_change(controls, summarize, controls, [looked, compared])
    return page.blocks


def look_picture(found: Alignment, note: str) -> str:
    """The summary to point at, over the document."""
    if not found.summary:
        return pictures.figure('<p class="lp-empty">It wrote nothing about this text.</p>', "Summary", note)
    most = math.log2(max(2, len(found.source)))
    spread = np.clip(found.entropy / most, 0, 1)
    said = [f"entropy {bits:.1f} bits" for bits in found.entropy]
    meters = [("how widely it looked", spread)]
    if len(found.copied):
        said = [f"{text}, copy gate {gate:.0%}" for text, gate in zip(said, found.copied, strict=True)]
        meters.insert(0, ("how much it copied", found.copied))
    return pointed(
        found.source,
        found.words,
        found.weights,
        found.text,
        note,
        said,
        meters,
        target_name="Summary: point at a word",
    )


def loss_picture(folder: RunFolder) -> str:
    """Training losses of the networks."""
    return pictures.line_chart(losses(folder), "Training loss", "step", "nats per token")


def score_picture(folder: RunFolder) -> str:
    """ROUGE-L of the networks and of two sentences of the document itself."""
    metrics, baselines = folder.metrics, folder.report["baselines"]
    keys = {NAMES[name]: "rougeL" if name == "attention" else f"{name}/rougeL" for name in NAMES}
    rows = [(shown, metrics[key]) for shown, key in keys.items() if key in metrics]
    rows += [
        ("first sentence", baselines["rougeL"]),
        ("a random sentence", baselines["random_sentence/rougeL"]),
    ]
    table = [[name, f"{value:.3f}"] for name, value in rows]
    return pictures.table(["what was written by", "ROUGE-L"], table, "ROUGE-L on held-out documents")
