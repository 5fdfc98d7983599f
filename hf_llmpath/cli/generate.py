"""`llmpath generate`: writes text with a trained model and prints it token by token."""

import json
from typing import Annotated, Any

import typer

from ..errors import UserError, nearest
from ..hub.model_folder import check_model_folder, load_pair
from ..runs import RunFolder
from ..stages.stage import Stage
from . import terminal
from .options import FurtherModel, OutputDir, Seed, StageName, complete_run
from .terminal import RUNS

_SHOWN = 160  # characters of the vocabulary that an error message lists


def generate(
    stage: StageName,
    prompt: Annotated[str, typer.Argument(help="How the text begins; may be empty.")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Write at most this many tokens.")] = 400,
    temperature: Annotated[
        float, typer.Option(min=0.01, help="How daring the text is: below 1 safer, above 1 wilder.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample from the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Sample from the likeliest tokens that have this probability."),
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always take the likeliest token.")] = False,
    seed: Seed = None,
    model: FurtherModel = None,
    output_dir: OutputDir = RUNS,
) -> None:
    """Write text with a trained model, shown as it comes."""
    writer, folder = complete_run(stage, output_dir)
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": not greedy}
    if not greedy:
        # 0 and 1.0 switch the filters off; None would leave transformers' default of 50 for top_k.
        options |= {"temperature": temperature, "top_k": top_k or 0, "top_p": top_p or 1.0}
    stream(writer, folder, prompt, model, seed, options)


def stream(
    stage: Stage,
    folder: RunFolder,
    prompt: str,
    name: str | None = None,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
) -> None:
    """Prints the text of a model while the model writes it.

    A decoder continues the prompt. An encoder-decoder, which reads the whole prompt first, writes about it.
    A chatbot replies to it.

    Args:
        stage, folder: the stage and its run folder.
        prompt: beginning of the text; after an empty prompt, the text begins like a new document.
        name: one of the further models of the run; the main model by default.
        seed: seed of the samples; a different one each time by default.
        options: arguments of `generate()`.

    Raises:
        UserError: the model does not exist, cannot be read, does not write text, or does not know a
            character or word of the prompt.
    """
    path = folder.model_folder(name)
    check_model_folder(path)
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    architecture = (config.get("architectures") or ["unknown"])[0]
    if not architecture.endswith(("ForCausalLM", "ForConditionalGeneration")):
        raise UserError(
            f"{path} holds a {architecture}, which does not write text; a model ...ForCausalLM does"
        )

    # Imported after the checks, because transformers takes seconds to load.
    from transformers import TextStreamer, set_seed
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if architecture.endswith("ForCausalLM"):
        model, tokenizer = load_pair("AutoModelForCausalLM", path)
        inputs, shows_prompt = _prompt_of_decoder(stage, tokenizer, prompt)
    else:
        model, tokenizer = load_pair("AutoModelForSeq2SeqLM", path)
        inputs, shows_prompt = _text_to_write_about(tokenizer, prompt), True
        options = {"num_beams": 1} | (options or {})  # beam search cannot be streamed
    if seed is not None:
        set_seed(seed)
    streamer = TextStreamer(tokenizer, skip_prompt=not shows_prompt, skip_special_tokens=True)
    model.generate(**inputs, streamer=streamer, **(options or {}))


def _prompt_of_decoder(stage: Stage, tokenizer: Any, prompt: str) -> tuple[dict[str, Any], bool]:
    """Returns the inputs of a decoder, and whether to print the prompt in front of the written text."""
    import torch

    ids = tokenizer.encode(prompt, add_special_tokens=False)
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        raise UserError(_unknown(stage, tokenizer, prompt))
    is_chatbot = bool(tokenizer.chat_template)
    if is_chatbot:
        from ..data.tokenizers.chat_template import prompt_ids

        if not prompt.strip():
            raise UserError("this model replies to a message; give one, or talk to it with: llmpath chat")
        ids = prompt_ids(tokenizer, [{"role": "user", "content": prompt.strip()}])
    elif tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id, *ids]
    inputs = torch.tensor([ids])  # (batch, time), with a batch of 1
    return {"inputs": inputs, "attention_mask": torch.ones_like(inputs)}, not is_chatbot


def _text_to_write_about(tokenizer: Any, prompt: str) -> dict[str, Any]:
    """Returns the inputs of an encoder-decoder; notes on stderr what the model cannot read of the text."""
    from ..data.tokenizers.word_level import unknown_words

    if not prompt.strip():
        raise UserError("this model writes about a text; give one")
    whole = len(tokenizer(prompt)["input_ids"])
    inputs = tokenizer(prompt, truncation=True, return_tensors="pt")
    if whole > (length := inputs["input_ids"].shape[1]):
        terminal.note(f"the text has {whole} tokens; the model reads the first {length}")
    if unknown := unknown_words(tokenizer, prompt):
        terminal.note(f"never seen: {', '.join(unknown)}")
    # Without token_type_ids, which the model does not take.
    return {name: inputs[name] for name in ("input_ids", "attention_mask")}


def _unknown(stage: Stage, tokenizer: Any, prompt: str) -> str:
    """Says which words or characters of the prompt the model never saw, and which ones it knows."""
    from ..data.tokenizers.characters import unknown_characters
    from ..data.tokenizers.word_level import unknown_words

    tokens = tokenizer.get_vocab()
    letters = sorted(token for token in tokens if len(token) == 1)
    if 2 * len(letters) < len(tokens):  # most tokens are longer than a character: a vocabulary of words
        unknown = unknown_words(tokenizer, prompt)
        hint = next(filter(None, (nearest(word, tokens) for word in unknown)), "")
        return f"the model never saw {_quoted(unknown)}; it knows {len(tokens):,} words and marks{hint}"
    shown = _ranges([letter for letter in letters if letter.isprintable() and letter != " "][:_SHOWN])
    spells = any(name == "byte_fallback" for name, *_ in stage.settings.describe())
    fix = "; a model trained with --set byte_fallback=true reads any" if spells else ""
    unknown = _quoted(unknown_characters(tokenizer, prompt))
    return f"the model never saw {unknown}; it knows space and {shown}{fix}"


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" if name.isprintable() else repr(name) for name in names)


def _ranges(letters: list[str]) -> str:
    """Abbreviates a sorted list of characters: `a b c d x` becomes `a-d x`."""
    runs: list[list[str]] = []
    for letter in letters:
        if runs and ord(letter) == ord(runs[-1][-1]) + 1 and letter.isalnum() and runs[-1][-1].isalnum():
            runs[-1].append(letter)
        else:
            runs.append([letter])
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else " ".join(run) for run in runs)
