"""Measures one model in several forms: tokens per second, time to first token, size, and quality.

    forms, checks = build_forms(model_folder, onnx_folder, num_beams=4)
    rows = measure(forms, prompt, held_out)

A form is a way to run and decode the model; `variants.build_forms` makes them all.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..decoding.beam_search import beam_search
from ..decoding.generation import Stepper, stream

REFERENCE = "greedy"  # the form that the others are compared with


@dataclass(frozen=True)
class Form:
    """A model in one form.

    Attributes:
        write: function that takes a prompt `(1, length)` and a number of tokens, and yields the tokens as
            they are written.
        logits: function from token ids `(batch, length)` to logits `(batch, length, vocab_size)`; None if the
            form changes only the decoding.
        megabytes: size of the weights in memory or, for a file, on disk.
    """

    write: Callable[[Tensor, int], Iterator[Any]]
    logits: Callable[[Tensor], Tensor] | None
    megabytes: float


@dataclass(frozen=True)
class Row:
    """The measurements of a form.

    Attributes:
        tokens_per_second: speed at batch size 1, including the time to read the prompt.
        first_token_ms: milliseconds from the prompt to the first token.
        megabytes: size of the weights.
        perplexity: perplexity of held-out text; the reference's if the form has no logits of its own.
        agreement: share of the held-out positions where form and reference find the same token likeliest.
    """

    tokens_per_second: float
    first_token_ms: float
    megabytes: float
    perplexity: float
    agreement: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def eager(model: Any, use_cache: bool = True) -> Form:
    """Makes the form that calls the model's modules and decodes greedily."""

    def write(prompt: Tensor, tokens: int) -> Iterator[Tensor]:
        eos = model.config.vocab_size  # no token has this id, so the text does not end early
        return stream(
            model, prompt, max_new_tokens=tokens, eos_token_id=eos, use_cache=use_cache, reader=Stepper
        )

    return Form(write, _logits_of(model) if use_cache else None, model.get_memory_footprint() / 1e6)


def bare(model: Any) -> Form:
    """Makes the form that computes the model's step without its modules (`bare_steps.py`), greedily."""

    def write(prompt: Tensor, tokens: int) -> Iterator[Tensor]:
        return stream(model, prompt, max_new_tokens=tokens, eos_token_id=model.config.vocab_size)

    return Form(write, None, model.get_memory_footprint() / 1e6)


def with_beams(model: Any, beams: int) -> Form:
    """Makes the form that decodes by beam search, which knows its first token only at the end."""

    def write(prompt: Tensor, tokens: int) -> Iterator[int]:
        eos = model.config.vocab_size
        result = beam_search(
            model, prompt, num_beams=beams, max_new_tokens=tokens, eos_token_id=eos, early_stopping=True
        )
        yield from result.sequences[0, prompt.shape[1] :].tolist()

    return Form(write, None, model.get_memory_footprint() / 1e6)


def onnx(decoder: Any, megabytes: float, vocab_size: int) -> Form:
    """Makes the form of an `OnnxDecoder`."""

    def write(prompt: Tensor, tokens: int) -> Iterator[Tensor]:
        return decoder.stream(prompt, max_new_tokens=tokens, eos_token_id=vocab_size)

    return Form(write, decoder.logits, megabytes)


def measure(
    forms: Mapping[str, Form], prompt: Tensor, held_out: Tensor, tokens: int = 48, repeats: int = 5
) -> dict[str, Row]:
    """Measures every form while it writes the same number of tokens after the same prompt.

    The forms take turns, which spreads a slow moment of the machine over all of them. The medians count.

    Args:
        forms: forms by name, including `REFERENCE`.
        prompt: token ids `(1, length)`.
        held_out: token ids `(rows, length)` of the text for perplexity and agreement.
        tokens: number of tokens written each time.
        repeats: number of turns that count; one more comes first, to warm up.

    Returns:
        Name of the form -> its measurements.
    """
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    first: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            # Threads of the previous form may wait by spinning; they come to rest while this runs, untimed.
            for _ in form.write(prompt, 2):
                pass
            begin = time.perf_counter()
            written = form.write(prompt, tokens)
            next(written)
            to_first = time.perf_counter() - begin
            count = 1 + sum(1 for _ in written)
            if count != tokens:
                raise AssertionError(f"{name} wrote {count} tokens of {tokens}")
            if turn:  # turn 0 warms up
                seconds[name].append(time.perf_counter() - begin)
                first[name].append(to_first)
    quality = _quality(forms, held_out)
    return {
        name: Row(
            tokens / statistics.median(seconds[name]),
            1000 * statistics.median(first[name]),
            form.megabytes,
            *quality.get(name, quality[REFERENCE]),
        )
        for name, form in forms.items()
    }


@torch.no_grad()
def _quality(forms: Mapping[str, Form], held_out: Tensor) -> dict[str, tuple[float, float]]:
    """Computes perplexity and agreement with the reference for the forms that have logits of their own."""
    # Position t predicts token t + 1: the targets lose the first column, (rows, length - 1).
    targets, reference = held_out[:, 1:], forms[REFERENCE].logits
    assert reference is not None
    guesses = reference(held_out)[:, :-1].argmax(-1)  # (rows, length - 1)
    quality = {}
    for name, form in forms.items():
        if form.logits is None:
            continue
        logits = form.logits(held_out)[:, :-1].float()  # (rows, length - 1, vocabulary)
        # (rows * (length - 1), vocabulary) and (rows * (length - 1),)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        # perplexity = exp(mean of -log p(next token))
        quality[name] = float(loss.exp()), float((logits.argmax(-1) == guesses).float().mean())
    return quality


def _logits_of(model: Any) -> Callable[[Tensor], Tensor]:
    def logits(ids: Tensor) -> Tensor:
        with torch.no_grad():
            return model(input_ids=ids, use_cache=False).logits

    return logits
