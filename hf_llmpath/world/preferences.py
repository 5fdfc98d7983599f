"""Generates the `preferences` view: pairs of replies of which the judge clearly prefers the first.

The rejected reply has one of the faults that models have: it names the wrong person; answers another
question; is curt, rude, flattering, or rambling; repeats itself; or breaks off.
"""

from __future__ import annotations

import random

from .chats import FACTUAL, spoil
from .judge import judge
from .realize import Redraw
from .replies import INTENTS, answer, ask, cast_chat

FAULTS: tuple[str, ...] = (
    "wrong",
    "off_topic",
    "curt",
    "rude",
    "flattery",
    "rambling",
    "repeating",
    "broken_off",
)
# Minimum difference between the judge's scores of a pair.
MARGIN = 0.25


def preference(rng: random.Random, split: str) -> dict:
    """Returns a pair: `prompt`, `chosen`, `rejected` (lists of messages), `intent`, `fault`, both scores."""
    while True:
        fault = rng.choice(FAULTS)
        intent = rng.choice(FACTUAL if fault == "wrong" else tuple(INTENTS))
        try:
            scene = cast_chat(rng, split)
            prompt = ask(scene, intent)
            good = answer(scene, intent)
            better = " ".join(good)
            worse = spoil(scene, intent, list(good), fault)
        except Redraw:
            continue
        scores = judge(prompt, better).score, judge(prompt, worse).score
        if scores[0] - scores[1] >= MARGIN:
            break
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": better}],
        "rejected": [{"role": "assistant", "content": worse}],
        "intent": intent,
        "fault": fault,
        "score_chosen": scores[0],
        "score_rejected": scores[1],
    }
