"""Generates texts from one small world of villagers, places, things, and wishes, for stages 6 to 17.

    >>> from hf_llmpath.world import generate
    >>> generate("stories", "test", size=1)[0]["text"]

| view | fields | contents |
|---|---|---|
| stories | text | tales of 60 to 110 words |
| reviews | text, label | 1 positive, 0 negative; word order decides |
| summaries | document, summary | a report and its one-sentence summary |
| questions | id, title, context, question, answers | SQuAD's fields |
| chats | messages, prompt, completion | replies of mixed quality |
| preferences | prompt, chosen, rejected | pairs that `judge` ranks with a clear margin |

Records also contain ground truth (`character`, `object`, `facts`, `kind`, ...). No sentence of five words or
more is in two splits (`splits.py`).
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator
from functools import lru_cache

from .chats import chat
from .judge import Judgement, judge
from .perfect_reader import read_review
from .preferences import preference
from .questions import questions
from .reviews import review
from .splits import SPLITS, check_name
from .stories import story
from .summaries import summary

__all__ = ["DEFAULT_SIZES", "SPLITS", "VIEWS", "Judgement", "generate", "judge", "read_review"]

VIEWS = ("stories", "reviews", "summaries", "questions", "chats", "preferences")
DEFAULT_SIZES: dict[str, dict[str, int]] = {
    "stories": {"train": 6000, "validation": 400, "test": 400},
    "reviews": {"train": 8000, "validation": 800, "test": 800},
    "summaries": {"train": 6000, "validation": 400, "test": 400},
    "questions": {"train": 10000, "validation": 600, "test": 600},
    "chats": {"train": 4000, "validation": 300, "test": 300},
    "preferences": {"train": 3000, "validation": 300, "test": 300},
}


def generate(view: str, split: str = "train", size: int | None = None, seed: int = 0) -> list[dict]:
    """Returns the first `size` records (by default `DEFAULT_SIZES[view][split]`) of a split of a view.

    The records depend only on the arguments, and the records of a smaller size are the first ones of a larger
    size.

    Raises:
        ValueError: the view or split is unknown (the message names the nearest match), or the size is
            negative.
    """
    check_name(view, VIEWS, "view")
    check_name(split, SPLITS, "split")
    size = DEFAULT_SIZES[view][split] if size is None else size
    if size < 0:
        raise ValueError(f"size ({size}) must be 0 or more")
    return copy.deepcopy(_written(view, split, size, seed))


@lru_cache(maxsize=len(VIEWS) * len(SPLITS))
def _written(view: str, split: str, size: int, seed: int) -> list[dict]:
    """Generates records and caches them: it takes seconds, and several stages of a process need the same."""
    records = list(itertools.islice(_RECORDS[view](random.Random(f"{seed}/{view}/{split}"), split), size))
    if view == "questions":
        for number, record in enumerate(records):
            record["id"] = f"world-{seed}-{split}-{number:05d}"
    return records


def _endless(make: Callable[[random.Random, str], dict]) -> Callable[[random.Random, str], Iterator[dict]]:
    def records(rng: random.Random, split: str) -> Iterator[dict]:
        while True:
            yield make(rng, split)

    return records


def _reviews(rng: random.Random, split: str) -> Iterator[dict]:
    while True:  # pairs of opposite labels, in random order, keep any number of reviews balanced
        first = rng.randint(0, 1)
        yield review(rng, split, first)
        yield review(rng, split, 1 - first)


def _questions(rng: random.Random, split: str) -> Iterator[dict]:
    while True:
        yield from questions(rng, split)


_RECORDS: dict[str, Callable[[random.Random, str], Iterator[dict]]] = {
    "stories": _endless(story),
    "reviews": _reviews,
    "summaries": _endless(summary),
    "questions": _questions,
    "chats": _endless(chat),
    "preferences": _endless(preference),
}
