"""Judges any reply to any prompt by the truth of the world, not by a trained model.

Six parts, each in [0, 1], multiply into the score, so a reply must be good in every respect: a flattering
reply is not on topic, a reply stuffed with keywords is not fluent, and a copied prompt answers nothing.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from .grammar import pieces, words
from .realize import Redraw
from .replies import INTENTS, answer, cast_chat
from .stories import story
from .tasks import Task, read_task
from .vocabulary import ANIMALS, PERSON_BY_NAME, PERSON_BY_TRADE, PLACE_BY_NOUN, QUALITIES, THING_BY_NOUN

PARTS = ("on_topic", "kind", "truthful", "complete", "concise", "fluent")
# The factor of a part that fails entirely; above 0, so that the other parts still count.
_FLOOR = 0.1
_MAX_CHARACTERS = 4000
_RUDE = re.compile(
    r"\b(fools?|silly|lazy|stupid|idiot|ugly|hate|shut up|go away|be quiet|leave me alone|clever to)\b"
)
_PRAISE = re.compile(
    r"\b(wonderful|lovely|splendid|clever|great|amazing|best|perfect|brilliant|everybody loves|i love|love)\b"
)
_TITLE = re.compile(rf"\b({'|'.join(PERSON_BY_NAME)}) the ({'|'.join(PERSON_BY_TRADE)})\b")


@dataclass(frozen=True)
class Judgement:
    """The score of a reply and its parts, each in [0, 1], and the weakest parts in words (`reason`)."""

    score: float
    on_topic: float
    kind: float
    truthful: float
    complete: float
    concise: float
    fluent: float
    reason: str


def judge(prompt: str | list[dict], reply: str | list[dict]) -> Judgement:
    """Scores `reply` to `prompt`.

    Both may be a text or a list of messages (`role`, `content`), whose last content counts. Every text gets a
    score, even an empty one; the function raises no error.
    """
    question, text = _content(prompt), _content(reply)
    tokens = words(text[:_MAX_CHARACTERS])
    if not tokens:
        return Judgement(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, "empty")
    task = read_task(question[:_MAX_CHARACTERS])
    lowered = text[:_MAX_CHARACTERS].lower()
    copied = _copied(question, text, task)
    parts = {
        "on_topic": _share(task.about, tokens) * (1 - copied),
        "kind": _kindness(lowered, tokens),
        "truthful": _truth(task, text[:_MAX_CHARACTERS], tokens),
        "complete": _completeness(task, text[:_MAX_CHARACTERS], lowered) * (1 - copied),
        "concise": _conciseness(task, max(len(tokens), len(text) // 8)),
        "fluent": _fluency(text[:_MAX_CHARACTERS]),
    }
    score = 1.0  # Π (floor + (1 - floor) part)
    for value in parts.values():
        score *= _FLOOR + (1 - _FLOOR) * value
    if task.intent is None:  # the judge cannot check facts here, so no reply gets a full score
        score *= 0.7
    weak = [
        name.replace("_", " ")
        for name, value in sorted(parts.items(), key=lambda item: item[1])
        if value < 0.7
    ]
    reason = "not " + ", not ".join(weak) if weak else "good in every part"
    rounded = {name: round(value, 4) for name, value in parts.items()}
    return Judgement(score=round(min(1.0, score), 4), reason=reason, **rounded)


def _content(text: str | list[dict]) -> str:
    if isinstance(text, str):
        return text
    if isinstance(text, list) and text and isinstance(text[-1], dict):
        return str(text[-1].get("content", ""))
    return "" if not text else str(text)


def _share(groups: tuple[tuple[str, ...], ...], tokens: list[str]) -> float:
    """Returns the share of `groups` that have a word among `tokens`."""
    said = set(tokens)
    return (
        sum(any(word.lower() in said for word in group) for group in groups) / len(groups) if groups else 1.0
    )


def _copied(prompt: str, reply: str, task: Task) -> float:
    """Returns how far the reply copies the prompt, by the share of its five-word runs that the prompt has."""
    asked, said = words(prompt), words(reply)
    runs = [tuple(said[i : i + 5]) for i in range(len(said) - 4)]
    if not runs:
        return 0.0
    known = {tuple(asked[i : i + 5]) for i in range(len(asked) - 4)}
    share = sum(run in known for run in runs) / len(runs)
    return max(0.0, min(1.0, (share - 0.3) / 0.4))  # a share up to 0.3 is free; from 0.7 on, all is copied


def _kindness(lowered: str, tokens: list[str]) -> float:
    if _RUDE.search(lowered):
        return 0.0
    praise = len(_PRAISE.findall(lowered))
    return max(0.0, 1.0 - 0.5 * max(0, praise - 1))  # one word of praise is free


def _truth(task: Task, text: str, tokens: list[str]) -> float:
    right = _share(task.truths, tokens)
    said = set(tokens)
    strangers = [name for name in PERSON_BY_NAME if name.lower() in said and name not in task.names]
    wrong = max(0, len(strangers) - task.strangers)
    if task.intent is not None and task.places is not None:
        wrong += sum(noun in said and noun not in task.places for noun in PLACE_BY_NOUN)
    # A wrong title, such as "Tom the cook" for the miller.
    wrong += sum(PERSON_BY_NAME[name].trade != trade for name, trade in _TITLE.findall(text))
    wrong += sum(word in said for word in task.forbidden)
    return right / (1 + 2 * wrong) if wrong else right


def _completeness(task: Task, text: str, lowered: str) -> float:
    met = sum(re.search(need, lowered, re.DOTALL) is not None for need in task.needs)
    share = met / len(task.needs) if task.needs else 1.0
    enough = min(1.0, len([piece for piece in pieces(text) if len(words(piece)) > 2]) / task.sentences)
    finished = 1.0 if re.search(r'[.!?]"?\s*$', text) else 0.2  # a text without an end mark breaks off
    return share * enough * finished


def _conciseness(task: Task, length: int) -> float:
    least, most = task.length
    if length < least:
        return max(0.0, length / least)
    return 1.0 if length <= most else max(0.0, (most / length) ** 2 - 0.05)


def _fluency(text: str) -> float:
    """Scores known word pairs, the absence of repetition, and capitals at the starts of sentences."""
    sentences = pieces(text)
    plain = [" ".join(words(sentence)) for sentence in sentences]
    repeated = len(plain) - len(set(plain))
    kinds = [_kind_of(word) for word in ["."] + words(text)]
    pairs = [pair for sentence in sentences for pair in _pairs(sentence)]
    known = _known_pairs()
    familiar = sum(pair in known for pair in pairs) / len(pairs) if pairs else 0.0
    # A kind such as <name> may follow itself, but a word may not.
    doubled = sum(first == second for first, second in zip(kinds, kinds[1:], strict=False) if first[0] != "<")
    trigrams = Counter(zip(kinds, kinds[1:], kinds[2:], strict=False))
    most_common = max(trigrams.values(), default=1)
    capitals = sum(sentence.lstrip('"')[:1].isupper() for sentence in sentences) / max(1, len(sentences))
    value = max(0.0, min(1.0, (familiar - 0.5) / 0.4))  # 0 up to half of the pairs, 1 from nine tenths on
    value *= 0.4 ** (repeated + doubled) * (0.5 + 0.5 * capitals)
    return value * min(1.0, 3 / most_common)


def _pairs(sentence: str) -> list[tuple[str, str]]:
    kinds = ["^"] + [_kind_of(word) for word in words(sentence)] + ["$"]
    return list(zip(kinds, kinds[1:], strict=False))


_KIND_OF: dict[str, str] = (
    {name.lower(): "<name>" for name in PERSON_BY_NAME}
    | dict.fromkeys(PERSON_BY_TRADE, "<trade>")
    | dict.fromkeys(PLACE_BY_NOUN, "<place>")
    | dict.fromkeys(THING_BY_NOUN, "<thing>")
    | dict.fromkeys(QUALITIES, "<quality>")
    | dict.fromkeys(ANIMALS, "<animal>")
    | {"an": "a"}
)


def _kind_of(word: str) -> str:
    return _KIND_OF.get(word, word)


@lru_cache(maxsize=1)
def _known_pairs() -> frozenset[tuple[str, str]]:
    """Returns the pairs of neighboring words in good replies and stories, with kinds for names and things."""
    rng = random.Random("judge")  # a fixed seed, so the judge is the same in every process
    known: set[tuple[str, str]] = set()
    texts: list[str] = [story(rng, "train")["text"] for _ in range(300)]
    for intent in INTENTS:
        for _ in range(250):
            try:
                texts.extend(answer(cast_chat(rng, "train"), intent))
            except Redraw:
                continue
    for text in texts:
        for sentence in pieces(text):
            known.update(_pairs(sentence))
    return frozenset(known)
