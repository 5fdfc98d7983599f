"""Defines the lexicon of the world: its people, places, things, and animals, with their grammar.

Facts that hold in every view are stated here once: Tom is always the miller, and the mill always smells of
flour. Other modules read these tables, so a fact cannot differ between a story and a chat.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, eq=False)
class Person:
    """A villager: the name, gender (`"f"` or `"m"`), trade, and the noun of the place of work."""

    name: str
    gender: str
    trade: str
    work: str


@dataclass(frozen=True, eq=False)
class Place:
    """A place: its noun, its preposition, its smell, and two clauses about what happens there."""

    noun: str
    preposition: str
    smell: str
    details: tuple[str, str]

    @property
    def name(self) -> str:
        return f"the {self.noun}"

    @property
    def at(self) -> str:
        return f"{self.preposition} the {self.noun}"

    @property
    def to(self) -> str:
        return f"to the {self.noun}"


@dataclass(frozen=True, eq=False)
class Thing:
    """An object.

    Attributes:
        noun: its name.
        use, used: plain form and past form of its verb.
        result: a clause about what happens when someone uses it.
        riddle: a riddle about it.
        mended_by: the trade that repairs it.
        where: where it is used, with a space before it, if there is only one such place.
        weathers: the weathers in which it is used; empty for all.
        soft: whether it tears when it breaks.
    """

    noun: str
    use: str
    used: str
    result: str
    riddle: str
    mended_by: str
    where: str = ""
    weathers: tuple[str, ...] = ()
    soft: bool = False


@dataclass(frozen=True, eq=False)
class Food:
    """Something to eat: the phrase with its article, and the head noun alone."""

    phrase: str
    noun: str


PEOPLE: tuple[Person, ...] = (
    Person("Mara", "f", "baker", "bakery"),
    Person("Ada", "f", "teacher", "school"),
    Person("Nell", "f", "sailor", "harbour"),
    Person("Rosa", "f", "painter", "tower"),
    Person("Ivy", "f", "gardener", "garden"),
    Person("June", "f", "weaver", "mill"),
    Person("Wren", "f", "singer", "inn"),
    Person("Tilda", "f", "potter", "market"),
    Person("Hazel", "f", "farmer", "orchard"),
    Person("Edith", "f", "keeper", "lighthouse"),
    Person("Tom", "m", "miller", "mill"),
    Person("Finn", "m", "fisher", "lake"),
    Person("Otto", "m", "smith", "forge"),
    Person("Hugo", "m", "cook", "inn"),
    Person("Ben", "m", "shepherd", "hill"),
    Person("Jonas", "m", "carpenter", "barn"),
    Person("Sam", "m", "hunter", "forest"),
    Person("Karl", "m", "guard", "bridge"),
    Person("Arlo", "m", "tailor", "market"),
    Person("Felix", "m", "pilot", "harbour"),
)

PLACES: tuple[Place, ...] = (
    Place("mill", "at", "flour", ("the big wheel went round", "white dust hung in the air")),
    Place("harbour", "at", "the sea", ("the boats danced on the water", "the sea sang softly")),
    Place("market", "at", "plums", ("the sellers called and laughed", "the apples lay in neat rows")),
    Place("orchard", "in", "apples", ("bees hummed in the trees", "an apple fell into the grass")),
    Place("lighthouse", "at", "oil", ("the great lamp looked out to sea", "the stairs went round and round")),
    Place("bridge", "on", "wet stone", ("the water was fast and loud", "every step was loud")),
    Place("school", "at", "paper", ("a small bell rang in the yard", "the tables stood in neat rows")),
    Place("garden", "in", "roses", ("red roses hung over the wall", "a snail walked along the wall")),
    Place("hill", "on", "grass", ("white sheep ate the grass", "the grass bent in the wind")),
    Place("inn", "at", "soup", ("the fire danced", "spoons rang in the soup")),
    Place("lake", "at", "rain", ("frogs sang in the grass", "the water was as quiet as a table")),
    Place("forest", "in", "wood", ("the leaves whispered", "an owl called once")),
    Place("barn", "in", "warm hay", ("the hens talked and talked", "a cat slept on the hay")),
    Place("forge", "at", "smoke", ("the hammer rang and rang", "the fire jumped and danced")),
    Place("bakery", "at", "warm bread", ("the fire sang under the bread", "the bread lay in neat rows")),
    Place("tower", "in", "dust", ("the old clock ticked", "the stairs went up and up")),
)

THINGS: tuple[Thing, ...] = (
    Thing(
        "kite",
        "fly",
        "flew",
        "it danced above the roofs",
        "I have no feet, but I dance in the wind",
        "weaver",
        " on the hill",
        ("windy",),
        True,
    ),
    Thing(
        "lantern",
        "light",
        "lit",
        "its light fell on every face",
        "I drink oil, and the dark is afraid of me",
        "smith",
    ),
    Thing(
        "drum",
        "play",
        "played",
        "it sounded like happy rain",
        "I cry out loud, and people dance to it",
        "carpenter",
    ),
    Thing(
        "flute",
        "play",
        "played",
        "the tune ran down the street",
        "I have no breath, so I sing with your breath",
        "carpenter",
    ),
    Thing(
        "book",
        "read",
        "read",
        "the first page was already funny",
        "I have leaves, but I am not a tree",
        "teacher",
        soft=True,
    ),
    Thing(
        "map",
        "read",
        "read",
        "every road was on it",
        "I have a road but no dust, and a sea but no water",
        "painter",
        soft=True,
    ),
    Thing(
        "boat",
        "sail",
        "sailed",
        "it turned round like a proud duck",
        "I walk on water and never get wet feet",
        "carpenter",
        " on the lake",
    ),
    Thing(
        "bell",
        "ring",
        "rang",
        "one clear note filled the air",
        "I have a mouth, but I cannot drink soup",
        "smith",
    ),
    Thing(
        "clock",
        "wind",
        "wound",
        "it ticked like a small heart",
        "I have two hands, but I cannot carry anything",
        "smith",
    ),
    Thing(
        "kettle",
        "fill",
        "filled",
        "it sang before the tea was ready",
        "I sing when I am hot and full of water",
        "smith",
    ),
    Thing(
        "scarf",
        "wear",
        "wore",
        "the cold could not get in",
        "I hold on to you when you are cold, and you like it",
        "weaver",
        "",
        ("cold", "snowy", "windy", "foggy"),
        True,
    ),
    Thing(
        "hat",
        "wear",
        "wore",
        "it looked like a sleeping cat",
        "I sit on your head and nobody finds it silly",
        "tailor",
        soft=True,
    ),
    Thing(
        "umbrella",
        "open",
        "opened",
        "it was as good as a roof",
        "I sleep in the sun and wake up in the rain",
        "tailor",
        "",
        ("rainy",),
        True,
    ),
    Thing(
        "ball",
        "throw",
        "threw",
        "it came back like a good dog",
        "I jump high, but I have no feet",
        "tailor",
        soft=True,
    ),
    Thing(
        "puppet",
        "move",
        "moved",
        "it bowed to everybody",
        "I dance on a string and never stop to drink",
        "tailor",
    ),
    Thing(
        "basket",
        "carry",
        "carried",
        "it was light and strong",
        "I have one arm and carry apples home",
        "weaver",
    ),
)

QUALITIES: tuple[str, ...] = (
    "red",
    "blue",
    "green",
    "yellow",
    "white",
    "orange",
    "old",
    "little",
    "striped",
    "odd",
)

FOODS: tuple[Food, ...] = (
    Food("a jar of honey", "honey"),
    Food("a plum cake", "cake"),
    Food("an apple pie", "pie"),
    Food("a bag of nuts", "nuts"),
    Food("a warm loaf", "bread"),
    Food("a bowl of soup", "soup"),
    Food("a piece of cheese", "cheese"),
)

ANIMALS: tuple[str, ...] = ("goat", "crow", "dog", "donkey", "goose", "cat", "pig", "owl")

# Plain form and past form of small jobs that people ask for in return.
JOBS: tuple[tuple[str, str], ...] = (
    ("sweep the yard", "swept the yard"),
    ("carry the water", "carried the water"),
    ("feed the hens", "fed the hens"),
    ("stack the wood", "stacked the wood"),
    ("paint the door", "painted the door"),
    ("peel the onions", "peeled the onions"),
    ("wash the windows", "washed the windows"),
    ("count the sheep", "counted the sheep"),
)

# Maps a weather to two clauses that hold only in that weather.
WEATHERS: dict[str, tuple[str, str]] = {
    "sunny": ("the sun lay on the roofs", "the stones were warm"),
    "windy": ("the wind pulled at every hat", "the doors rattled"),
    "rainy": ("rain ran down the walls", "the street was one long puddle"),
    "foggy": ("fog hid the end of the street", "the roofs were lost in fog"),
    "snowy": ("snow lay on the fences", "the trees were white with snow"),
    "cold": ("breath hung in the air like smoke", "the wind was as cold as stone"),
}

# Events for which people want a thing to be ready.
EVENTS: tuple[str, ...] = ("the fair", "the dance", "the feast")
TIMES: tuple[str, ...] = ("morning", "afternoon", "evening")
RELATIVES: tuple[str, ...] = ("aunt", "uncle", "sister", "brother")

PERSON_BY_NAME: dict[str, Person] = {person.name: person for person in PEOPLE}
PLACE_BY_NOUN: dict[str, Place] = {place.noun: place for place in PLACES}
THING_BY_NOUN: dict[str, Thing] = {thing.noun: thing for thing in THINGS}
PERSON_BY_TRADE: dict[str, Person] = {person.trade: person for person in PEOPLE}


@cache
def other_places(name: str | None) -> tuple[Place, ...]:
    """Returns all places except the one with this `name`."""
    return tuple(place for place in PLACES if place.name != name)


@cache
def other_things(noun: str | None) -> tuple[Thing, ...]:
    """Returns all things except the one with this `noun`."""
    return tuple(thing for thing in THINGS if thing.noun != noun)
