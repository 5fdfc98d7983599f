"""Reads from a prompt's text what it asks for: the intent, and what a reply must and must not contain."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .grammar import words
from .replies import WEATHER_NEEDS
from .vocabulary import JOBS, PERSON_BY_NAME, PERSON_BY_TRADE, PLACE_BY_NOUN, THING_BY_NOUN, Thing

# The first pattern that matches decides, so special patterns come before general ones.
_INTENTS: tuple[tuple[str, str], ...] = (
    ("tale", r"\b(tale|story)\b"),
    ("riddle", r"\briddle\b"),
    ("mend", r"\bmend\b"),
    ("kind", r"\b(something kind|cheer)\b"),
    ("advice", r"\bno coins\b"),
    ("weather", r"\bshould i (take|bring)\b"),
    ("thing", rf"\bwhere is the (?:{'|'.join(THING_BY_NOUN)})\b"),
    ("who", rf"\b(who is the|who the|name of the) (?:{'|'.join(PERSON_BY_TRADE)})\b"),
    ("person", r"\b(find|meet|work|looking for)\b"),
    ("describe", r"\b(like|describe|about)\b"),
)
_JOB_VERBS = "|".join(sorted({form.split()[0] for job in JOBS for form in job}))
_WARM = r"\b(dear|sorry|friend|better|share|help|heart|sun|fire|happen)\b"


@dataclass(frozen=True)
class Task:
    """The requirements for a reply.

    Attributes:
        intent: the kind of question, or None if it is not one of the world's.
        about: groups of words; a reply on topic has at least one word of each.
        truths: groups of words like `about`, for the answer itself.
        needs: patterns for the parts of a complete answer.
        forbidden: words that would make the reply wrong.
        names, places: the villagers and places that the reply may mention; for `places`, None allows all.
        strangers: number of other villagers that the reply may mention.
        length: minimum and maximum number of words.
        sentences: minimum number of sentences.
    """

    intent: str | None
    about: tuple[tuple[str, ...], ...] = ()
    truths: tuple[tuple[str, ...], ...] = ()
    needs: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    names: frozenset[str] = field(default_factory=frozenset)
    places: frozenset[str] | None = None
    strangers: int = 0
    length: tuple[int, int] = (5, 60)
    sentences: int = 2


def read_task(prompt: str) -> Task:
    """Returns the task in `prompt`, with the intent None if the prompt is not one of the world's."""
    said = words(prompt)
    lowered = prompt.lower()
    intent = next((name for name, pattern in _INTENTS if re.search(pattern, lowered)), None)
    names = [name for name in PERSON_BY_NAME if name.lower() in said]
    names.sort(key=lambda name: said.index(name.lower()))
    nouns = [noun for noun in said if noun in THING_BY_NOUN]
    places = [noun for noun in said if noun in PLACE_BY_NOUN]
    trades = [word for word in said if word in PERSON_BY_TRADE]
    builder = _BUILDERS.get(intent or "")
    try:
        return builder(lowered, names, nouns, places, trades) if builder else _unknown(said)
    except IndexError:  # the prompt has the words of an intent but not its person, thing, or place
        return _unknown(said)


def _unknown(said: list[str]) -> Task:
    return Task(None, about=tuple((word,) for word in sorted(set(said)) if len(word) > 4)[:4] or (("",),))


def _tale(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    thing = THING_BY_NOUN[nouns[0]]
    return Task(
        "tale",
        about=((names[0],), (thing.noun,)),
        truths=((names[0],),),
        needs=(
            r"\b(wanted|saw|dreamed)\b",
            rf"\b({_JOB_VERBS})\b",
            rf"\b{thing.used}\b",
            _words_of(thing.result),
        ),
        names=frozenset(names[:1]),
        places=frozenset(places),
        strangers=1,
        length=(28, 70),
        sentences=4,
    )


def _advice(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    return Task(
        "advice",
        about=((nouns[0],),),
        needs=(r"\b(could|offer|ask)\b", rf"\b({_JOB_VERBS})\b", r"\b(people|hope|sure|luck|brave)\b"),
        names=frozenset(names),
        places=frozenset(places),
        strangers=1,
        length=(12, 40),
    )


def _mend(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    mender = PERSON_BY_TRADE[THING_BY_NOUN[nouns[0]].mended_by]
    return Task(
        "mend",
        about=((nouns[0], "it"), ("mend", "take", "bring")),
        truths=((mender.name,), (mender.work,)),
        needs=(r"\b(works|find|meet|go|walk)\b",),
        names=frozenset((*names, mender.name)),
        places=frozenset((mender.work,)),
        length=(10, 36),
    )


def _person(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    person = PERSON_BY_NAME[names[0]]
    return Task(
        "person",
        about=((person.name,),),
        truths=((person.work,),),
        needs=(r"\b(find|meet|works|go|walk)\b", r"\b(glad|happy|pleased|name|busy|not there)\b"),
        names=frozenset((person.name,)),
        places=frozenset((person.work,)),
        length=(10, 34),
    )


def _thing(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    asked = re.findall(r"where is the (\w+)", text)[-1]
    # The prompt names two things and two places; the clause about this thing names its place.
    here = re.search(rf"\b{asked}\b(?: is| lies)? (?:at|in|on) the (\w+)", text)
    place = here[1] if here else places[0]
    return Task(
        "thing",
        about=((asked,),),
        truths=((place,),),
        needs=(r"\b(is|find|look)\b", r"\b(take|carry|quick|hurry|go|hope)\b"),
        names=frozenset(names),
        places=frozenset((place,)),
        length=(10, 32),
    )


def _kind(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    return Task(
        "kind",
        about=((names[0],),),
        truths=((names[0],),),
        needs=(_WARM, r"\b(dear|sorry)\b", r"\b(happen|tomorrow|fire)\b"),
        names=frozenset(names[:1]),
        places=frozenset(places),
        strangers=1,
        length=(11, 40),
    )


def _describe(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    place = PLACE_BY_NOUN[places[0]]
    details = "|".join(_words_of(detail) for detail in place.details)
    return Task(
        "describe",
        about=((place.noun, "place"),),
        truths=((place.noun,), tuple(words(place.smell)[-1:])),
        needs=(details, r"\bsmelled\b", r"\b(go|like)\b"),
        names=frozenset(names),
        places=frozenset((place.noun,)),
        strangers=1,
        length=(18, 50),
        sentences=3,
    )


def _riddle(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    thing = THING_BY_NOUN[nouns[0]]
    return Task(
        "riddle",
        about=(_content(thing),),
        needs=(_words_of(thing.riddle), r"\b(am|can) i\b.*\?"),
        forbidden=(thing.noun,),
        names=frozenset(names),
        places=frozenset(places),
        length=(9, 32),
    )


def _who(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    person = PERSON_BY_TRADE[trades[0]]
    return Task(
        "who",
        about=((person.trade,),),
        truths=((person.name,), (person.work,)),
        needs=(r"\b(works|find|meet|go|walk)\b",),
        names=frozenset((person.name,)),
        places=frozenset((person.work,)),
        strangers=1,
        length=(9, 34),
    )


def _weather(text: str, names: list[str], nouns: list[str], places: list[str], trades: list[str]) -> Task:
    weather = [name for name in WEATHER_NEEDS if name in words(text)][0]
    needed = WEATHER_NEEDS[weather]
    return Task(
        "weather",
        about=((weather,), (needed,)),
        truths=((needed,),),
        needs=(r"\b(take|bring|need|glad)\b", r"\b(can|will|have)\b"),
        forbidden=tuple(name for name in WEATHER_NEEDS if name != weather),
        names=frozenset(names),
        places=frozenset(places),
        strangers=1,
        length=(12, 40),
    )


def _words_of(clause: str) -> str:
    """Returns a pattern that matches the words of `clause`, in lower case."""
    return r"\b" + r"\W+".join(words(clause)) + r"\b"


def _content(thing: Thing) -> tuple[str, ...]:
    return tuple(word for word in words(thing.riddle) if len(word) > 3)


_BUILDERS = {
    "tale": _tale,
    "advice": _advice,
    "mend": _mend,
    "person": _person,
    "thing": _thing,
    "kind": _kind,
    "describe": _describe,
    "riddle": _riddle,
    "who": _who,
    "weather": _weather,
}
