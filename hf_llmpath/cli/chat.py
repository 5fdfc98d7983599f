"""`llmpath chat`: the fine-tuned and the aligned chatbot answer one after the other, and the better reply
is written down.
"""

import sys
from pathlib import Path

from ..errors import UserError
from ..hub.model_folder import check_model_folder
from ..runs import RunFolder
from . import terminal

THUMBS = "thumbs.jsonl"


def chat(
    folder: RunFolder, prompts: list[str], temperature: float, seed: int, save_to: Path | None = None
) -> None:
    """Answers `prompts`, or, if there are none, what is typed line by line until an empty line.

    Args:
        folder: a run of stage 16.
        prompts: what to answer; nobody is asked which reply is better.
        temperature, seed: of both replies.
        save_to: file for the preferences; `thumbs.jsonl` in the run folder if none.

    Raises:
        UserError: a model that cannot be read, or a prompt that cannot be answered.
    """
    places = {"SFT": folder.model("sft"), "aligned": folder.model_dir}
    for place in places.values():
        check_model_folder(place)

    from transformers.utils import logging

    from ..decoding.chatbot import Chatbot

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    bots = {name: Chatbot(place) for name, place in places.items()}
    for prompt in prompts:
        _answer(bots, prompt, temperature, seed)
    if prompts:
        return
    thumbs = save_to or folder.path / THUMBS
    asking = sys.stdin.isatty()
    while prompt := _read("you: " if asking else ""):
        try:
            first, second = _answer(bots, prompt, temperature, seed)
        except UserError as error:
            terminal.print_error(error)
            continue
        choice = _read("better (1, 2, or Enter for neither): " if asking else "")
        if choice in ("1", "2"):
            _save(thumbs, prompt, *((first, second) if choice == "1" else (second, first)))
        seed += 1


def _answer(bots: dict, prompt: str, temperature: float, seed: int) -> list[str]:
    """Streams a reply of each; returns them. Says which words the models never saw."""
    if not prompt.strip():
        raise UserError("say something first; the prompt is empty")
    if strange := next(iter(bots.values())).unknown(prompt):
        terminal.err.print(f"never seen: {', '.join(strange)}", style="dim", soft_wrap=True, markup=False)
    replies = []
    for number, (name, bot) in enumerate(bots.items(), start=1):
        print(f"{number} {name}: ", end="", flush=True)
        reply = ""
        for text in bot.stream(prompt, temperature, seed):
            print(text[len(reply) :], end="", flush=True)
            reply = text
        print()
        replies.append(reply)
    return replies


def _save(path: Path, prompt: str, chosen: str, rejected: str) -> None:
    from ..decoding.chatbot import save_preference

    try:
        count = save_preference(path, prompt, chosen, rejected)
    except UserError as error:
        terminal.print_error(error)
        return
    terminal.err.print(
        f"saved ({count}); train on them with: llmpath run rlhf --dataset {path} --set chats=world",
        style="dim",
        soft_wrap=True,
        markup=False,
    )


def _read(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""
