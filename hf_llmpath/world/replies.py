"""Defines the prompts and the good replies of every intent.

Each intent is a row of a table: ways to ask, then one tuple of ways per sentence of the reply. The roles are
A for a villager and W for A's place of work; X for a thing, M for the person who repairs it, and N for M's
place of work; P and Q for places; B for another villager; and H for the thing that the weather calls for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from .realize import Scene
from .vocabulary import (
    ANIMALS,
    FOODS,
    JOBS,
    PEOPLE,
    PERSON_BY_TRADE,
    PLACE_BY_NOUN,
    QUALITIES,
    THING_BY_NOUN,
    THINGS,
    TIMES,
    WEATHERS,
    other_places,
    other_things,
)

WEATHER_NEEDS: dict[str, str] = {
    "sunny": "hat",
    "windy": "kite",
    "rainy": "umbrella",
    "foggy": "lantern",
    "snowy": "scarf",
    "cold": "scarf",
}
SORROWS: tuple[str, ...] = (
    "lost {A.his} {X}",
    "burned the supper",
    "slept badly",
    "broke {A.his} {X}",
    "fell into a puddle",
)


@dataclass(frozen=True)
class Intent:
    """Ways to ask (`prompts`) and, for each sentence of a good reply, ways to say it (`reply`)."""

    prompts: tuple[str, ...]
    reply: tuple[tuple[str, ...], ...]


INTENTS: dict[str, Intent] = {
    "tale": Intent(
        (
            "[Please |]tell me a [short |little |]tale about {A}[| the {A.trade}] and {X.a}.",
            "[Can|Could] you [write|tell me] a [short |little |]story about {A}[| the {A.trade}] and {X.a}?",
            "I [would like|want] a [short |little |]story about {A}[| the {A.trade}] and {X.a}.",
        ),
        (
            (
                "{A} the {A.trade} wanted {X.a} [more than anything|with all {A.his} heart|very much].",
                "[One|On a] {weather} {time}, {A} the {A.trade} [saw|dreamed of] {X.a}[| and wanted it].",
            ),
            (
                "{B} [had|owned] one, but would not [sell it|give it away][| for all the coins in "
                "the village].",
                "{B} had it, and would only give it to somebody who {jobbed}.",
            ),
            (
                "So {a} {jobbed}[| all day|, singing all the while| until {A.his} arms hurt].",
                "So {a} {jobbed} for {b.him}[| until dark], and a {animal} [watched|yawned|sneezed].",
            ),
            (
                "In the end {A} {X.used} the {X}[| with a smile], and {X.result}.",
                "That [evening|night] {A} {X.used} the {X}[| for everybody| at last], and {X.result}.",
            ),
        ),
    ),
    "advice": Intent(
        (
            "I [want|wish for] {X.a}, but I have no coins. What [should|can] I do?",
            "I have no coins, but I [would like|want] {X.a}. [What should I do|What can I do|Can you "
            "help me]?",
            "How can I get {X.a} [if I have no coins|with no coins]?",
        ),
        (
            (
                "You could [ask|go to] {B} and [offer to|say that you will] {job} [for|in return for] {X.a}.",
                "[Perhaps|I think] you could {job} for {B} [and ask for|in return for] {X.a}.",
                "[First|Just] offer to {job} for {B}, and then ask for the {X.n}.",
            ),
            (
                "[People|Most people] like [help|good work] [more|better] than coins.",
                "[I hope|I am sure] that you will soon [have|{X.use}] your {X}.",
                "[Good luck|Be brave], and [smile|do not give up]!",
            ),
        ),
    ),
    "mend": Intent(
        (
            "My {X} is [broken|in pieces]. Who can mend it[| for me]?",
            "[Help|Oh no], my {X} is [broken|in pieces]! Who [could|can] mend it?",
            "Who can mend [my|a broken] {X}[| for me]?",
        ),
        (
            (
                "{M} the {M.trade} can mend [it|your {X}|the {X.n}][| for you].",
                "[Take|Bring] [it|your {X}|the {X.n}] to {M} the {M.trade}.",
                "[You should|I would] ask {M} the {M.trade} to mend [it|your {X}|the {X.n}].",
            ),
            (
                "You will [find|meet] {m.him} {N.at}, where {m} works[| every day| from morning to night].",
                "[Go|Walk] {N.to}, because {m} works there[| every day| from morning to night].",
                "{m} works {N.at}[| every day], and {m} [is|will be] [quick|kind].",
            ),
        ),
    ),
    "person": Intent(
        (
            "Where can I [find|meet] {A}[| today| this {time}]?",
            "Where does {A}[| the {A.trade}] work[| these days]?",
            "I am looking for {A}[| the {A.trade}]. Where [should|can] I go?",
        ),
        (
            (
                "You [can|will] [find|meet] {A} {W.at}[| today| every day| this {time}].",
                "{A} the {A.trade} works {W.at}[| every day| from morning to night].",
                "[Go|Walk] {W.to} [and ask for|to meet] {A}[| the {A.trade}].",
            ),
            (
                "{a} will be [glad|happy|pleased] to see you[| there| this {time}].",
                "[Say|Call out] {A.his} name, and {a} will [wave|smile|come out].",
                "If {A.he} is [busy|not there], [wait|sit down] for a [moment|while].",
            ),
        ),
    ),
    "thing": Intent(
        (
            "{A} left {X.a} {P.at} and [took|carried] {Y.a} {Q.to}. Where is the {X.n}[| now]?",
            "{A} [took|carried] {Y.a} {Q.to}, but left {X.a} {P.at}. Where is the {X.n}[| now]?",
            "{X.a} [is|lies] {P.at}, and {A} has {Y.a} {Q.at}. Where is the {X.n}[| now]?",
        ),
        (
            (
                "The {X} is [|still ]{P.at}[|, as you said].",
                "You [can|will] find the {X} {P.at}[| now| today].",
                "Look for the {X} {P.at}, [where it was left|where you saw it|I think].",
            ),
            (
                "{A} did not [take|carry] it away[| from there| that day| at all].",
                "[Be quick|Go now|Hurry], [before|or] a {animal} [finds|takes] it!",
                "I hope that you [find|get] it before a {animal} does.",
            ),
        ),
    ),
    "kind": Intent(
        (
            "{A} [is sad|cried] because {A.he} {sorrow}. Please say something kind[| to {A.him}].",
            "{A} {sorrow} and is sad. [Can|Could] you cheer {A.him} up?",
            "Please say something kind to {A}, who {sorrow}.",
        ),
        (
            (
                "Dear {A}, [I am sorry that|I heard that] you {sorrow_you}.",
                "Oh {A}, I am [so|very] sorry [about it|that you are sad|that you {sorrow_you}].",
                "[Do not cry|Come here|Take heart], dear {A}.",
            ),
            (
                "It [can|could] happen to [everybody|the best of us], [even to {B}|and {B} says so too].",
                "Tomorrow [will be a better day|the sun will come back], and your friend {B} will [help "
                "you|be with you].",
                "[Come and sit|Sit down] by the fire with {B} and me, and we will [share|eat] {F}.",
            ),
        ),
    ),
    "describe": Intent(
        (
            "What is it like {P.at}[| in the {time}| on a {weather} day]?",
            "[Please |][describe|tell me about] {P}[| to me].",
            "I have never been {P.to}. What is it like[| there]?",
        ),
        (
            (
                "[When|The last time] I was {P.at}[| with {B}], {P.detail}.",
                "[Last week|One {time}] I [went|walked] {P.to}, where {P.detail}.",
                "{P.at}, {P.detail} when I was there with {B}.",
            ),
            (
                "The air smelled of {P.smell}[|, and I wanted to stay|, and {B} liked it too].",
                "[Everything|The whole place] smelled of {P.smell}[|, even my hat].",
            ),
            (
                "[You should|Do] go [there|and see it] [soon|one day|with {B}].",
                "I [think|am sure] you would like it[| there].",
            ),
        ),
    ),
    "riddle": Intent(
        (
            "[Please |][tell|give] me a riddle about {X.a}.",
            "Do you know a riddle [about|for] {X.a}?",
            "Make a riddle [for {B}|for my friend {B}] with the answer {X.n}[, please|].",
        ),
        (
            (
                "[Here is a riddle|Listen well|Listen, my friend]: {X.riddle}.",
                "{X.riddle}, [my friend|dear friend|as everybody knows].",
            ),
            ("What am I[|, do you think|, my friend]?", "[Who|What] [am I|can I be]?"),
        ),
    ),
    "who": Intent(
        (
            "Who is the {A.trade}[| here| in the village| these days]?",
            "What is the name of the {A.trade}[| here| in the village]?",
            "[Please |]tell me who the {A.trade} is.",
        ),
        (
            (
                "{A} is the {A.trade}[| here| in our village| these days].",
                "The {A.trade} [here |]is [called |]{A}[|, a friend of {B}].",
                "Our {A.trade} is [called |]{A}[|, and a good one too].",
            ),
            (
                "{a} works {W.at}[| every day], where it smells of {W.smell}.",
                "You [can|will] [find|meet] {a.him} {W.at}[| every day| in the {time}].",
                "[Go|Walk] {W.to} [and say hello|if you need {a.him}][| one {time}].",
            ),
        ),
    ),
    "weather": Intent(
        (
            "I am going {P.to}, and it is [a {weather} day|{weather} today]. What should I [take|bring]?",
            "It is [|so |very ]{weather} {P.at}. What should I [take|bring][| with me]?",
            "What should I [take|bring] {P.to} on a {weather} [day|{time}]?",
        ),
        (
            (
                "[Take|Bring] a {H}[| with you][| to be safe], because it is {weather}.",
                "On a {weather} [day|{time}] you [need|should take] a {H}[| with you].",
                "You will [need|be glad of] a {H} if it is {weather}[| {P.at}].",
            ),
            (
                "Then you can {H.use} it {P.at}[| all day| with {B}].",
                "[Have|I hope you have] a [good|happy] time {P.at}[| with {B}]!",
                "If you have no {H}, {B} [will|can] [lend|find] you one.",
            ),
        ),
    ),
}


def cast_chat(rng: random.Random, split: str) -> Scene:
    """Returns a scene in which every role that the intents name is open."""
    scene = Scene(rng, split)

    def villager(scene: Scene) -> None:
        person = rng.choice(PEOPLE)
        scene.cast("A", person)
        scene.cast("W", PLACE_BY_NOUN[person.work])

    def thing(scene: Scene) -> None:
        one = rng.choice(THINGS)
        mender = PERSON_BY_TRADE[one.mended_by]
        scene.cast("X", one, rng.choice(QUALITIES))
        scene.cast("M", mender)
        scene.cast("N", PLACE_BY_NOUN[mender.work])

    def other(scene: Scene) -> None:
        taken = (scene.people["A"], scene.people["M"])
        scene.cast("B", rng.choice([person for person in PEOPLE if person not in taken]))

    def another_thing(scene: Scene) -> None:
        scene.cast("Y", rng.choice(other_things(scene.slots["X.n"])), rng.choice(QUALITIES))

    def place(role: str, rival: str) -> None:
        scene.cast(role, rng.choice(other_places(scene.slots.get(rival))))

    def weather(scene: Scene) -> None:
        name = rng.choice(tuple(WEATHERS))
        scene.cast("weather", name)
        scene.cast("H", THING_BY_NOUN[WEATHER_NEEDS[name]])

    def job(scene: Scene) -> None:
        for role, value in zip(("job", "jobbed"), rng.choice(JOBS), strict=True):
            scene.cast(role, value)

    def sorrow(scene: Scene) -> None:
        value = rng.choice(SORROWS)
        scene.cast("sorrow", value)
        scene.cast("sorrow_you", value.replace("{A.his}", "your"))

    scene.leave_open(("A", "W"), villager)
    scene.leave_open(("X", "M", "N"), thing)
    scene.leave_open(("B",), other)
    scene.leave_open(("Y",), another_thing)
    scene.leave_open(("P",), lambda scene: place("P", "Q"))
    scene.leave_open(("Q",), lambda scene: place("Q", "P"))
    scene.leave_open(("weather", "H"), weather)
    scene.leave_open(("job", "jobbed"), job)
    scene.leave_open(("sorrow", "sorrow_you"), sorrow)
    scene.leave_open(("time",), lambda scene: scene.cast("time", rng.choice(TIMES)))
    scene.leave_open(("animal",), lambda scene: scene.cast("animal", rng.choice(ANIMALS)))
    scene.leave_open(("F",), lambda scene: scene.cast("F", rng.choice(FOODS)))
    return scene


def ask(scene: Scene, intent: str) -> str:
    """Returns the user's prompt."""
    return scene.say(INTENTS[intent].prompts, keep=False)


def answer(scene: Scene, intent: str) -> list[str]:
    """Returns the sentences of a good reply.

    Raises:
        Redraw: the split has no such reply for these roles.
    """
    scene.said, scene.recent = [], set()
    for ways in INTENTS[intent].reply:
        scene.say(ways)
    return list(scene.said)
