"""Generates the `reviews` view: opinions of inns, tea rooms, plays, and walks, where word order decides.

Every judging word occurs under both labels: plain, negated, conceded before a `but`, reported by someone who
was wrong, or only wished for. `perfect_reader.py` states the rules.
"""

from __future__ import annotations

import random

from .grammar import words
from .perfect_reader import NEGATIVE, POSITIVE
from .realize import Redraw, Scene
from .vocabulary import PEOPLE, PLACES, TIMES, WEATHERS

MIN_WORDS, MAX_WORDS = 12, 40
# Share of clauses that express a verdict with a word of that verdict, instead of negating an opposite word.
_PLAIN = 0.64
_VISITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "inn": ("[stayed|slept|had supper] at the inn near {P}", ("room", "bed", "soup", "fire", "cook", "tea")),
    "shop": (
        "[had|drank|ordered] tea in the shop near {P}",
        ("tea", "cake", "bread", "room", "baker", "table"),
    ),
    "play": ("saw [a|the] [play|puppet play] {P.at}", ("story", "music", "singer", "ending", "play")),
    "walk": ("[walked|went|hurried] {P.to}", ("view", "road", "air", "walk", "place")),
}
_NEIGHBORS = tuple(place for place in PLACES if place.noun != "inn")
_PLAIN_CLAUSES = (
    "{x} was [|really |quite |rather ]{adj}",
    "[I|we|everybody] found {x} [|really |rather ]{adj}",
)
_NEGATED_CLAUSES = (
    "{x} was [not|never|hardly|far from|anything but] {adj}",
    "{x} was not {adj} at all",
    "not once was {x} {adj}",
    "nobody [could call|called] {x} {adj}",
)
# Ways to express an opinion, and their relative frequencies.
_KINDS: dict[str, int] = {
    "plain": 8,
    "contrast": 6,
    "although": 4,
    "report": 5,
    "expected": 3,
    "wish": 2,
    "return": 2,
}


def review(rng: random.Random, split: str, label: int) -> dict:
    """Returns a review with that `label` (1 positive, 0 negative): `text`, `label`, and its `subject`."""
    while True:
        subject = rng.choice(tuple(_VISITS))
        try:
            text = _write(rng, split, subject, label)
        except Redraw:
            continue
        if MIN_WORDS <= len(words(text)) <= MAX_WORDS:
            return {"text": text, "label": label, "subject": subject}


def _write(rng: random.Random, split: str, subject: str, label: int) -> str:
    visit, aspects = _VISITS[subject]
    scene = Scene(rng, split)
    writer, friend = rng.sample(PEOPLE, 2)
    scene.cast("B", friend)
    scene.cast("C", writer)
    scene.leave_open(("P",), lambda scene: scene.cast("P", rng.choice(_NEIGHBORS)))
    scene.leave_open(("weather",), lambda scene: scene.cast("weather", rng.choice(tuple(WEATHERS))))
    scene.leave_open(("time",), lambda scene: scene.cast("time", rng.choice(TIMES)))
    asked = iter(rng.sample(aspects, len(aspects)))

    neutral = [
        f"[I|We|{{B}} and I] {visit}[| on a {{weather}} {{time}}].",
        f"On a {{weather}} {{time}} [I|we|{{B}} and I] {visit}.",
    ]
    judged = rng.choice((1, 2, 2))
    order = [True] * judged + [False]
    rng.shuffle(order)
    for judging in order:
        if judging:
            # Offer many complete sentences, so that at least one of them belongs to the split.
            aspect, other = next(asked), next(asked)
            scene.say([_opinion(rng, label, aspect, other) for _ in range(24)])
        else:
            scene.say(neutral)
    if rng.random() < 0.2:
        weather = ["It was a {weather} {time}[| in the village]."] if scene.is_open("weather") else []
        scene.say(["{C} the {C.trade} came [too|with us|along].", *weather])
    return scene.text()


def _opinion(rng: random.Random, label: int, aspect: str, other: str) -> str:
    kind = rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    if kind in ("contrast", "although"):
        # The conceded clause has no negation, so a sentence reverses its verdict at most twice.
        granted = _clause(rng, 1 - label, other, plain=True)
        main = _clause(rng, label, aspect, plain=rng.random() < _PLAIN)
        if kind == "contrast":
            return f"{granted}, but {main}."
        return rng.choice((f"although {granted}, {main}.", f"{main}, although {granted}."))
    if kind == "wish" and label == 0:
        good = _word(rng, 1)
        return rng.choice(
            (f"if only the {aspect} had been {good}!", f"I wish that the {aspect} had been {good}.")
        )
    if kind == "return":
        will = "will [soon|surely|gladly]" if label else "will [never|not]"
        return f"[I|we] {will} come back[| there| in spring]."
    if kind in ("plain", "wish"):
        return _clause(rng, label, aspect) + "[.|!]"
    truth = rng.random() < _PLAIN
    claimed = label if truth else 1 - label
    verdict = "right" if truth else "wrong"
    if kind == "report":
        claim = f"the {aspect} was [|really |quite |rather ]{_word(rng, claimed)}"
        return f"{{B}} [said|told us|had said|wrote] that {claim}, and {{B.he}} was {verdict}."
    who, was = rng.choice((("I", "I was"), ("we", "we were")))
    return f"{who} [|had ]expected the {aspect} to be {_word(rng, claimed)}, and {was} {verdict}."


def _clause(rng: random.Random, verdict: int, aspect: str, plain: bool = False) -> str:
    plain = plain or rng.random() < _PLAIN
    frame = rng.choice(_PLAIN_CLAUSES if plain else _NEGATED_CLAUSES)
    return frame.replace("{adj}", _word(rng, verdict if plain else 1 - verdict)).replace(
        "{x}", f"the {aspect}"
    )


def _word(rng: random.Random, polarity: int) -> str:
    return rng.choice(POSITIVE if polarity else NEGATIVE)
