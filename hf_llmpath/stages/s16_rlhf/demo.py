"""The page of stage 16: one prompt, two chatbots, and a thumb that becomes training data."""

from collections.abc import Iterator
from html import escape
from itertools import zip_longest
from typing import Any

import gradio as gr

from ...decoding.chatbot import THUMBS, Chatbot, save_preference
from ...errors import UserError
from ...hub.model_folder import loaded
from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, stage_page, telling
from ...ui.panels import section
from . import STAGE
from .charts import NAMES, faults_of, histories, scores_of

EXAMPLES = (
    "Who is the baker in the village?",
    "My old drum is broken. Who can mend it?",
    "Please tell me a little tale about Nell the sailor and a yellow bell.",
    "It is foggy at the lighthouse. What should I bring?",
)
LONGEST = 300  # characters
SHOWN = 5  # prompts in the transcript


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; the models and what the run measured are read from `folder` when they are there."""

    def bots() -> tuple[Chatbot, Chatbot]:
        return loaded(Chatbot, folder.model("sft")), loaded(Chatbot, folder.model_dir)

    def reply(prompt: str, temperature: float, seed: int) -> Iterator[tuple[str, list[str]]]:
        before, after = bots()
        note = f"It never saw: {', '.join(strange)}." if (strange := after.unknown(prompt)) else ""
        left = right = ""
        streams = (bot.stream(prompt, temperature, seed or 0) for bot in (before, after))
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
        if len(last) != 3 or not any(last[1:]):
            raise UserError("there is no reply to judge yet; press Reply first")
        prompt, left, right = last
        chosen, rejected = (right, left) if aligned else (left, right)
        count = save_preference(folder.path / THUMBS, prompt, chosen, rejected)
        command = f"llmpath run rlhf --dataset {folder.path / THUMBS} --set chats=world"
        return (
            f'<p class="lp lp-note">Saved: {count} {"pair" if count == 1 else "pairs"}. Train on them with:</p>'
            f'<p class="lp lp-source">{escape(command)}</p>'
        )

    def from_run() -> tuple[str, str, str, str]:
        return scores_picture(folder), curve(folder, "reward"), curve(folder, "kl"), transcript(folder)

    with stage_page(STAGE, folder, model_id) as page:
        html(
            section(
                "Two chatbots", "The same prompt, the same seed: before and after learning from preferences."
            )
        )
        prompt = gr.Textbox(
            EXAMPLES[0], label="You say", max_length=LONGEST, elem_id="rlhf-prompt", render=False
        )
        page.examples(prompt, EXAMPLES)
        prompt.render()
        with gr.Row():
            temperature = gr.Slider(
                0,
                1.5,
                value=0.7,
                step=0.05,
                label="Temperature",
                info="0 takes the likeliest word",
                min_width=200,
            )
            seed = gr.Number(
                0, label="Seed", info="Same seed, same reply", precision=0, minimum=0, maximum=2**31 - 1, min_width=120,
                elem_id="rlhf-seed",
            )  # fmt: skip
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
        html(section("What alignment changed", "On prompts that nothing was trained on."))
        scores = html(elem_id="scores")
        with gr.Row():
            reward = html(elem_id="reward")
            kl = html(elem_id="kl")
        html(
            section(
                "The same prompts, every method", "Replies drawn at temperature 1, as they were measured."
            )
        )
        replies = html(elem_id="transcript")
        page.set_up(from_run, [scores, reward, kl, replies])
    return page.blocks


def scores_picture(folder: RunFolder) -> str:
    """Mean score of every method, and what the reward model sees."""
    found, score = scores_of(folder)
    what = "Judge's score" if score == "judge_score" else "Reward"
    rows = [[name, f"{value:.3f}"] for name, value in found.items()]
    shown = pictures.table(["held-out prompts", f"{what}, mean"], rows, f"{what} of every method")
    if faults := faults_of(folder.metrics):
        rows = [[name, f"{value:.1%}"] for name, value in faults.items()]
        head = ["reward model: pairs by fault", "ranked rightly"]
        shown += pictures.table(head, rows, "Accuracy of the reward model by fault")
    return f'<div class="lp lp-stack">{shown}</div>'


def curve(folder: RunFolder, key: str) -> str:
    """Reward or divergence while training."""
    captions = {
        "reward": ("Reward of the drawn replies", "SFT has mean 0 and standard deviation 1"),
        "kl": ("Divergence from SFT", "KL of a reply, in nats"),
    }
    lines = histories(folder, key)
    caption, detail = captions[key]
    if not lines:
        return pictures.figure('<p class="lp-empty">No policy gradient in this run.</p>', caption)
    return pictures.line_chart(lines, caption, "step", detail)


def transcript(folder: RunFolder) -> str:
    """The same prompts with the replies of every method."""
    shown = ""
    for row in folder.figure_data("replies")[:SHOWN]:
        lines = [
            f"{NAMES[name]} [{reply['score']:.2f}]: {reply['text']}" for name, reply in row["replies"].items()
        ]
        shown += pictures.plain_text("\n".join(lines), row["prompt"], "in brackets the score")
    return f'<div class="lp lp-stack">{shown}</div>'
