"""Generates the `summaries` view: short reports, and a one-sentence summary of each.

The summary has the form `A wanted X but TROUBLE, so B HELPED at P.` and follows from the document alone. It
requires selection: the wish, the trouble, the helper, and how and where this person helped are spread over
the document, between sentences about other villagers. It also requires rewording: `longed for` becomes
`wanted`, and a trade becomes the name.
"""

from __future__ import annotations

import random

from .grammar import PRONOUNS, words
from .realize import Redraw, Scene
from .vocabulary import PEOPLE, QUALITIES, TIMES, WEATHERS, other_places, other_things

MIN_WORDS, MAX_WORDS = 40, 90
# Maps the words of the summary for a trouble to the sentences of the document.
TROUBLES: dict[str, tuple[str, ...]] = {
    "had no coins": (
        "The price was too high for {A}: {A.his} purse was as empty as [a drum|an old well|a dry lake].",
        "[{A}|{a}] [looked|searched] in every [box|jar] and found [only|nothing but] [buttons|a spoon|dust].",
        "It cost [seven|ten|three] coins, and {A} had [a button|two buttons|a spoon][| and a smile].",
    ),
    "was too shy": (
        "Each time {A} [opened {A.his} mouth|tried] to ask for it, no word came out.",
        "{A} went [red|white] at the thought of asking, and [turned round|hid behind a tree].",
        "To ask for it in front of people was [more|far more] than {A} [dared|could do].",
    ),
    "had a bad foot": (
        "The shop was far away, and {A} [had hurt {A.his} toe|could not walk].",
        "{A} had fallen on the stairs and could not walk to the shop.",
        "A donkey had stepped on {A.his} [left|right] toe, and the road to the shop was [long|steep].",
    ),
    "had no time": (
        "From morning to night there was work, and {A} [hardly slept|ate standing up|never sat down].",
        "{A} worked [from morning to night|until late|day and night] and [hardly slept|ate standing "
        "up|never sat down].",
        "So much work lay on the table that {A} could not [go shopping|leave].",
    ),
    "came too late": (
        "When {A} [reached|came to] the shop, the last one was [already|] [gone|sold].",
        "The door of the shop was already [shut|locked] when {A} [got there|came].",
        "{A} ran to the shop, but the seller had [just|already] [gone home|sold the last one|locked "
        "the door].",
    ),
}
HELP: dict[str, tuple[str, ...]] = {
    "made one": (
        "[With paper, wood and string|With glue, nails and thread], {B_ref} worked at it [all "
        "night|for two days].",
        "{B_ref} took glue, nails and thread and [sat up all night|did not stop before it was ready].",
    ),
    "bought one": (
        "{B_ref} [took|shook] some coins out of an old [sock|jar] and [paid for it|went shopping].",
        "{B_ref} went shopping with [a full purse|all the coins from an old jar] and [came back smiling|did "
        "not say why].",
    ),
    "lent one": (
        '{B_ref} [nodded|smiled] and said, "[You may keep|Keep|Take] mine [until spring|for a month]."',
        '"[You may keep|Keep|Take] mine [until spring|for a month]," said {B_ref}.',
    ),
    "found one": (
        "{B_ref} [climbed into|went up to] the attic, looked behind [old chairs|ten boxes], and [shouted "
        "with joy|sneezed].",
        "{B_ref} [looked|searched] behind ten boxes in the attic and [shouted with joy|came down "
        "grey with dust].",
    ),
}
_WANTS = (
    "{A} the {A.trade} [longed for|dreamed of|could think only of] {X.a}[| night and day| that {time}].",
    "All that {A} the {A.trade} [talked|thought] about [was|that {time} was] {X.a}.",
    "{A} the {A.trade} had [set {A.his} heart on|been dreaming of] {X.a}.",
)
_MEETINGS = (
    "{P.at}, where {P.detail}, {A} told {B} the {B.trade} [about it|the whole story].",
    "{B} the {B.trade} heard [about it|of this|the whole story] {P.at}, where {P.detail}.",
    "{B} the {B.trade}, who was [resting|waiting|singing] {P.at}, [heard|soon knew] [about it|the "
    "whole story].",
)
_ASIDES = (
    "{C} the {C.trade} walked past with {Y.a} and [saw nothing|did not look up|only yawned].",
    "{C} was {Q.at}, [cleaning|painting|counting spots on] {Y.a}, and [saw nothing|heard nothing|whistled].",
    "{Q.at}, where {Q.detail}, {C} the {C.trade} [cleaned|painted] {Y.a}.",
)
_SETTINGS = (
    "It was a {weather} {time}, and {wclause}.",
    "{wclause} that {time}, and [the village|half the village|everybody] [was quiet|slept "
    "late|stayed at home].",
)
_CODAS = (
    "[Nobody|No one] in the village [slept|laughed] more happily [that night|than {A}].",
    "{A} could [hardly believe it|have danced on the roof|have kissed the moon].",
    "{A} [said thank you|bowed|jumped for joy] [seven|ten|three] times and ran home.",
)


def summary(rng: random.Random, split: str) -> dict:
    """Returns one record: `document`, `summary`, and the roles from which they were made."""
    while True:
        try:
            record = _write(rng, split)
        except Redraw:
            continue
        if MIN_WORDS <= len(words(record["document"])) <= MAX_WORDS:
            return record


def _write(rng: random.Random, split: str) -> dict:
    scene = Scene(rng, split)
    cast_villagers(scene)
    trouble, help_ = rng.choice(tuple(TROUBLES)), rng.choice(tuple(HELP))
    aside_early = rng.random() < 0.5

    if rng.random() < 0.6:
        scene.say(_SETTINGS)
    aside_early = aside_early or not scene.said  # the document must not begin with the wish
    if aside_early:
        scene.say(_ASIDES)
    scene.say(_WANTS)
    scene.say(TROUBLES[trouble])
    scene.say(_MEETINGS)
    if not aside_early:
        scene.say(_ASIDES)
    scene.cast("B_ref", (scene.people["B"].name, f"the {scene.people['B'].trade}"))
    scene.say(HELP[help_])
    if rng.random() < 0.5:
        scene.say(_CODAS)
    hero, helper, thing = scene.people["A"], scene.people["B"], scene.slots["X.a"]
    pronoun = PRONOUNS[hero.gender]["him"]
    helped = (
        f"{help_.partition(' ')[0]} {pronoun} one" if help_.startswith("lent") else f"{help_} for {pronoun}"
    )
    return {
        "document": scene.text(),
        "summary": f"{hero.name} wanted {thing} but {trouble}, so {helper.name} {helped} "
        f"{scene.slots['P.at']}.",
        "character": hero.name,
        "helper": helper.name,
        "object": scene.slots["X"],
        "place": scene.slots["P"],
    }


def cast_villagers(scene: Scene) -> None:
    """Leaves open three different people A, B, C, places P, Q, things X, Y, the weather, and the time."""
    rng = scene.rng

    def person(role: str) -> None:
        taken = [other for key, other in scene.people.items() if key != role]
        scene.cast(role, rng.choice([person for person in PEOPLE if person not in taken]))

    def place(role: str, other: str) -> None:
        scene.cast(role, rng.choice(other_places(scene.slots.get(other))))

    def thing(role: str, other: str) -> None:
        scene.cast(role, rng.choice(other_things(scene.slots.get(f"{other}.n"))), rng.choice(QUALITIES))

    def weather(scene: Scene) -> None:
        name = rng.choice(tuple(WEATHERS))
        scene.cast("weather", name)
        scene.cast("wclause", WEATHERS[name])

    for role in "ABC":
        scene.leave_open((role,), lambda scene, role=role: person(role))
    for role, other in ("PQ", "QP"):
        scene.leave_open((role,), lambda scene, role=role, other=other: place(role, other))
    for role, other in ("XY", "YX"):
        scene.leave_open((role,), lambda scene, role=role, other=other: thing(role, other))
    scene.leave_open(("weather", "wclause"), weather)
    scene.leave_open(("time",), lambda scene: scene.cast("time", rng.choice(TIMES)))
