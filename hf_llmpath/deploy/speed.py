"""Measures one model in several forms: tokens per second, time to first token, size, and quality.

forms = forms_of(model, folder, ...)
rows = measure(forms, prompt, held_out)
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
        write: prompt `(1, length)` and a number of tokens -> tokens as they come.
        logits: `(batch, length)` -> `(batch, length, vocab_size)`; None if the form changes only the
            decoding.
        megabytes: size of the weights in memory or, for a file, on disk.
    """

    write: Callable[[Tensor, int], Iterator[Any]]
    logits: Callable[[Tensor], Tensor] | None
    megabytes: float


@dataclass(frozen=True)
class Row:
    """The measurements of a form.

    Attributes:
        tokens_per_second: speed at batch size 1, including the reading of the prompt.
        first_token_ms: milliseconds from the prompt to the first token.
        megabytes: size of the weights.
        perplexity: perplexity of held-out text; that of the reference if the form has no logits of its own.
        agreement: share of the held-out tokens whose guess is the reference's.
    """

    tokens_per_second: float
    first_token_ms: float
    megabytes: float
    perplexity: float
    agreement: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def eager(model: Any, use_cache: bool = True) -> Form:
    """The model as its modules run it, decoded greedily."""

    def write(prompt: Tensor, tokens: int) -> Iterator[Tensor]:
        eos = model.config.vocab_size
        return stream(
            model, prompt, max_new_tokens=tokens, eos_token_id=eos, use_cache=use_cache, reader=Stepper
        )

    return Form(write, _logits_of(model) if use_cache else None, model.get_memory_footprint() / 1e6)


def bare(model: Any) -> Form:
    """The model's step without its modules (`bare_steps.py`), decoded greedily."""

    def write(prompt: Tensor, tokens: int) -> Iterator[Tensor]:
        return stream(model, prompt, max_new_tokens=tokens, eos_token_id=model.config.vocab_size)

    return Form(write, None, model.get_memory_footprint() / 1e6)


def with_beams(model: Any, beams: int) -> Form:
    """The model decoded by beam search, which knows its first token only at the end."""

    def write(prompt: Tensor, tokens: int) -> Iterator[int]:
        eos = model.config.vocab_size
        result = beam_search(
            model, prompt, num_beams=beams, max_new_tokens=tokens, eos_token_id=eos, early_stopping=True
        )
        yield from result.sequences[0, prompt.shape[1] :].tolist()

    return Form(write, None, model.get_memory_footprint() / 1e6)


def onnx(decoder: Any, megabytes: float, vocab_size: int) -> Form:
    """An `OnnxDecoder`."""

    def write(prompt: Tensor, tokens: int) -> Iterator[Tensor]:
        return decoder.stream(prompt, max_new_tokens=tokens, eos_token_id=vocab_size)

    return Form(write, decoder.logits, megabytes)


def measure(
    forms: Mapping[str, Form], prompt: Tensor, held_out: Tensor, tokens: int = 48, repeats: int = 5
) -> dict[str, Row]:
    """Measures every form while it writes the same number of tokens after the same prompt.

    The forms take turns, and the median of each counts.

    Args:
        forms: forms by name, including `REFERENCE`.
        prompt: `(1, length)`.
        held_out: `(rows, length)`, text for perplexity and agreement.
        tokens: number of tokens written each time.
        repeats: number of turns; one more comes first, to warm up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    first: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(repeats + 1):
        for name, form in forms.items():
            for _ in form.write(
                prompt, 2
            ):  # the threads of the form before, which wait by spinning, come to rest meanwhile
                pass
            begin = time.perf_counter()
            written = form.write(prompt, tokens)
            next(written)
            to_first = time.perf_counter() - begin
            count = 1 + sum(1 for _ in written)
            if count != tokens:
                raise AssertionError(f"{name} wrote {count} tokens of {tokens}")
            if turn:
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
    """Perplexity and agreement with the reference, of the forms that have logits of their own."""
    targets, reference = held_out[:, 1:], forms[REFERENCE].logits
    assert reference is not None
    guesses = reference(held_out)[:, :-1].argmax(-1)  # (rows, length - 1)
    quality = {}
    for name, form in forms.items():
        if form.logits is None:
            continue
        logits = form.logits(held_out)[:, :-1].float()
        # (rows * (length - 1), vocab_size) and (rows * (length - 1),)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        quality[name] = float(loss.exp()), float((logits.argmax(-1) == guesses).float().mean())
    return quality


def _logits_of(model: Any) -> Callable[[Tensor], Tensor]:
    def logits(ids: Tensor) -> Tensor:
        with torch.no_grad():
            return model(input_ids=ids, use_cache=False).logits

    return logits
