"""What kind of word a word of the world is, and in which sense an ambiguous one is meant: true by
construction.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...world.vocabulary import ANIMALS, FOODS, PEOPLE, PLACES, QUALITIES, RELATIVES, THINGS, TIMES, WEATHERS


def word_kinds() -> dict[str, str]:
    """Word -> kind, for the words that are of one kind only."""
    groups = {
        "person": [person.name.lower() for person in PEOPLE],
        "trade": [person.trade for person in PEOPLE],
        "place": [place.noun for place in PLACES],
        "thing": [thing.noun for thing in THINGS],
        "food": [food.noun for food in FOODS],
        "animal": ANIMALS,
        "quality": QUALITIES,
        "weather": WEATHERS,
        "time of day": TIMES,
        "relative": RELATIVES,
    }
    kinds: dict[str, list[str]] = {}
    for kind, words in groups.items():
        for word in words:
            kinds.setdefault(word, []).append(kind)
    return {word: found[0] for word, found in kinds.items() if len(found) == 1}


# "light" is three words in the world's stories, told apart by what stands beside it.
AMBIGUOUS = "light"
_SENSES = {
    "no darkness": re.compile(r"\b(?:its|no) (light)\b"),
    "not heavy": re.compile(r"\bwas (light) and strong\b"),
    "set on fire": re.compile(r"\b(?:could|[A-Z]\w+) (light) the\b"),
}


@dataclass(frozen=True)
class Occurrence:
    """A word in a sentence: `text[start:end]`, meant in `sense`."""

    text: str
    start: int
    end: int
    sense: str


def occurrences(texts: Iterable[str], most: int = 60) -> list[Occurrence]:
    """Sentences with `AMBIGUOUS`, at most `most` of every sense, each sentence once."""
    found: dict[str, dict[str, Occurrence]] = {sense: {} for sense in _SENSES}
    for text in texts:
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            for sense, pattern in _SENSES.items():
                match = pattern.search(sentence)
                if match and len(found[sense]) < most:
                    found[sense].setdefault(sentence, Occurrence(sentence, *match.span(1), sense))
    return [occurrence for of_sense in found.values() for occurrence in of_sense.values()]
