"""`llmpath chat`: lets the fine-tuned and the aligned chatbot reply to the same message.

The user's choice between the two replies is saved as a preference, on which a model can be trained.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UserError
from ..hub.model_folder import check_model_folder
from ..runs import RunFolder
from ..settings import LARGEST_SEED
from . import terminal
from .options import OutputDir, complete_run
from .terminal import RUNS


def chat(
    prompt: Annotated[
        list[str] | None, typer.Argument(help="Messages to reply to; by default what you type.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0, help="How daring the replies are; 0 takes the likeliest word.")
    ] = 0.7,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same reply.")
    ] = 0,
    save_to: Annotated[
        Path | None, typer.Option(help="Save the preferences here; by default in thumbs.jsonl of the run.")
    ] = None,
    output_dir: OutputDir = RUNS,
) -> None:
    """Talk to the chatbot before and after its alignment, and say which reply is better."""
    _, folder = complete_run("rlhf", output_dir)
    with suppress(KeyboardInterrupt):  # Ctrl-C is the usual way to end a chat
        talk(folder, prompt or [], temperature, seed, save_to)


def talk(
    folder: RunFolder, prompts: list[str], temperature: float, seed: int, save_to: Path | None = None
) -> None:
    """Replies to `prompts` or, if there are none, to each line that the user types, until an empty line.

    Args:
        folder: a run of stage 16.
        prompts: messages to reply to; the user is then not asked which reply is better.
        temperature: sampling temperature of both replies.
        seed: seed of both replies; it grows by one with each typed message.
        save_to: file for the preferences; `thumbs.jsonl` in the run folder by default.

    Raises:
        UserError: a model cannot be read, or a prompt cannot be answered.
    """
    folders = {"SFT": folder.model("sft"), "aligned": folder.model_dir}
    for path in folders.values():
        check_model_folder(path)

    # Imported after the checks, because transformers takes seconds to load.
    from transformers.utils import logging

    from ..decoding.chatbot import THUMBS, Chatbot, save_preference

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    bots = {name: Chatbot(path) for name, path in folders.items()}
    for prompt in prompts:
        _reply(bots, prompt, temperature, seed)
    if prompts:
        return
    thumbs = save_to or folder.path / THUMBS
    asks = sys.stdin.isatty()  # questions make no sense if the messages come from a pipe
    while prompt := _ask("you: " if asks else ""):
        try:
            replies = _reply(bots, prompt, temperature, seed)
            seed += 1
            choice = _ask("better (1, 2, or Enter for neither): " if asks else "")
            if choice in ("1", "2"):
                chosen, rejected = replies if choice == "1" else replies[::-1]
                count = save_preference(thumbs, prompt, chosen, rejected)
                terminal.note(
                    f"saved ({count}); train on them with: "
                    f"llmpath run rlhf --dataset {thumbs} --set chats=world"
                )
        except UserError as error:  # one bad message does not end the chat
            terminal.print_error(error)


def _reply(bots: dict[str, Any], prompt: str, temperature: float, seed: int) -> list[str]:
    """Prints each reply as it is written, and the words that the models never saw; returns the replies."""
    if not prompt.strip():
        raise UserError("say something first; the prompt is empty")
    if unknown := next(iter(bots.values())).unknown(prompt):
        terminal.note(f"never seen: {', '.join(unknown)}")
    replies = []
    for number, (name, bot) in enumerate(bots.items(), start=1):
        print(f"{number} {name}: ", end="", flush=True)
        reply = ""
        for text in bot.stream(prompt, temperature, seed):
            print(text[len(reply) :], end="", flush=True)  # the stream yields the whole text so far
            reply = text
        print()
        replies.append(reply)
    return replies


def _ask(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:  # Ctrl-D, or the end of a pipe: the same as an empty line
        return ""
