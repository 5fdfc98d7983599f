"""Which split a sentence belongs to.

Every sentence with content (five words or more) hashes to one of ten buckets: eight are train's, one is
validation's, one is test's. Generators redraw a sentence until it belongs to their split, so no such sentence
can occur in two splits, in whatever view, size or seed.
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
    """The split that owns `sentence`: a function of its words alone (a and an are one), the same on every
    machine."""
    return _owner(words(sentence))


def _owner(tokens: list[str]) -> str:
    plain = f" {' '.join(tokens)} "
    if " an " in plain:
        plain = plain.replace(" an ", " a ")
    digest = hashlib.blake2b(plain.encode(), digest_size=4).digest()
    return _SPLIT_OF_BUCKET[int.from_bytes(digest, "big") % len(_SPLIT_OF_BUCKET)]


def pieces_belong(text: str, split: str) -> bool:
    """Whether every finest piece of `text`, tidied or not, that has content may be used in `split`: what
    `belongs` asks at least, and for one plain sentence all that it asks."""
    for piece in _PIECE_END.split(text):
        tokens = words(piece)
        if len(tokens) >= CONTENT_WORDS and _owner(tokens) != split:
            return False
    return True


def belongs(text: str, split: str) -> bool:
    """Whether every sentence of `text` that has content may be used in `split`.

    A sentence is decided by its finest pieces with content (a speech and its tag are two pieces); only where
    no piece is long enough does the whole sentence decide. Both ways of cutting a text into sentences thus
    keep splits apart.
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
    """Raise `ValueError` naming the nearest match unless `value` is one of `allowed`."""
    if value in allowed:
        return
    nearest = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.0)
    raise ValueError(f"unknown {what} {value!r}: did you mean {nearest[0]!r}? (one of {', '.join(allowed)})")
