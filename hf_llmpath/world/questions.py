"""Generates the `questions` view: contexts with two people's errands, and questions about one of them.

The fields are SQuAD's: `id`, `title`, `context`, `question`, and `answers` (`text`, `answer_start`). Besides
the answer, the context contains a second candidate of the same kind, so a model must read the question.
"""

from __future__ import annotations

import random
import re

from .realize import Redraw, Scene
from .vocabulary import PEOPLE, PLACES, QUALITIES, THINGS, TIMES, WEATHERS

DAYS: tuple[str, ...] = ("Monday", "Tuesday", "Friday", "Saturday", "Sunday")
# Past and plain forms of what happens to the thing.
ACTIONS: tuple[tuple[str, str], ...] = (
    ("found", "find"),
    ("bought", "buy"),
    ("sold", "sell"),
    ("lost", "lose"),
    ("mended", "mend"),
    ("painted", "paint"),
)
# Every reason uses the person's own pronoun.
REASONS: tuple[str, ...] = (
    "{A.he} wanted to be alone",
    "{A.he} was hungry",
    "{A.his} {relative} lived there",
    "{A.he} had a letter to bring",
    "{A.he} hoped to sing",
    "{A.he} needed flour",
    "{A.he} liked the quiet",
    "{A.he} had made a promise",
)
_RELATIVES = ("aunt", "uncle", "sister", "brother")
_TRIPS = (
    "on {day}, {A}[| the {A.trade}] [went|walked|hurried] {P.to}, because {reason}.",
    "{A}[| the {A.trade}] [went|walked|hurried] {P.to} on {day}, because {reason}.",
    "because {reason}, {A}[| the {A.trade}] [went|walked|hurried] {P.to} on {day}.",
)
_DEEDS = (
    "there {A} {did} {X.a}[| behind a fence| in the end| with some luck].",
    "{A} {did} {X.a} there[|, and told nobody|, and told everybody].",
    "[after an hour|before long|in the end] {A} {did} {X.a} there.",
)
_ASIDES = (
    "It was a {weather} {time}, and {wclause}.",
    "That {time} {wclause}.",
    "{wclause}, and the {weather} {time} was [long|quiet].",
)
_QUESTIONS: dict[str, tuple[str, ...]] = {
    "who": (
        "Who {did} {X.a}?",
        "Who {did} the {X}?",
        "Who went {P.to}?",
        "Who was {P.at} on {day}?",
        "Which villager went {P.to}?",
    ),
    "where": (
        "Where did {A} [go|walk]?",
        "Where did {A} go on {day}?",
        "Where did {A} {do} the {X}?",
        "Where was {A} on {day}?",
        "Which place did {A} go to?",
    ),
    "what": (
        "What did {A} {do}?",
        "What did {A} {do} {P.at}?",
        "What was {did} by {A}?",
        "Which thing did {A} {do} on {day}?",
    ),
    "when": (
        "When did {A} go {P.to}?",
        "On which day did {A} [go|walk] {P.to}?",
        "When was {A} {P.at}?",
        "On which day did {A} {do} the {X}?",
    ),
    "why": (
        "Why did {A} [go|walk|hurry] {P.to}?",
        "Why was {A} {P.at}?",
        "For what reason did {A} go {P.to}?",
    ),
}


def questions(rng: random.Random, split: str) -> list[dict]:
    """Returns one question of every kind about a new context; `generate` adds their `id`."""
    while True:
        try:
            context, roles = _context(rng, split)
            break
        except Redraw:
            continue
    records = []
    for kind in rng.sample(tuple(_QUESTIONS), 5):
        scene, answer = rng.choice(roles)
        question = scene.phrase(rng.choice(_QUESTIONS[kind]))
        texts, starts = _spans(context, answer[kind], _evidence(context, scene, question))
        records.append(
            {
                "title": " and ".join(other.people["A"].name for other, _ in roles),
                "context": context,
                "question": question,
                "answers": {"text": texts, "answer_start": starts},
                "kind": kind,
            }
        )
    return records


def _context(rng: random.Random, split: str) -> tuple[str, list[tuple[Scene, dict[str, list[str]]]]]:
    """Returns a text about two errands, one after the other, and for each errand the answers by kind."""
    told: list[Scene] = []
    with_aside = rng.choice((0, 1, None, None))
    for number in range(2):
        scene = Scene(rng, split)
        _cast(scene, told[0] if told else None)
        scene.say(_TRIPS)
        if with_aside == number:
            scene.say(_ASIDES)
            scene.recent = {"A"}  # the aside names no one, so a pronoun still means the person before it
        scene.say(_DEEDS)
        told.append(scene)
    roles = []
    for scene in told:
        slots = scene.slots
        answers = {
            "who": [scene.people["A"].name],
            "where": [slots["P"], slots["P.to"]],
            "what": [slots["X.a"]],
            "when": [slots["day"], f"on {slots['day']}"],
            "why": [scene.phrase("{reason}")],
        }
        roles.append((scene, answers))
    return " ".join(scene.text() for scene in told), roles


def _cast(scene: Scene, other: Scene | None) -> None:
    """Leaves the roles of an errand open, with values that differ from those of the `other` errand."""
    rng = scene.rng
    taken = {str(value) for value in other.slots.values()} | {other.people["A"].name} if other else set()

    def person(scene: Scene) -> None:
        scene.cast("A", rng.choice([person for person in PEOPLE if person.name not in taken]))
        scene.cast("reason", rng.choice([reason for reason in REASONS if reason not in taken]))

    def day(scene: Scene) -> None:
        scene.cast("day", rng.choice([day for day in DAYS if day not in taken]))

    def place(scene: Scene) -> None:
        scene.cast("P", rng.choice([place for place in PLACES if place.name not in taken]))

    def thing(scene: Scene) -> None:
        scene.cast(
            "X", rng.choice([thing for thing in THINGS if thing.noun not in taken]), rng.choice(QUALITIES)
        )
        did, do = rng.choice([action for action in ACTIONS if action[0] not in taken])
        scene.cast("did", did)
        scene.cast("do", do)

    def weather(scene: Scene) -> None:
        name = rng.choice([name for name in WEATHERS if name not in taken])
        scene.cast("weather", name)
        scene.cast("wclause", WEATHERS[name])

    scene.leave_open(("A", "reason"), person)
    scene.leave_open(("day",), day)
    scene.leave_open(("P",), place)
    scene.leave_open(("X", "did", "do"), thing)
    scene.leave_open(("weather", "wclause"), weather)
    scene.leave_open(
        ("time",), lambda scene: scene.cast("time", rng.choice([t for t in TIMES if t not in taken]))
    )
    scene.leave_open(("relative",), lambda scene: scene.cast("relative", rng.choice(_RELATIVES)))


def _evidence(context: str, scene: Scene, question: str) -> int:
    """Returns the position in `context` of the thing in the question or, without one, of the place."""
    slots = scene.slots
    return context.find(str(slots["X"]) if str(slots["X"]) in question else str(slots["P"]))


def _spans(context: str, answers: list[str], evidence: int) -> tuple[list[str], list[int]]:
    """Returns every occurrence of `answers` in `context`, those of the first answer first.

    Among the occurrences of an answer, the last one before the evidence comes first: a name may be in two
    sentences, only one of which answers the question.
    """
    places = (
        (answer, [match.start() for match in re.finditer(rf"\b{answer}\b", context)]) for answer in answers
    )
    hits = [
        (answer, start)
        for answer, starts in places
        for start in sorted(starts, key=lambda at: (at > evidence, abs(at - evidence)))
    ]
    return [answer for answer, _ in hits], [start for _, start in hits]
