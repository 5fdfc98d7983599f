"""Decides which split a sentence belongs to.

Every sentence with content (five words or more) hashes to one of ten buckets: eight belong to train, one to
validation, and one to test. Generators redraw a sentence until it belongs to their split, so no such sentence
can occur in two splits, whatever the view, size, or seed.
"""

from __future__ import annotations

import difflib
import hashlib
import re

from .grammar import is_simple, pieces, sentences, words

SPLITS = ("train", "validation", "test")
CONTENT_WORDS = 5
_PIECE_END = re.compile(r"[.!?\n]")
_SPLIT_OF_BUCKET = ("validation", "test") + ("train",) * 8


def split_of(sentence: str) -> str:
    """Returns the split that owns `sentence`.

    The split depends only on the words, with "a" and "an" as one word, and is the same on every machine.
    """
    return _owner(words(sentence))


def _owner(tokens: list[str]) -> str:
    plain = f" {' '.join(tokens)} "
    if " an " in plain:
        plain = plain.replace(" an ", " a ")
    # Not `hash`, which gives a string a different value in every process.
    digest = hashlib.blake2b(plain.encode(), digest_size=4).digest()
    return _SPLIT_OF_BUCKET[int.from_bytes(digest, "big") % len(_SPLIT_OF_BUCKET)]


def pieces_belong(text: str, split: str) -> bool:
    """Returns whether `split` may use every finest piece of `text` with content, before or after `polish`.

    This is a necessary condition of `belongs` and, for a single plain sentence, a sufficient one.
    """
    for piece in _PIECE_END.split(text):
        tokens = words(piece)
        if len(tokens) >= CONTENT_WORDS and _owner(tokens) != split:
            return False
    return True


def belongs(text: str, split: str) -> bool:
    """Returns whether `split` may use every sentence of `text` that has content.

    The finest pieces of a sentence that have content decide (speech and its tag are two pieces); if no piece
    is long enough, the whole sentence decides. Splits therefore stay apart under both ways of cutting a text
    into sentences.
    """
    if not pieces_belong(text, split):
        return False
    if is_simple(text):
        return True
    for sentence in sentences(text):
        if all(len(words(piece)) < CONTENT_WORDS for piece in pieces(sentence)):
            tokens = words(sentence)
            if len(tokens) >= CONTENT_WORDS and _owner(tokens) != split:
                return False
    return True


def check_name(value: str, allowed: tuple[str, ...], what: str) -> None:
    """Raises `ValueError`, naming the nearest match, unless `value` is one of `allowed`."""
    if value in allowed:
        return
    nearest = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.0)
    raise ValueError(f"unknown {what} {value!r}: did you mean {nearest[0]!r}? (one of {', '.join(allowed)})")
