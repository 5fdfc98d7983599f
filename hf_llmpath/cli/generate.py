"""Text from a trained model, written to the terminal as it comes."""

import json
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from ..hub.model_folder import check_model_folder, load_pair
from ..runs import RunFolder
from ..stages.stage import Stage

_SHOWN = 160  # characters of a vocabulary in an error


def stream(
    stage: Stage,
    folder: RunFolder,
    prompt: str,
    name: str | None = None,
    seed: int | None = None,
    options: Any = None,
) -> None:
    """Prints `prompt` and what the model writes after it; of an encoder-decoder, which reads the whole
    prompt first, what it writes about it; of a chatbot its reply.

    Args:
        stage, folder: whose model.
        prompt: how the text begins; if empty, with whatever begins a document.
        name: one of the folder's further models; the main one if none.
        seed: of the samples; a new one each time if none.
        options: what `generate()` takes.

    Raises:
        UserError: no such model, one that cannot be read or does not write text, or characters that it
            cannot read.
    """
    place = folder.model_folder(name)
    check_model_folder(place)
    if _architecture(place).endswith("ForConditionalGeneration"):
        return _stream_answer(place, prompt, seed, options or {})
    _check_writes(place)

    from transformers import TextStreamer, set_seed
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, tokenizer = load_pair("AutoModelForCausalLM", place)
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        raise UserError(_unknown(stage, tokenizer, prompt))
    answers = bool(tokenizer.chat_template)
    if answers:
        if not prompt.strip():
            raise UserError(
                "this model answers what it is told; give it a text, or talk to it with: llmpath chat"
            )
        from ..data.tokenizers.chat_template import prompt_ids

        ids = prompt_ids(tokenizer, [{"role": "user", "content": prompt.strip()}])
    elif tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id, *ids]
    if seed is not None:
        set_seed(seed)

    import torch

    inputs = torch.tensor([ids])  # (1, length)
    streamer = TextStreamer(tokenizer, skip_prompt=answers, skip_special_tokens=True)
    model.generate(inputs, attention_mask=torch.ones_like(inputs), streamer=streamer, **(options or {}))


def _stream_answer(place: Path, prompt: str, seed: int | None, options: dict[str, Any]) -> None:
    if not prompt.strip():
        raise UserError("this model writes about a text; give one")

    from transformers import TextStreamer, set_seed
    from transformers.utils import logging

    from ..data.tokenizers.word_level import unknown_words
    from . import terminal

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, tokenizer = load_pair("AutoModelForSeq2SeqLM", place)
    whole = len(tokenizer(prompt)["input_ids"])
    inputs = tokenizer(prompt, truncation=True, return_tensors="pt")
    if whole > (read := inputs["input_ids"].shape[1]):
        terminal.err.print(f"the text has {whole} tokens; the model reads the first {read}", style="dim")
    if strange := unknown_words(tokenizer, prompt):
        terminal.err.print(f"never seen: {', '.join(strange)}", style="dim", soft_wrap=True, markup=False)
    if seed is not None:
        set_seed(seed)
    model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        streamer=TextStreamer(tokenizer, skip_special_tokens=True),
        **{"num_beams": 1} | options,
    )


def _architecture(place: Path) -> str:
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    return (config.get("architectures") or ["unknown"])[0]


def _check_writes(place: Path) -> None:
    architecture = _architecture(place)
    if not architecture.endswith("ForCausalLM"):
        raise UserError(
            f"{place} holds a {architecture}, which does not write text; it takes a model ...ForCausalLM"
        )


def _unknown(stage: Stage, tokenizer: Any, prompt: str) -> str:
    from ..data.tokenizers.characters import unknown_characters
    from ..data.tokenizers.word_level import unknown_words

    tokens = tokenizer.get_vocab()
    letters = sorted(token for token in tokens if len(token) == 1)
    if 2 * len(letters) < len(tokens):  # whole words
        unknown = unknown_words(tokenizer, prompt)
        hint = next(filter(None, (nearest(word, tokens) for word in unknown)), "")
        return f"the model never saw {_quoted(unknown)}; it knows {len(tokens):,} words and marks{hint}"
    shown = _ranges([letter for letter in letters if letter.isprintable() and letter != " "][:_SHOWN])
    spell = any(name == "byte_fallback" for name, *_ in stage.settings.describe())
    mend = "; a model trained with --set byte_fallback=true reads any" if spell else ""
    return f"the model never saw {_quoted(unknown_characters(tokenizer, prompt))}; it knows space and {shown}{mend}"


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" if name.isprintable() else repr(name) for name in names)


def _ranges(letters: list[str]) -> str:
    """`a b c d x` as `a-d x`."""
    runs: list[list[str]] = []
    for letter in letters:
        if runs and ord(letter) == ord(runs[-1][-1]) + 1 and letter.isalnum() and runs[-1][-1].isalnum():
            runs[-1].append(letter)
        else:
            runs.append([letter])
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else " ".join(run) for run in runs)
