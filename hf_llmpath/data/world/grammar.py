"""English on the level of strings: alternations, articles, capitals, sentence and word boundaries.

A template is written `"{A} [ran|walked] {P.to}[, singing|]."`: `[x|y]` chooses one alternative (they nest),
`{slot}` is filled by the scene (`realise.py`).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

PRONOUNS: dict[str, dict[str, str]] = {
    "f": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
    "m": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
}

_TOKEN = re.compile(r"\{[^{}]*\}|[\[\]|{}]|[^\[\]|{}]+")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_SPACES = re.compile(r"[ \t]+")
_SPACE_BEFORE_MARK = re.compile(r" +([,.;:!?])")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU](?!ne\b))")
# Not after `?"` or `!"`: there a speech tag may follow (`"Is it here?" asked Tom.`).
_SENTENCE_START = re.compile(r'(^|[.!?] |\." |\n)("?)([a-z])')
_FINE_BREAK = re.compile(r'(?<=[.!?])"?\s+|(?<=[.!?])"\s*$|\n+')
_COARSE_BREAK = re.compile(r'(?<=[.!?])\s+(?="?[A-Z])|(?<=[.!?]")\s+(?="?[A-Z])|\n+')


@dataclass(frozen=True)
class Slot:
    """A `{name}` of a template: `role` and `case` are the parts before and after the full stop.

    `person` is the role in capitals, as people are cast; `smart` tells whether a pronoun may stand for it.
    """

    name: str
    role: str
    case: str
    person: str
    smart: bool


Node = str | Slot | tuple  # a tuple holds the alternatives, each a tuple of nodes


@cache
def parse(template: str) -> tuple[Node, ...]:
    """The tree of a template. Raises `ValueError` when its brackets do not match."""
    stack: list[list[list[Node]]] = [[[]]]
    for token in _TOKEN.findall(template):
        if token == "[":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == "]" and len(stack) > 1:
            alternatives = stack.pop()
            stack[-1][-1].append(tuple(tuple(nodes) for nodes in alternatives))
        elif token[0] == "{" and token[-1] == "}":
            role, _, case = token[1:-1].partition(".")
            stack[-1][-1].append(Slot(token[1:-1], role, case, role.upper(), role.islower()))
        elif token in ("[", "]", "{", "}"):
            raise ValueError(f"brackets do not match in {template!r}")
        else:
            stack[-1][-1].append(token)
    if len(stack) > 1:
        raise ValueError(f"brackets do not match in {template!r}")
    return tuple(stack[0][0])


def choose(nodes: tuple[Node, ...], rng: random.Random) -> list[str | Slot]:
    """Resolve every alternation of a parsed template by a uniform choice."""
    flat: list[str | Slot] = []
    for node in nodes:
        if isinstance(node, tuple):
            flat.extend(choose(node[int(rng.random() * len(node))], rng))
        else:
            flat.append(node)
    return flat


def polish(text: str) -> str:
    """Tidy spaces, choose a or an by the next letter, and put capitals at the start of sentences and of
    speech."""
    text = _SPACE_BEFORE_MARK.sub(r"\1", _SPACES.sub(" ", text)).strip()
    text = _ARTICLE.sub(r"\1n ", text)
    text = _SENTENCE_START.sub(lambda match: match.group(1) + match.group(2) + match.group(3).upper(), text)
    pieces = text.split('"')
    # Odd pieces lie inside quotation marks.
    pieces[1::2] = [piece[:1].upper() + piece[1:] for piece in pieces[1::2]]
    return '"'.join(pieces)


def with_article(phrase: str) -> str:
    """`"old kite"` to `"an old kite"`."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def capitalised(text: str) -> str:
    """`text` with its first letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


def words(text: str) -> list[str]:
    """The words of `text` in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """Sentences of `text`; speech stays with its tag: `"Is it here?" asked Tom.` is one sentence."""
    return [part.strip() for part in _COARSE_BREAK.split(text) if part.strip()]


def pieces(text: str) -> list[str]:
    """The finest cut of `text`: at every full stop, question or exclamation mark, also inside speech."""
    return [piece.strip() for piece in _FINE_BREAK.split(text) if piece and piece.strip()]
