"""Shows that an encoder's vector for a word depends on its context: one word, several senses."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ...errors import UserError
from ...runs import Job
from ...training.recipe import Recipe
from ...training.recipes.masked_language_model import MaskedTexts, pretrain, small_encoder

CONTEXT = 48  # tokens that the encoder reads
LINES = 20_000  # maximum number of lines that it is pretrained on
BATCH_SIZE = 64  # texts that are encoded at once

# "light" has three senses in the world's stories, and the words around it tell them apart.
AMBIGUOUS = "light"
_SENSES = {
    "no darkness": re.compile(r"\b(?:its|no) (light)\b"),
    "not heavy": re.compile(r"\bwas (light) and strong\b"),
    "set on fire": re.compile(r"\b(?:could|[A-Z]\w+) (light) the\b"),
}


@dataclass(frozen=True)
class Occurrence:
    """Marks a word in a sentence: `text[start:end]`, used in the sense `sense`."""

    text: str
    start: int
    end: int
    sense: str


def occurrences(texts: Iterable[str], most: int = 60) -> list[Occurrence]:
    """Collects different sentences with the word `AMBIGUOUS`, at most `most` for each sense."""
    # Keys are sentences: a repeated sentence would put the same vector into a sense several times.
    by_sense: dict[str, dict[str, Occurrence]] = {sense: {} for sense in _SENSES}
    for text in texts:
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            for sense, pattern in _SENSES.items():
                match = pattern.search(sentence)
                if match and len(by_sense[sense]) < most:
                    # Group 1 of a pattern is the word itself.
                    by_sense[sense].setdefault(sentence, Occurrence(sentence, *match.span(1), sense))
    return [occurrence for sentences in by_sense.values() for occurrence in sentences.values()]


def pretrain_encoder(
    job: Job, train: Sequence[str], validation: Sequence[str], steps: int, batch_size: int, seed: int
) -> dict[str, float]:
    """Pretrains a small encoder on the lines of the texts by masked language modeling (see `pretrain`)."""
    masked = MaskedTexts.from_texts(
        lines(train), lines(validation)[:500], vocab_size=1000, context=CONTEXT, mask_rate=0.2
    )
    config = small_encoder(masked.tokenizer, CONTEXT, hidden_size=64, intermediate_size=128)
    recipe = Recipe(steps, batch_size, learning_rate=8e-3, weight_decay=0.01, adam_beta2=0.98)
    return pretrain(masked, config, recipe, job, seed)


def lines(texts: Sequence[str]) -> list[str]:
    """Returns the first `LINES` nonempty lines of the texts."""
    stripped = (line.strip() for text in texts for line in text.splitlines())
    return [line for line, _ in zip(filter(None, stripped), range(LINES), strict=False)]


@torch.no_grad()
def contextual_vectors(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    spans: Sequence[tuple[int, int]],
) -> np.ndarray:
    """Computes a vector for one word of each text: the mean last hidden state of the word's tokens.

    Args:
        model: an encoder without a head.
        tokenizer: the tokenizer of the model.
        texts: the texts to read.
        spans: the start of the word in each text and its end, in characters; the end is exclusive.

    Returns:
        The vectors, `(texts, hidden_size)`.

    Raises:
        UserError: If the model does not read far enough into a text to see the word.
    """
    limit = model.config.max_position_embeddings
    model.eval()
    vectors = []
    for begin in range(0, len(texts), BATCH_SIZE):
        inputs = tokenizer(
            list(texts[begin : begin + BATCH_SIZE]),
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=limit,
            return_offsets_mapping=True,
        )
        offsets = inputs.pop("offset_mapping")  # (batch, length, 2): characters of each token
        inputs.pop("token_type_ids", None)  # the encoder has no token types
        states = model(**inputs).last_hidden_state  # (batch, length, hidden_size)
        start, end = torch.tensor(spans[begin : begin + BATCH_SIZE]).T[..., None]  # two of (batch, 1)
        # (batch, length). The last condition excludes special tokens and padding, which span no characters.
        inside = (offsets[..., 0] < end) & (offsets[..., 1] > start) & (offsets[..., 1] > offsets[..., 0])
        if not inside.any(1).all():
            raise UserError(f"the word stands beyond the first {limit} tokens, which is all the model reads")
        weight = inside.to(states.dtype).unsqueeze(-1)  # (batch, length, 1)
        # (batch, hidden_size): Σ_t w_t h_t / Σ_t w_t, the mean over the tokens of the word.
        vectors.append(((states * weight).sum(1) / weight.sum(1)).numpy())
    return np.concatenate(vectors)  # (texts, hidden_size)


def sense_accuracy(vectors: np.ndarray, senses: Sequence[str]) -> float:
    """Returns the share of a word's occurrences that lie nearest to the center of their own sense.

    Each occurrence is left out of the center of its own sense.

    Args:
        vectors: the vectors of the occurrences, `(occurrences, size)`.
        senses: the sense of each occurrence; each sense occurs at least twice.
    """
    names, labels = np.unique(np.asarray(senses), return_inverse=True)
    one_hot = np.eye(len(names))[labels]  # (occurrences, senses)
    sums, sizes = one_hot.T @ vectors, one_hot.sum(0)  # (senses, size), (senses,)
    distances = []
    for sense in range(len(names)):
        same = labels == sense  # (occurrences,)
        # (occurrences, size): each occurrence has a center of its own, from which it is left out.
        # Without this, an occurrence would pull its own center toward itself.
        center = (sums[sense] - same[:, None] * vectors) / (sizes[sense] - same)[:, None]
        distances.append(np.linalg.norm(vectors - center, axis=1))  # (occurrences,)
    # (senses, occurrences) -> (occurrences,)
    return float((np.argmin(distances, axis=0) == labels).mean())
