"""What the pictures of stage 17 show: one sentence for the masks, and examples for what each architecture
is best at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...training.recipes.masked_language_model import fill_masks

GAP = "___"
SENTENCE = "The tea was lovely, but the room was not."


@dataclass(frozen=True)
class Examples:
    """Texts with a blank for the encoder, beginnings for the decoder, and texts with gaps for the
    encoder-decoder.
    """

    blanks: tuple[str, ...]
    beginnings: tuple[str, ...]
    gaps: tuple[str, ...]

    @classmethod
    def of(cls, dataset: str, texts: Sequence[str]) -> "Examples":
        """Of our own for the world, else made of the texts."""
        if dataset == "world/reviews":
            return cls(
                (
                    "The cake was lovely, but the tea was [MASK].",
                    "We walked to the [MASK] on a sunny morning.",
                ),
                ("On a sunny morning", "Although the soup was"),
                (f"If only the {GAP} been good!", f"We had tea {GAP} near the mill. I found the cake {GAP}."),
            )
        words = [text.split() for text in texts if len(text.split()) >= 8][:2] or [texts[0].split() * 8]
        return cls(
            tuple(" ".join([*row[:4], "[MASK]", *row[5:]]) for row in words),
            tuple(" ".join(row[:3]) for row in words),
            tuple(" ".join([*row[:2], GAP, *row[4:6], GAP, *row[7:]]) for row in words),
        )


def sentence_of(dataset: str, texts: Sequence[str]) -> str:
    """A short text to show masks on."""
    if dataset == "world/reviews":
        return SENTENCE
    return " ".join(next((text for text in texts if len(text.split()) >= 6), texts[0]).split()[:10])


def half_of(text: str) -> str:
    """The first words of a text: what a decoder may have written so far."""
    words = text.split()
    return " ".join(words[: max(1, len(words) // 2)])


def filled(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, top_k: int = 5
) -> dict[str, Any]:
    """A text with one blank and the likeliest tokens for it."""
    return {"text": text, "tokens": fill_masks(model, tokenizer, text, top_k)[0]}
