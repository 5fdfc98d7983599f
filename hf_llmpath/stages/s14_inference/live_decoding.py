"""What the pages ask of a decoder of words: a prompt gone on from in several ways, the beam tree, a race
of its forms.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...data.tokenizers.word_level import unknown_words
from ...decoding.beam_search import beam_search
from ...decoding.generation import sample
from ...decoding.sampling import GREEDY, Sampling
from ...deploy.speed import Form
from ...deploy.variants import build_forms
from ...errors import UserError
from ...hub.model_folder import load_model, load_pair, loaded
from .beam_tree import beam_tree

LONGEST_PROMPT = 300  # characters


@dataclass(frozen=True)
class Continuation:
    """A text without its prompt, its log-probability per token, and how fast it came."""

    text: str
    log_probability: float
    tokens_per_second: float


class Decoder:
    """A causal language model with its tokenizer, in evaluation mode."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.model, self.tokenizer = load_pair("AutoModelForCausalLM", folder)

    def encode(self, prompt: str, room: int) -> Tensor:
        """Token ids `(1, length)`.

        Raises:
            UserError: the prompt leaves no room for `room` more tokens.
        """
        ids = self.tokenizer(prompt, return_tensors="pt", verbose=False)["input_ids"]
        limit = self.model.config.max_position_embeddings
        if ids.shape[1] + room > limit:
            raise UserError(
                f"the prompt has {ids.shape[1]} tokens and {room} are to be written; the model reads {limit}: take a shorter "
                "prompt, or write less"
            )
        return ids

    def note(self, prompt: str) -> str:
        """What to know about how this prompt is read."""
        strange = unknown_words(self.tokenizer, prompt)
        return f"The model never saw {', '.join(strange)}." if strange else ""

    def write(self, prompt: str, sampling: Sampling, tokens: int, seed: int = 0) -> Continuation:
        """One continuation, greedy or drawn."""
        ids = self.encode(prompt, tokens)
        begin = time.perf_counter()
        generator = torch.Generator().manual_seed(int(seed))
        found = sample(self.model, ids, sampling=sampling, max_new_tokens=tokens, generator=generator)
        return self._continuation(ids, found[0], time.perf_counter() - begin)

    def search(
        self, prompt: str, beams: int, tokens: int, length_penalty: float
    ) -> tuple[Continuation, list[list[dict[str, Any]]]]:
        """The best continuation that beam search finds, and its tree."""
        ids = self.encode(prompt, tokens)
        begin = time.perf_counter()
        found = beam_search(
            self.model,
            ids,
            num_beams=beams,
            max_new_tokens=tokens,
            length_penalty=length_penalty,
            with_steps=True,
        )
        seconds = time.perf_counter() - begin
        return self._continuation(ids, found.sequences[0], seconds), beam_tree(found, self.tokenizer)

    def _continuation(self, prompt: Tensor, ids: Tensor, seconds: float) -> Continuation:
        with torch.no_grad():
            logits = self.model(input_ids=ids[None]).logits[0, prompt.shape[1] - 1 : -1]
        written = ids[prompt.shape[1] :]
        mean = float(logits.log_softmax(-1).gather(1, written[:, None]).mean())
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        begin = self.tokenizer.decode(prompt[0], skip_special_tokens=True)
        return Continuation(text.removeprefix(begin), mean, len(written) / seconds)


def race(
    folder: Path, onnx_dir: Path, student: Path | None, prompt: str, tokens: int
) -> Iterator[dict[str, float]]:
    """Writes `tokens` tokens after `prompt` with every form of the model, one after the other; yields the
    tokens per second so far, by name of the form, a few times for each."""
    decoder = load_decoder(folder)
    ids = decoder.encode(prompt, tokens)
    forms = loaded(_forms, folder, str(onnx_dir), "" if student is None else str(student))
    speeds: dict[str, float] = {}
    for name, form in forms.items():
        for _ in form.write(ids, 4):  # to warm up
            pass
        begin = time.perf_counter()
        for count, _ in enumerate(form.write(ids, tokens), 1):
            if count % 8 == 0 or count == tokens:
                speeds[name] = count / (time.perf_counter() - begin)
                yield dict(speeds)


def _forms(onnx_dir: str, student: str, folder: Path) -> dict[str, Form]:
    small = load_model("AutoModelForCausalLM", student) if student else None
    return build_forms(folder, Path(onnx_dir), 4, small)[0]


def load_decoder(folder: Path) -> Decoder:
    """The model saved in `folder`; kept in memory until the files change.

    Raises:
        UserError: its weight file is missing, truncated or a pickle.
    """
    return loaded(Decoder, folder)


__all__ = ["GREEDY", "Continuation", "Decoder", "Sampling", "load_decoder", "race"]
