"""What the pages ask of word vectors, and the map of words as markup."""

from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...hub.model_folder import load_pair, loaded
from ...ui.pictures import figure
from .word_map import spread_labels
from .word_probes import WordVectors, contextual_vectors


def _word_vectors(folder: Path) -> WordVectors:
    return WordVectors.of(*load_pair("AutoModel", folder))


def load_word_vectors(folder: Path) -> WordVectors:
    """The word vectors saved in `folder`; kept in memory until the files change."""
    return loaded(_word_vectors, folder)


class ContextualEncoder:
    """An encoder whose states are vectors of words in their context."""

    def __init__(self, folder: Path):
        self.model, self.tokenizer = load_pair("AutoModelForMaskedLM", folder)

    def similarity(self, word: str, one: str, other: str) -> float:
        """Cosine of the vectors that a word has in two texts.

        Raises:
            UserError: a text without the word.
        """
        places = []
        for text in (one, other):
            start = text.lower().find(word.strip().lower())
            if not word.strip() or start < 0:
                raise UserError(
                    f"'{word}' does not stand in '{text[:40]}'; write it there, or choose another word"
                )
            places.append((start, start + len(word.strip())))
        first, second = contextual_vectors(self.model.model, self.tokenizer, [one, other], places)
        return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def load_contextual(folder: Path) -> ContextualEncoder:
    """The encoder saved in `folder`; kept in memory until the files change."""
    return loaded(ContextualEncoder, folder)


def word_map(
    words: Sequence[str],
    points: Sequence[Sequence[float]],
    kinds: Sequence[str],
    marked: Collection[str],
    caption: str,
    detail: str = "",
) -> str:
    """Words in the plane, colored by kind; the marked ones stand out and the others step back."""
    places = spread_labels(np.asarray(points), words, letter=0.0125, line=0.032)
    colors = {kind: place % 6 + 1 for place, kind in enumerate(name for name in dict.fromkeys(kinds) if name)}
    spans = ""
    for word, kind, (x, y) in zip(words, kinds, places, strict=True):
        style = f"left:{100 * x:.2f}%;top:{100 - 100 * y:.2f}%"
        if kind in colors:
            style += f";--c:var(--lp-series-{colors[kind]})"
        state = " on" if word in marked else ""
        spans += f'<span class="lp-word{state}" style="{style}" title="{escape(kind)}">{escape(word)}</span>'
    key = "".join(
        f'<span style="--c:var(--lp-series-{n})">{escape(kind)}</span>' for kind, n in colors.items()
    )
    fade = " marked" if any(word in marked for word in words) else ""
    shown = ", ".join(word for word in words if word in marked)
    alternative = f"A map of {len(words)} words." + (f" Marked: {shown}." if shown else "")
    body = (
        f'<div class="lp-key" aria-hidden="true">{key}</div>' if key else ""
    ) + f'<div class="lp-words{fade}" role="img" aria-label="{escape(alternative)}">{spans}</div>'
    return figure(body, caption, detail)
