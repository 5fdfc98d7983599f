"""The perfect reader of reviews: the rules by which a text's verdict follows from its words.

A review says the same thing about its subject in every sentence that judges. One sentence is read so:

1. `X, but Y`, `although X, Y` and `Y, although X` mean Y.
2. A report (`Tom said that X, and he was wrong`) means X if the reporter was right, else its opposite.
3. A wish (`if only X`, `I wish that X`) means the opposite of X.
4. In the clause that is left, the polarity of the judging word is turned round by every negation.

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
    """Label of a review read from its text alone: 1 positive, 0 negative (also where nothing is judged)."""
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
    polarity = next((_POLARITY[word] for word in words(sentence) if word in _POLARITY), 0)
    flips = len(_NEGATION.findall(sentence)) + bool(_WISH.match(sentence))
    return polarity * (-1) ** flips
