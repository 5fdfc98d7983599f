"""Builds the page of stage 16: one prompt, two chatbots, and a thumbs-up that becomes training data."""

from collections.abc import Iterator
from html import escape
from itertools import zip_longest
from typing import Any

import gradio as gr

from ...charts.picture import figure
from ...decoding.chatbot import THUMBS, Chatbot, save_preference
from ...errors import UserError
from ...hub.model_folder import loaded
from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, section, stage_page, telling
from . import STAGE
from .charts import CURVES, NAMES, curve_chart, fault_chart, score_chart

EXAMPLES = (
    "Who is the baker in the village?",
    "My old drum is broken. Who can mend it?",
    "Please tell me a little tale about Nell the sailor and a yellow bell.",
    "It is foggy at the lighthouse. What should I bring?",
)
LONGEST = 300  # characters of a prompt
SHOWN = 5  # prompts in the transcript


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; it reads the models and the measurements from `folder` once the run is complete."""

    def bots() -> tuple[Chatbot, Chatbot]:
        return loaded(Chatbot, folder.model("sft")), loaded(Chatbot, folder.model_dir)

    def reply(prompt: str, temperature: float, seed: int) -> Iterator[tuple[str, list[str]]]:
        before, after = bots()
        unknown = after.unknown(prompt)
        note = f"Words that it has never seen: {', '.join(unknown)}." if unknown else ""
        left = right = ""
        streams = (bot.stream(prompt, temperature, seed or 0) for bot in (before, after))
        # Both chatbots write at once; the one that finishes first yields None from then on.
        for one, other in zip_longest(*streams):
            left, right = one if one is not None else left, other if other is not None else right
            yield both(left, right, note, writing=True), [prompt, left, right]
        yield both(left, right, note), [prompt, left, right]

    def both(left: str, right: str, note: str = "", writing: bool = False) -> str:
        first = folder.report["settings"]["methods"][0] if folder.is_complete else "ppo"
        shown = pictures.plain_text(left, "Fine-tuned only (SFT)", note, writing=writing)
        shown += pictures.plain_text(right, f"Aligned ({NAMES[first]})", note, writing=writing)
        return f'<div class="lp lp-gallery">{shown}</div>'

    def prefer(last: list[str], aligned: bool) -> str:
        if len(last) != 3 or not any(last[1:]):  # `last` is empty until the first reply
            raise UserError("there is no reply to judge yet; press Reply first")
        prompt, left, right = last
        chosen, rejected = (right, left) if aligned else (left, right)
        count = save_preference(folder.path / THUMBS, prompt, chosen, rejected)
        pairs = "1 pair" if count == 1 else f"{count} pairs"
        command = f"llmpath run rlhf --dataset {folder.path / THUMBS} --set chats=world"
        return (
            f'<p class="lp lp-note">Saved: {pairs}. Train on them with:</p>'
            f'<p class="lp lp-source">{escape(command)}</p>'
        )

    def curve(key: str) -> str:
        chart = curve_chart(folder, key)
        empty = '<p class="lp-empty">This run has no policy gradient.</p>'
        return chart.html() if chart else figure(empty, CURVES[key][0])

    def from_run() -> tuple[str, str, str, str]:
        charts = (score_chart(folder), fault_chart(folder.metrics))
        measured = "".join(chart.html() for chart in charts if chart)
        return f'<div class="lp lp-stack">{measured}</div>', curve("reward"), curve("kl"), transcript(folder)

    with stage_page(STAGE, folder, model_id) as page:
        html(section("Two chatbots", "One prompt, one seed: before and after learning from preferences."))
        options = {"max_length": LONGEST, "elem_id": "rlhf-prompt", "render": False}
        prompt = gr.Textbox(EXAMPLES[0], label="You say", **options)
        page.examples(prompt, EXAMPLES)
        prompt.render()
        with gr.Row():
            greedy = "0 takes the likeliest word"
            temperature = gr.Slider(
                0, 1.5, value=0.7, step=0.05, label="Temperature", info=greedy, min_width=200
            )
            whole = {"precision": 0, "minimum": 0, "maximum": 2**31 - 1, "min_width": 120}
            seed = gr.Number(0, label="Seed", info="Same seed, same reply", elem_id="rlhf-seed", **whole)
        page.remember(prompt=prompt, temperature=temperature, seed=seed)
        last: Any = gr.State([])
        page.writer(
            reply, [prompt, temperature, seed], lambda: [html(both("", ""), elem_id="replies"), last], "Reply"
        )
        with gr.Row(elem_classes="lp-buttons"):
            first_better = gr.Button("👍 The first is better", min_width=150)
            second_better = gr.Button("👍 The aligned one is better", min_width=150)
        saved = html(elem_id="saved")
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        first_better.click(telling(lambda pair: prefer(pair, False)), [last], [saved], **quiet)
        second_better.click(telling(lambda pair: prefer(pair, True)), [last], [saved], **quiet)
        html(section("What alignment changed", "Measured on prompts that no training has seen."))
        scores = html(elem_id="scores")
        with gr.Row():
            reward = html(elem_id="reward")
            kl = html(elem_id="kl")
        html(section("The same prompts, every method", "Replies as they were measured, at temperature 1."))
        replies = html(elem_id="transcript")
        page.set_up(from_run, [scores, reward, kl, replies])
    return page.blocks


def transcript(folder: RunFolder) -> str:
    """Renders the same prompts with the replies of every method."""
    shown = ""
    for row in folder.figure_data("replies")[:SHOWN]:
        lines = [
            f"{NAMES[name]} [{reply['score']:.2f}]: {reply['text']}" for name, reply in row["replies"].items()
        ]
        shown += pictures.plain_text("\n".join(lines), row["prompt"], "The score is in brackets.")
    return f'<div class="lp lp-stack">{shown}</div>'
