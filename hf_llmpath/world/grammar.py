"""Handles English as strings: alternations, articles, capitals, and the boundaries of sentences and words.

A template looks like `"{A} [ran|walked] {P.to}[, singing|]."`. `[x|y]` chooses one alternative (alternations
may nest), and the scene (`realize.py`) fills `{slot}`.
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
_TO_LETTERS = bytes(
    ord(chr(code).lower()) if chr(code).isascii() and chr(code).isalpha() else 32 for code in range(256)
)
_INNER_END = re.compile(r"[.!?]\s|\n")
_SPACES = re.compile(r"[ \t]+")
_SPACE_BEFORE_MARK = re.compile(r" +([,.;:!?])")
_LOOSE_MARKS = (" ,", " .", " ?", " !", " ;", " :")
_STARTING_ARTICLES = ("A ", "a ")
_SPOKEN_ARTICLES = ('"a ', '"A ', " A ", "\na ", "\nA ")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU](?!ne\b))")
# A capital does not follow `?"` or `!"`, because a speech tag may (`"Is it here?" asked Tom.`).
_SENTENCE_START = re.compile(r'(^|[.!?] |\." |\n)("?)([a-z])')
_FINE_BREAK = re.compile(r'(?<=[.!?])"?\s+|(?<=[.!?])"\s*$|\n+')
_COARSE_BREAK = re.compile(r'(?<=[.!?])\s+(?="?[A-Z])|(?<=[.!?]")\s+(?="?[A-Z])|\n+')


@dataclass(frozen=True, eq=False, slots=True)
class Slot:
    """A `{name}` in a template.

    Attributes:
        name: the text between the braces.
        role, case: the parts of the name before and after the period.
        person: the role in capitals, under which the scene casts people.
        smart: whether a pronoun may replace the name.
    """

    name: str
    role: str
    case: str
    person: str
    smart: bool


Node = str | Slot | tuple  # a tuple holds the alternatives, each a tuple of nodes


class Draft:
    """A template in which some alternations are resolved; it computes the result of each choice only once.

    Attributes:
        nodes: strings, slots, and the alternations that are still open.
        ways: one entry for each alternative of the first open alternation; empty if all are resolved.
        roles: the roles of the slots among the nodes.
    """

    __slots__ = ("_fork", "nodes", "roles", "ways")

    def __init__(self, nodes: tuple[Node, ...]):
        self._fork = next((place for place, node in enumerate(nodes) if type(node) is tuple), None)
        self.nodes = nodes
        self.ways: list[Draft | None] = [] if self._fork is None else [None] * len(nodes[self._fork])
        self.roles = frozenset(node.role for node in nodes if isinstance(node, Slot))

    def take(self, way: int) -> Draft:
        """Returns the draft in which the first open alternation is resolved to alternative number `way`."""
        draft = self.ways[way]
        if draft is None:
            before, alternatives, after = (
                self.nodes[: self._fork],
                self.nodes[self._fork],
                self.nodes[self._fork + 1 :],
            )
            draft = self.ways[way] = Draft(_joined((*before, *alternatives[way], *after)))
        return draft


def _joined(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Returns `nodes` with neighboring strings joined."""
    joined: list[Node] = []
    for node in nodes:
        if joined and isinstance(node, str) and isinstance(joined[-1], str):
            joined[-1] += node
        else:
            joined.append(node)
    return tuple(joined)


@cache
def parse(template: str) -> Draft:
    """Returns a template with all its alternations open.

    Raises:
        ValueError: the brackets do not match.
    """
    # One entry per open bracket, each a list of alternatives, each a list of nodes.
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
    return Draft(tuple(stack[0][0]))


def choose(draft: Draft, rng: random.Random) -> Draft:
    """Resolves every alternation of a parsed template by a uniform choice."""
    while draft.ways:
        draft = draft.take(int(rng.random() * len(draft.ways)))
    return draft


def is_simple(text: str) -> bool:
    """Returns whether `text` is a single sentence without speech, before or after `polish`."""
    return '"' not in text and not _INNER_END.search(text)


def polish(text: str) -> str:
    """Cleans up spaces, chooses a or an by the next letter, and capitalizes sentences and speech."""
    # Searching for substrings is far faster than matching patterns, and most texts need no cleanup.
    if "  " in text or "\t" in text:
        text = _SPACES.sub(" ", text)
    if any(mark in text for mark in _LOOSE_MARKS):
        text = _SPACE_BEFORE_MARK.sub(r"\1", text)
    text = text.strip()
    if (
        " a " in text
        or text.startswith(_STARTING_ARTICLES)
        or any(start in text for start in _SPOKEN_ARTICLES)
    ):
        text = _ARTICLE.sub(r"\1n ", text)
    if is_simple(text):
        return capitalised(text)
    text = _SENTENCE_START.sub(lambda match: match[1] + match[2] + match[3].upper(), text)
    pieces = text.split('"')
    # Odd pieces lie inside quotation marks.
    pieces[1::2] = map(capitalised, pieces[1::2])
    return '"'.join(pieces)


def with_article(phrase: str) -> str:
    """Returns the phrase with its article: `"old kite"` becomes `"an old kite"`."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def capitalised(text: str) -> str:
    """Returns `text` with its first letter in upper case and the rest unchanged."""
    return text[:1].upper() + text[1:]


def words(text: str) -> list[str]:
    """Returns the words of `text` in lower case, without punctuation."""
    if text.isascii() and "'" not in text:  # a translation table is faster than the pattern
        return text.encode().translate(_TO_LETTERS).decode().split()
    return _WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """Returns the sentences of `text`; speech stays with its tag, as in `"Is it here?" asked Tom.`"""
    return [piece.strip() for piece in _COARSE_BREAK.split(text) if piece.strip()]


def pieces(text: str) -> list[str]:
    """Cuts `text` at every period, question mark, and exclamation mark, even inside speech."""
    return [piece.strip() for piece in _FINE_BREAK.split(text) if piece and piece.strip()]
