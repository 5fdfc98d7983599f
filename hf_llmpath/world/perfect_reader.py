"""Reads reviews perfectly, by the rules that derive a text's verdict from its words.

All sentences of a review that judge its subject agree. The rules for one sentence are:

1. `X, but Y`, `although X, Y`, and `Y, although X` mean Y.
2. A report (`Tom said that X, and he was wrong`) means X if the reporter was right, and otherwise its
   opposite.
3. A wish (`if only X`, `I wish that X`) means the opposite of X.
4. In the clause that remains, each negation reverses the polarity of the judging word.

A sentence without a judging word does not count.
"""

from __future__ import annotations

import re

from .grammar import sentences, words

POSITIVE: tuple[str, ...] = (
    "good",
    "lovely",
    "fine",
    "charming",
    "splendid",
    "pleasant",
    "wonderful",
    "nice",
)
NEGATIVE: tuple[str, ...] = ("bad", "awful", "dull", "dreadful", "poor", "horrible", "nasty", "unpleasant")
_POLARITY = {word: 1 for word in POSITIVE} | {word: -1 for word in NEGATIVE} | {"back": 1}
_NEGATION = re.compile(r"\b(?:not|never|nobody|nothing|hardly|far from|anything but)\b")
_WISH = re.compile(r"^(?:if only|i wish)\b")
_REPORT = re.compile(r"^(?P<claim>.*), and (?:he|she|i|they|we) (?:was|were) (?P<verdict>right|wrong)\b")


def read_review(text: str) -> int:
    """Returns the label of a review: 1 for positive, 0 for negative or if no sentence judges."""
    return int(sum(_verdict(sentence) for sentence in sentences(text)) > 0)


def _verdict(sentence: str) -> int:
    sentence = sentence.lower().rstrip(".!?")
    report = _REPORT.match(sentence)
    if report:
        return _verdict(report["claim"]) * (1 if report["verdict"] == "right" else -1)
    if sentence.startswith("although "):
        return _verdict(sentence.partition(", ")[2])
    if ", although " in sentence:
        return _verdict(sentence.partition(", although ")[0])
    if ", but " in sentence:
        return _verdict(sentence.partition(", but ")[2])
    # +1, -1, or 0 without a judging word; "back" (in "will come back") counts as positive.
    polarity = next((_POLARITY[word] for word in words(sentence) if word in _POLARITY), 0)
    flips = len(_NEGATION.findall(sentence)) + bool(_WISH.match(sentence))
    return polarity * (-1) ** flips
