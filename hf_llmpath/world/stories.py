"""Generates the `stories` view: short tales with a wish, an obstacle, a turn, and an ending."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

from .grammar import words
from .plots_people import LIGHTS, bargain, concert, night_walk, present
from .plots_things import broken, lost, stuck, swapped
from .realize import Redraw, Scene
from .state import World
from .vocabulary import (
    ANIMALS,
    EVENTS,
    FOODS,
    JOBS,
    PEOPLE,
    PERSON_BY_TRADE,
    PLACE_BY_NOUN,
    QUALITIES,
    RELATIVES,
    THING_BY_NOUN,
    THINGS,
    TIMES,
    WEATHERS,
    Person,
    Thing,
    other_places,
)

MIN_WORDS, MAX_WORDS = 60, 110
PLOTS: tuple[Callable[[Scene, World], None], ...] = (
    lost,
    stuck,
    broken,
    swapped,
    bargain,
    present,
    night_walk,
    concert,
)
_THINGS_OF_PLOT: dict[Callable[[Scene, World], None], tuple[Thing, ...]] = {
    present: tuple(THING_BY_NOUN[noun] for noun in ("hat", "scarf", "bell", "basket")),
    night_walk: tuple(THING_BY_NOUN[noun] for noun in LIGHTS),
    concert: tuple(THING_BY_NOUN[noun] for noun in ("drum", "flute", "bell")),
}
_WEATHER_NAMES = tuple(WEATHERS)
JUNK = ("a spoon", "a sleeping cat", "an empty jar", "an apple", "two buttons")
_LATER = {
    "morning": ("That afternoon", "By noon", "After a while"),
    "afternoon": ("That evening", "Before dark", "After supper"),
    "evening": ("That night", "Before bedtime", "After supper"),
}


def story(rng: random.Random, split: str) -> dict:
    """Returns one story: `text`, and as ground truth `plot`, `character`, `helper`, `object`, and `facts`."""
    plot = rng.choice(PLOTS)
    while True:
        scene = Scene(rng, split, MAX_WORDS)
        world = World()
        _cast(
            scene, _THINGS_OF_PLOT.get(plot, THINGS), TIMES[1:] if plot is swapped else TIMES, plot is broken
        )
        try:
            plot(scene, world)
        except Redraw:
            continue
        text = _in_paragraphs(scene, rng)
        if text.count(scene.people["A"].name) >= 2 and MIN_WORDS <= len(words(text)) <= MAX_WORDS:
            break
    return {
        "text": text,
        "plot": plot.__name__,
        "character": scene.people["A"].name,
        "helper": scene.people["B"].name if "B" in scene.people else None,
        "object": scene.slots["X"],
        "facts": world.facts,
    }


def _cast(scene: Scene, things: tuple[Thing, ...], times: Sequence[str], needs_mender: bool) -> None:
    """Leaves every role open, so that the first sentence that names a role settles it."""
    rng = scene.rng

    def hero(scene: Scene) -> None:
        weather = rng.choice(_WEATHER_NAMES)
        thing = rng.choice(_of_weather(things, weather))
        # A kite flies by day: the wish of a story that starts in the morning comes true before night.
        time = "morning" if thing.noun == "kite" and TIMES[0] in times else rng.choice(times)
        scene.cast("A", rng.choice(PEOPLE))
        quality = rng.choice(QUALITIES)
        scene.cast("X", thing, quality)
        scene.cast("broke", "tore" if thing.soft else "broke in two")
        scene.cast("weather", weather)
        scene.cast("wclause", WEATHERS[weather])
        scene.cast("time", time)
        scene.cast("later", "That night" if thing.noun == "lantern" else _LATER[time])
        if needs_mender:
            scene.cast("B", PERSON_BY_TRADE[thing.mended_by])
            scene.cast("Q", PLACE_BY_NOUN[scene.people["B"].work])
            if scene.people["A"] == scene.people["B"]:  # draw again if the hero repairs such things
                hero(scene)

    def other(scene: Scene) -> None:
        # Most pairs are a woman and a man, whose pronouns cannot be confused.
        gender = scene.people["A"].gender
        wanted = gender if rng.random() < 0.2 else {"f": "m", "m": "f"}[gender]
        scene.cast("B", rng.choice(_others_of(wanted, scene.people["A"])))

    def here(scene: Scene) -> None:
        scene.cast("P", rng.choice(other_places(scene.slots.get("Q"))))

    def there(scene: Scene) -> None:
        scene.cast("Q", rng.choice(other_places(scene.slots.get("P"))))

    def job(scene: Scene) -> None:
        plain, past = rng.choice(JOBS)
        scene.cast("job", plain)
        scene.cast("jobbed", past)

    main = ("A", "X", "broke", "weather", "wclause", "time", "later")
    if needs_mender:
        scene.leave_open((*main, "B", "Q"), hero)
    else:
        scene.leave_open(main, hero)
        scene.leave_open(("B",), other)
        scene.leave_open(("Q",), there)
    scene.leave_open(("P",), here)
    scene.leave_open(("job", "jobbed"), job)
    scene.leave_open(("F",), lambda scene: scene.cast("F", rng.choice(FOODS)))
    scene.leave_open(("animal",), lambda scene: scene.cast("animal", rng.choice(ANIMALS)))
    scene.leave_open(("event",), lambda scene: scene.cast("event", rng.choice(EVENTS)))
    scene.leave_open(("relative",), lambda scene: scene.cast("relative", rng.choice(RELATIVES)))
    scene.cast("junk", JUNK)


@cache
def _of_weather(things: tuple[Thing, ...], weather: str) -> tuple[Thing, ...]:
    return tuple(thing for thing in things if not thing.weathers or weather in thing.weathers)


@cache
def _others_of(gender: str, person: Person) -> tuple[Person, ...]:
    return tuple(one for one in PEOPLE if one.gender == gender and one is not person)


def _in_paragraphs(scene: Scene, rng: random.Random) -> str:
    """Returns the sentences of the scene as one paragraph, or as three."""
    said = scene.said
    if rng.random() < 0.5 or len(said) < 7:
        return " ".join(said)
    first, second = rng.randint(2, 3), rng.randint(len(said) - 2, len(said) - 1)
    return "\n".join(" ".join(sentences) for sentences in (said[:first], said[first:second], said[second:]))
