"""Tells stories between people: a bargain, a present, a walk in the dark, and a first concert.

The roles and slots are those of `plots_things.py`.
"""

from __future__ import annotations

from .plots_things import ending
from .realize import Scene
from .state import World
from .vocabulary import PLACE_BY_NOUN

# Sights of the evening: the wish, the place, and two ways to describe the sight.
SIGHTS: tuple[tuple[str, str, tuple[str, str]], ...] = (
    ("see the moon rise", "hill", ("the moon came up like a big cheese", "the moon climbed out of the sea")),
    (
        "see the boats come home",
        "harbour",
        ("one white boat after the other came home", "every boat carried a light"),
    ),
    ("hear the owls sing", "forest", ("the owls sang and sang", "one owl sang and seven owls laughed")),
    ("see the great lamp", "lighthouse", ("the great lamp looked at them", "the lamp painted the sea white")),
)
# The helper's thing for the walk, and why neither can use it alone: helper's trouble, hero's trouble.
LIGHTS: dict[str, tuple[str, str]] = {
    "lantern": ("I am afraid of the dark", "I am not afraid, but I have no light"),
    "map": ("I cannot read it", "I can read, but I do not know the way"),
    "bell": ("I do not know the way", "I know the way, but the wolves do too"),
}
SAD_REASONS: tuple[str, ...] = (
    "nobody had come to {event}",
    "{B.his} {relative} had gone to sea",
    "{B.his} supper had burned",
    "{B.his} best friend was far away",
)


def bargain(scene: Scene, world: World) -> None:
    """Tells how the hero works for a thing that the other person has, until the tables turn."""
    world.own("B", "X")
    world.want("A", "X")
    scene.say(
        [
            "{A} the {A.trade} wanted {X.a} [more than anything|with all {A.his} heart|day and night], but "
            "the only one "
            "was in the hands of {B}.",
            "[Every|Each] {time} {A} the {A.trade} [dreamed of|thought of] the {X} that {B} owned.",
            "[One|On a] {weather} {time}, {A} the {A.trade} saw {X.a} in the hands of {B} and wanted "
            "it at once.",
            "{B} the {B.trade} had {X.a}, and {A} the {A.trade} wished for it.",
        ]
    )
    scene.say(
        [
            '"[May|Could] I have [your|that] {X}[| one day| for a day], [please|dear {B}]?" {a} asked[ at '
            "last| softly|].",
            '"What do you want for [your {X}|that {X} of yours], [please|dear {B}]?" {a} asked [at '
            "last|softly].",
            '"I would give [anything|my hat|all my coins] for [your|that] {X}," {a} told {B}.',
        ]
    )
    scene.say(
        [
            '"[Then|First|Just|Please] {job} for me[| today| before dark][| and it is yours]," said {B}.',
            '{B} [smiled|nodded|thought for a while]. "If you {job} for me[| today| before dark], it '
            'is yours."',
            '"I do not need [coins|anything], but somebody must {job}[| today| before dark]," said {B}.',
        ]
    )
    world.move("A", "Q")
    scene.maybe(
        [
            "{A} set to work {Q.at}, where {Q.detail}.",
            "So {A} went {Q.to}, where {Q.detail}, and set to work.",
            "{wclause}, and {A} [did not wait|went to work {Q.at}].",
        ]
    )
    scene.maybe(
        [
            "[Soon|Before long] a {animal} got in the way, and {A} had to do it all again.",
            "Twice a {animal} got in the way, and twice {a} had to do it again.",
            "It was more work than it looked, and a {animal} [watched|came to watch] and [sneezed|yawned].",
        ]
    )
    scene.say(
        [
            "{A} {jobbed} [to the end|until {A.his} arms hurt|without a rest][, singing all the while|].",
            "{A} {jobbed} so well that even the {animal} looked pleased.",
            "All {time} long {a} {jobbed}, [singing|hungry and happy|without a word].",
        ]
    )
    world.give("B", "A", "X")
    scene.say(
        [
            '"Nobody has ever worked so [hard|well] for {X.a}," said {B}, and [smiled|handed it over|gave '
            "{a.him} the {X.n}].",
            '"[Take it|It is yours]," said {B}, and [handed over|held out] the {X}[ with a smile| at once|].',
            "{B} [looked at it all|came back], [nodded|clapped], and gave {A} the {X}[ without a word|].",
        ]
    )
    ending(scene, world, again="at last")
    if scene.room:
        scene.say(
            [
                "{B} [wanted it back|could not sleep without it] and came to ask for it[| that "
                "night| the next day].",
                "But {B} wanted the {X.n} the very next day, and came to ask for it.",
            ]
        )
        scene.say(
            [
                '"[Good|Please do|Take it]," said {A}. "[Just|But first] {job} for me[| today| '
                'before dark]."',
                '"Only if you {job} for me[| today| before dark]," said {A}, laughing.',
            ]
        )


def present(scene: Scene, world: World) -> None:
    """Tells how an animal eats a present on the way and becomes the present itself."""
    scene.leave_open(("reason",), lambda scene: scene.cast("reason", scene.rng.choice(SAD_REASONS)))
    world.own("A", "F")
    world.own("A", "X")
    world.move("B", "P")
    scene.say(
        [
            "[One|On a] {weather} {time}, {B} the {B.trade} sat {P.at} and [would not smile|did not "
            "say a word].",
            "{B} the {B.trade} had not [laughed|smiled] since Monday, and sat alone {P.at}.",
            "{P.at}, where {P.detail}, {B} the {B.trade} sat alone and [would not smile|did not sing].",
        ]
    )
    scene.maybe(
        [
            "It was [all|] because {reason}.",
            "Everybody knew [why:|that] {reason}.",
            "[Somebody said|People said] that {reason}.",
        ]
    )
    world.want("A", "B to smile")
    scene.say(
        [
            "{A} the {A.trade} wanted to [cheer {b.him} up|help], so {a} took {F} and set out.",
            '"[I will bring|I must take] {b.him} {F}," said {A} the {A.trade}, and set out.',
            "{A} the {A.trade} [had|owned] little, but {a} took {F} and set out to [cheer {b.him} up|make "
            "{b.him} laugh].",
        ]
    )
    world.give("A", "animal", "F")
    scene.say(
        [
            "On the [road|way], {Q.at}, a hungry {animal} [smelled|saw] the {F.n} and left nothing.",
            "{Q.at}, where {Q.detail}, a {animal} [smelled|saw] the {F.n} and left nothing.",
            "But a {animal} was waiting {Q.at}, and soon nothing was left of the {F.n}.",
        ]
    )
    scene.maybe(
        [
            '"Now I have [nothing|nothing left] for {B}!" [cried|said|sighed] {A}.',
            '"That was for {B}[|, not for you], you [bad|silly] {animal}!" [cried|said] {A}.',
        ]
    )
    scene.say(
        [
            "The {animal} [looked sorry|hung its head], and [that|its face] gave {A} an idea.",
            "The {animal} looked so [sorry|pleased] that {A} had to laugh.",
            "{a} was sad for a moment, but the {animal} looked [so sorry|so pleased|very funny].",
            "Then {A} looked at the {animal} and had [an idea|a very good idea].",
        ]
    )
    world.give("A", "animal", "X")
    world.move("A", "P")
    scene.say(
        [
            "So {A} tied {A.his}[| own| good| best] {X} to the {animal} and [led|took] it {P.to}.",
            "{a} [put|tied] {A.his} own {X} on the {animal}, and [together|side by side] they went {P.to}.",
        ]
    )
    scene.say(
        [
            "When {B} saw the {animal} with the {X}, {b} laughed until [the windows shook|{b} had to "
            "sit down].",
            "{B} [looked at|saw] the {animal}, [looked at|saw] the {X}, and laughed [out loud|at last].",
        ]
    )
    scene.maybe(
        [
            '"[That|This] is the best {animal} [of all|in the village]," said {B}. "Can it '
            '[dance|cook|sing]?"',
            '"I was going to bring you {F}," said {A}. "The {animal} had another idea."',
            "So the {animal} got the {X}, and {B} got [the {animal}|a friend|a good laugh].",
            "From then on the {animal} had on the {X} every Sunday, and {B} never sat alone again.",
            "{wclause}, but {A}, {B} and the {animal} [danced|sang] until [dark|bedtime|the moon came out].",
        ]
    )


def night_walk(scene: Scene, world: World) -> None:
    """Tells how two people, each of whom lacks what the other has, reach a sight together."""

    def sight(scene: Scene) -> None:
        wish, noun, seen = scene.rng.choice([one for one in SIGHTS if one[1] != scene.slots.get("P.n")])
        scene.cast("sight", wish)
        scene.cast("Q", PLACE_BY_NOUN[noun])
        scene.cast("seen", seen)

    def light(scene: Scene) -> None:
        for role, trouble in zip(("b_trouble", "a_trouble"), LIGHTS[str(scene.slots["X.n"])], strict=True):
            scene.cast(role, trouble)

    scene.leave_open(("Q", "sight", "seen"), sight)
    scene.leave_open(("b_trouble", "a_trouble"), light)
    world.want("A", str(scene.slots["sight"]))
    world.own("B", "X")
    scene.say(
        [
            "{A} the {A.trade} had always [wanted|wished] to {sight}[ {Q.at}|].",
            "[One|On a] {weather} evening, {A} the {A.trade} wanted to {sight} {Q.at}.",
            '"This evening I will {sight}," said {A} the {A.trade} one {weather} evening.',
        ]
    )
    scene.maybe(
        [
            "The road {Q.to} was long, and {wclause}.",
            "{a} put {F} in {A.his} bag and took the road {Q.to}.",
            "{wclause}, but {a} took {F} and set out.",
        ]
    )
    scene.say(
        [
            "{P.at}, where {P.detail}, it was soon so dark that {a} [stopped|sat down|could not go on].",
            "Halfway there, {P.at}, {a} [stopped|stood still], because the road [divided|was gone].",
        ]
    )
    scene.say(
        [
            'There sat {B} the {B.trade}[ on a stone| under a tree]. "I have {X.a}, but {b_trouble}."',
            '"I have {X.a}, but {b_trouble}," said {B} the {B.trade}, who sat [there|on a '
            "stone|under a tree].",
            '"I wanted to {sight} too," said {B}. "I have {X.a}, but {b_trouble}."',
        ]
    )
    scene.say(
        [
            '"[Well|Oh|Dear {B}], {a_trouble}," said {A}, and [then both of them smiled|they looked '
            "at each other].",
            '"{a_trouble}[|, my friend|, dear {B}]," [said|answered] {A}. "[Come with me|Let us go '
            'together|Come along]!"',
            '"[Well|Oh|Then listen|Dear {B}], {a_trouble}," [said|answered] {A}. "[Come with me|Let us go]!"',
        ]
    )
    world.move("A", "Q")
    world.move("B", "Q")
    scene.say(
        [
            "So {B} [carried|held up] the {X}, {A} [went in front|led the way], and [nobody was afraid|both "
            "of "
            "them sang|they sang a little].",
            "[Side by side|Step by step], with the {X}, {A} and {B} [went on|walked|found the way] {Q.to}.",
            "So the two of them took the {X} and [went on|walked on|sang] together.",
        ]
    )
    scene.maybe(
        [
            "A {animal} came along, because it did not like to be alone.",
            "Once a {animal} [sneezed|jumped up], and {A} and {B} both held on to each other.",
        ]
    )
    scene.say(
        [
            "{Q.at} they [sat down and |]shared {F}, and {seen}.",
            "When they [came|got] {Q.to}, {seen}, and {A} held {A.his} breath.",
            "They came {Q.to} just in time: {seen}[, and nobody said a word|].",
        ]
    )
    scene.maybe(
        [
            '"I would never have come [this far|here] without you," [whispered|said] {A}[ to {B}|].',
            '"It was [a long walk|cold and dark], but [I am glad|I am happy][| that we came]," '
            "[whispered|said] {B}.",
            "{A} and {B} [walked|went] home [together|at last|in the dark], and the {X} showed them the way.",
        ]
    )


def concert(scene: Scene, world: World) -> None:
    """Tells how a helpful animal gets a shy player through a concert."""
    world.own("A", "X")
    world.want("A", "to play at the event")
    scene.say(
        [
            "{A} the {A.trade} wanted to {X.use} {A.his} {X} at {event}, but {A.he} was [shy|afraid "
            "of people].",
            "{A} the {A.trade} had {X.a}, and {event} was [near|on Sunday], and {a} was so shy.",
            '"You must {X.use} your {X} at {event}," {B} told {A} the {A.trade}[ again|].',
        ]
    )
    scene.say(
        [
            "So {A} [practised|played] {P.at}, where {P.detail}, and only a {animal} was there.",
            "Every {time} {A} [practised|played] {P.at}, alone, except for a {animal}.",
            "{A} practised {P.at}, because only a {animal} [could hear it|was there to hear|lived there].",
        ]
    )
    scene.maybe(
        [
            '"What if they [laugh|do not like it|all go home]?" {a} asked {B}[| the {B.trade}| one {time}].',
            '"What if my hands [will not move|do it wrong]?" {a} asked {B}[| the {B.trade}| one {time}].',
            '"I will do everything wrong[|, {B}]," {a} said[| one {time}].',
        ]
    )
    scene.say(
        [
            '"[Just|Only|Please] look at [me|my hat|my nose|the {animal}][| all evening] and {X.use} it '
            '[for me|for us]," said {B}.',
            '{B} [smiled|nodded]. "[Just|Only|Please] look at [me|my hat|the {animal}] and {X.use} '
            '[it|your {X}]."',
            '"[I will|I shall] [be there|sit in front][| with the {animal}| in my best hat| for '
            'you]," said {B}.',
        ]
    )
    scene.say(
        [
            "The evening of {event} was {weather}, and [everybody|the whole village] [came|went] {Q.to}.",
            "Then {event} came, a {weather} evening, and {Q} was full of people.",
            "On the evening of {event} {wclause}, and [everybody|the whole village] sat {Q.at}.",
        ]
    )
    scene.maybe(
        [
            "{A} stood up with the {X}, looked at all the people, and could not move.",
            "{A} looked at the {X}, and {A.his} hands [shook|would not move][ like leaves|].",
        ]
    )
    scene.say(
        [
            "[Nobody|No one] said a word, until the {animal} [sneezed|walked in|yawned] and "
            "[sat|lay] down in front.",
            "Then {B} [nodded|smiled], [and|] the {animal} [sneezed|yawned], and {A} had to [laugh|smile].",
            "Behind {B} [somebody|something] [sneezed|yawned]: [it was the {animal}|the {animal} was "
            "there too].",
        ]
    )
    world.use("A", "X")
    scene.say(
        [
            "So {A} {X.used} the {X} [for the {animal} alone|for {B} alone|with all {A.his} heart], "
            "and {X.result}.",
            "[So|Then] {A} [looked at {B}|looked at the {animal}|shut both eyes|smiled] and {X.used} the "
            "{X}, and {X.result}.",
        ]
    )
    scene.maybe(
        [
            "{B} clapped first, and [then everybody did|soon the whole place shook|then the whole village].",
            "[Everybody|The whole village] clapped, and {B} [cried a little|sang|danced].",
            "[The people|The whole village] clapped until the windows shook[| and the {animal} ran away].",
        ]
    )
    scene.say(
        [
            '"[Again|Once more]!" [they cried|cried everybody], and {A}, who had been so shy, [bowed|played '
            "until bedtime].",
            '"Were you afraid?" [asked|whispered] {B}. "Only of the {animal}," said {A}.',
            "{A} shared {F} with the {animal} that night, half each.",
        ]
    )
