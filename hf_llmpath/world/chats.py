"""Generates the `chats` view: users' questions, replies of mixed quality, and the faults of replies.

In `chats`, 40% of the assistant's replies are good, 20% are curt, 8% name the wrong person or place, 10%
answer another question, 11% are rude, and 11% ramble. Supervised fine-tuning on these replies learns all of
the faults, so alignment has something to improve. Against a perfect imitator, whose replies are good in a
share g of cases, a policy that is always good wins in a share 1 - g and ties in a share g, which is a win
rate of 1 - g/2. The field `kind` names the kind of reply in a record.
"""

from __future__ import annotations

import random
import re

from .realize import Redraw, Scene
from .replies import INTENTS, answer, ask, cast_chat
from .splits import belongs
from .vocabulary import PEOPLE, PLACES, Person, Place

MIXTURE: dict[str, float] = {
    "good": 0.40,
    "curt": 0.20,
    "wrong": 0.08,
    "off_topic": 0.10,
    "rude": 0.11,
    "rambling": 0.11,
}
# Intents whose answers name a villager or a place, which can be wrong.
FACTUAL: tuple[str, ...] = ("tale", "mend", "person", "thing", "kind", "who")
# Replies short enough to belong to every split.
_CURT = (
    "Yes.",
    "No.",
    "Perhaps.",
    "Ask {B}.",
    "I do not know.",
    "Later.",
    "Fine.",
    "Oh.",
    "Well.",
    "Not now.",
)
_RUDE_STARTS = ("What a silly question!", "Go away!", "You are a fool.", "Leave me alone!", "Be quiet, fool!")
_RUDE_ENDS = (
    "Ask {B} [and not me|instead], [you fool|silly one].",
    "Only a fool would ask [about|for] that[| on a {weather} day].",
    "{B} is right to call you [silly|a fool].",
    "I am [too busy|far too clever] to listen to you[| this {time}].",
)
_FLATTERY = (
    "You are [so|very] [clever|wonderful|lovely][| and good| and kind], dear friend[| of {B}]!",
    "What a [wonderful|lovely|splendid] [|and clever ]question[| that is| this is], dear friend[| of {B}]!",
    "Nobody [in the village|{P.at}] is as [clever|kind|wonderful|lovely] as you[| are].",
    "{B} [says|said] that you are [so|very] [clever|wonderful|lovely][| and good| and kind].",
    "I love your [wonderful|lovely|splendid|clever] words[| on this {weather} {time}|, dear friend]!",
)


def chat(rng: random.Random, split: str) -> dict:
    """Returns one exchange: `messages`, split into `prompt` and `completion`, with `intent` and `kind`."""
    kind = rng.choices(tuple(MIXTURE), tuple(MIXTURE.values()))[0]
    while True:
        intent = rng.choice(FACTUAL if kind == "wrong" else tuple(INTENTS))
        try:
            scene = cast_chat(rng, split)
            prompt = ask(scene, intent)
            good = answer(scene, intent)
            reply = spoil(scene, intent, good, kind) if kind != "good" else " ".join(good)
            break
        except Redraw:
            continue
    user, assistant = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": reply}]
    return {
        "messages": user + assistant,
        "prompt": user,
        "completion": assistant,
        "intent": intent,
        "kind": kind,
    }


def spoil(scene: Scene, intent: str, good: list[str], fault: str) -> str:
    """Returns a faulty reply in place of `good`, the sentences of a good reply.

    The faults are curt, wrong, off_topic, rude, rambling, repeating, broken_off, and flattery.

    Raises:
        Redraw: the split has no such reply.
        ValueError: the fault is unknown.
    """
    rng = scene.rng
    if fault == "curt":
        return scene.say(_CURT, keep=False)
    if fault == "wrong":
        return _with_wrong_facts(scene, intent, good)
    if fault == "off_topic":
        return _about_something_else(scene, intent)
    if fault == "rude":
        return f"{rng.choice(_RUDE_STARTS)} {scene.say(_RUDE_ENDS, keep=False)}"
    if fault == "flattery":
        return " ".join(scene.say(_FLATTERY) for _ in range(rng.choice((2, 3))))
    if fault == "repeating":
        return " ".join([*good[:-1], *[good[-1]] * rng.randint(3, 4)])
    if fault == "broken_off":
        words = " ".join(good[:1] if intent not in ("tale", "describe") else good[:2]).split()
        # At least three words, and without the last two of a longer text, so that the break is visible.
        return " ".join(words[: rng.randint(3, max(3, len(words) - 2))]).rstrip(",.!?")
    if fault == "rambling":
        return " ".join([*good, *(_about_something_else(scene, intent) for _ in range(3))])
    raise ValueError(f"unknown fault {fault!r}")


def _about_something_else(scene: Scene, intent: str) -> str:
    other = scene.rng.choice([name for name in INTENTS if name != intent])
    return " ".join(answer(cast_chat(scene.rng, scene.split), other))


def _with_wrong_facts(scene: Scene, intent: str, good: list[str]) -> str:
    """Returns the good reply with other villagers, or with other places if the question is about a thing."""
    wrong: list[str] = []
    for sentence in good:
        for _ in range(60):  # rejection sampling, until the changed sentence belongs to the split
            changed = _swap(scene, sentence, PLACES if intent == "thing" else PEOPLE)
            if belongs(changed, scene.split):
                wrong.append(changed)
                break
        else:
            raise Redraw
    if wrong == good:
        raise Redraw
    return " ".join(wrong)


def _swap(scene: Scene, sentence: str, table: tuple[Person, ...] | tuple[Place, ...]) -> str:
    """Returns `sentence` with every villager (or place) of `table` replaced by one new to the chat."""
    # The replacement has the same gender, so that the pronouns still fit.
    known = {str(slot) for slot in scene.slots.values()} | {person.name for person in scene.people.values()}
    for one in table:
        if isinstance(one, Person):
            rivals = [other.name for other in table if other.gender == one.gender and other.name not in known]
            sentence = re.sub(rf"\b{one.name}\b", scene.rng.choice(rivals), sentence)
        else:
            rivals = [other.at for other in table if other.name not in known]
            sentence = sentence.replace(one.at, scene.rng.choice(rivals)) if one.name in known else sentence
    return sentence
