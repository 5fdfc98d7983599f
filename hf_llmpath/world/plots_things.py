"""Tells stories about a thing: lost and found, stuck and freed, broken and repaired, swapped by mistake.

A plot changes the state of the simulated world and tells each event in one of several ways. The roles are A
for the hero, B for the other person, X for the thing, P and Q for places, and F for food; see `realize.Scene`
for the slots.
"""

from __future__ import annotations

from .realize import Scene
from .state import World

# Where a thing may get stuck, how the hero tries alone, and how two people free it.
SPOTS: tuple[tuple[str, str, str], ...] = (
    ("in the top of a tall tree", "jumped and jumped", "shook the tree"),
    ("on the roof of the barn", "threw stones at it", "climbed on two old boxes"),
    ("in the middle of the lake", "threw stones behind it", "took a long piece of wood"),
    ("under a heavy cart", "pulled with both hands", "pulled the cart away"),
)


def lost(scene: Scene, world: World) -> None:
    """Tells how an animal carries off the thing, and how the hero follows and bargains for it."""
    world.own("A", "X")
    world.own("A", "F")
    world.lose("A", "X", "animal")
    world.want("A", "X")
    scene.say(
        [
            "[One|On a] {weather} {time}, {A} the {A.trade} could not find {A.his} {X}[ at all|].",
            "{A} the {A.trade} had lost {A.his} {X}[ again|], and the {weather} {time} felt "
            "[long|dull|empty] without it.",
            "[One|On a] {weather} {time}, {A} the {A.trade} [reached|looked] for {A.his} {X} and "
            "found only air.",
            "The {X} was gone, and all {time} {A} the {A.trade} looked for it.",
        ]
    )
    scene.maybe(
        [
            "It had come from {A.his} {relative}, and {a} wanted it back before [dark|supper|bedtime].",
            "{a} wanted it back more than a warm bed.",
            "Without it {a} could not [work|sing], so {a} set out at once.",
            "{a} wanted to bring it to {event}, and {event} was near.",
        ]
    )
    if scene.rng.random() < 0.35:
        world.move("A", "P")
        scene.say(
            [
                "First {a} [looked|searched] {P.at}, where {P.detail}, but there was no {X.n} there.",
                "Behind a door {P.at} {a} found {junk}, but no {X.n}.",
                "{a} went {P.to} and looked [under|behind] every box, and found nothing but {junk}.",
            ]
        )
        scene.drop("B")
    else:
        scene.say(
            [
                '"Have you seen my {X}[| today| this {time}]?" {a} asked {B}[ the {B.trade}|].',
                '"Please, {B}, have you seen [my {X}|{X.a}][| today| this {time}]?" [asked|said] {A}.',
                '"I have lost my {X}[| again]," {a} told {B}[ the {B.trade}|].',
                "{B} the {B.trade} [came by|was near], singing, and {a} asked about the {X}.",
            ]
        )
        scene.say(
            [
                '"[I think|I believe|I am sure] [that |]the {animal} [took|carried] it [away '
                '|]{Q.to}," said {B}.',
                '{B} [laughed|nodded|smiled]. "The {animal} [ran|went|hurried] {Q.to} with something {X.q}."',
                '"[Look for|Ask] the {animal}," said {B}. "It [went|ran|hurried] {Q.to} [just now|alone]."',
            ]
        )
    world.move("A", "Q")
    scene.say(
        [
            "So {A} [ran|hurried|walked|went][| at once] {Q.to}, where {Q.detail}.",
            "[At once|With a smile|Without a word] {A} [ran|hurried|walked|went] {Q.to}.",
            "{A} [ran|hurried|walked] {Q.to}, which smelled of {Q.smell}.",
            "The road {Q.to} was long, but {A} [ran|sang|smiled] all the way.",
        ]
    )
    scene.say(
        [
            "There [sat|lay|stood] the {animal}, [holding|guarding|hugging] the {X} [with both eyes "
            "shut|like an old friend].",
            "And there, [behind a fence|under a cart|beside a wall], the {animal} was "
            "[sleeping on|guarding|hugging] the {X}.",
        ]
    )
    world.give("A", "animal", "F")
    world.give("animal", "A", "X")
    scene.say(
        [
            "The {animal} would not [let go|give it back], so {A} [held out|gave it] {F}, and that was "
            "[that|the end of it].",
            '"[Would you like|Will you take] {F} for it?" asked {A}, and the {animal} let go at once.',
            "{A} pulled, the {animal} pulled back, and only {F} [made peace|could end it].",
        ]
    )
    ending(scene, world)
    scene.say(
        [
            "The {animal} [came along|sat beside {A.him}], dreaming of more {F.n}.",
            '"[Next time|From now on] I will [look after it|keep it with me|take it to bed with me]," '
            "{A} [said|told the {animal}].",
            "{A} never left the {X.n} [on the grass|by an open door] again, and the {animal} never "
            "gave up hope.",
        ]
    )


def stuck(scene: Scene, world: World) -> None:
    """Tells how the thing gets out of reach while the hero is too proud to ask for help."""

    def spot(scene: Scene) -> None:
        for role, value in zip(("spot", "attempt", "method"), scene.rng.choice(SPOTS), strict=True):
            scene.cast(role, value)

    scene.leave_open(("spot", "attempt", "method"), spot)
    world.own("A", "X")
    world.lose("A", "X", "spot")
    world.want("A", "X")
    scene.say(
        [
            "[One|On a] {weather} {time}, a {animal} bumped into {A} the {A.trade}, and {A.his} {X} "
            "ended up {spot}.",
            "Nobody saw how, but [one|on a] {weather} {time} the {X} of {A} the {A.trade} [was|lay] {spot}.",
            "A {animal} had played with {A.his} {X}, and so {A} the {A.trade} found it {spot} one "
            "{weather} {time}.",
        ]
    )
    scene.maybe(
        [
            "{a} [wanted|needed] it for {event}, and {event} was not far away.",
            "Without the {X.n} {a} could not go to {event}, and {a} [talked|thought] of nothing but {event}.",
            "{wclause}, and {A} [wanted|needed] the {X.n} for {event}.",
        ]
    )
    scene.say(
        [
            "First {a} {attempt}, but [it did not move|the {X.n} stayed where it was].",
            "{a} {attempt} until {a} was [hot|out of breath], but the {X} stayed where it was.",
            "{a} {attempt}[| again and again| all {time}| for an hour], [with no luck|but only lost "
            "a button].",
            "[All alone|For an hour] {a} {attempt}[|, and {wclause}|, but with no luck].",
        ]
    )
    scene.say(
        [
            '"[Do you need|Would you like|Do you want] [some|a little|my] help[| with that| with the {X.n}| '
            'with your {X}]?" '
            "[asked|called] {B}[ the {B.trade}|].",
            '"That looks [hard|heavy|far away]," said {B} the {B.trade}. "[Can|May|Shall] I help you[| with '
            'the {X.n}]?"',
        ]
    )
    scene.say(
        [
            '"No, thank you," said {A}, with a face as red as [a plum|an apple].',
            '"[No|Thank you, but no|Not today]. I can get the {X}[| down| back] [alone|without '
            'help]," said {A}.',
            '"I can get [it|my {X}|the {X.n}] alone," said {A}, and turned away.',
            "{A} shook {A.his} head, because {A.he} [was proud|wanted to do it alone].",
        ]
    )
    scene.maybe(
        [
            "Then a {animal} [came by|stopped], looked at the {X}, looked at {A}, and [laughed|sneezed] in "
            "its own way.",
            "An hour went by, and {wclause}, and the {X} was still {spot}.",
            "{A} tried [once more|again], slipped, and sat down in a puddle.",
        ]
    )
    scene.say(
        [
            '"I was [so|too|far too] proud," {a} [said|told {B}] [at last|softly]. "Please help me[| now]."',
            'At last {A} [sighed|smiled] and said, "{B}, I [need|would like] your help [with the '
            '{X.n}|after all]."',
        ]
    )
    world.take("A", "X", "spot")
    scene.say(
        [
            "Together they {method}, and the {X} [came|fell] [free|down][| at once| at last].",
            "{A} and {B} {method}, and [a moment later|before long] the {X} was [free|safe].",
        ]
    )
    ending(scene, world)
    scene.maybe(
        [
            '"Next time I will ask at once," said {A}, and {B} [nodded|smiled].',
            "After that {A} asked for help every time, and {B} always came.",
            '"You only had to ask," said {B}, and {A} laughed.',
        ]
    )


def broken(scene: Scene, world: World) -> None:
    """Tells how the hero takes over a busy person's work, so that this person can repair the broken thing."""
    world.own("A", "X")
    world.break_("A", "X")
    scene.say(
        [
            "[One|On a] {weather} {time}, {A} the {A.trade} [sat on|fell over] {A.his} {X} {P.at}, "
            "and it {broke}.",
            "{A} the {A.trade} slipped {P.at} one {weather} {time}, and {A.his} {X} {broke}.",
            "It was a {animal} that [jumped|ran] at {A} the {A.trade} {P.at}, but it was the {X} "
            "that {broke}.",
        ]
    )
    world.want("A", "mended X")
    scene.maybe(
        [
            "{a} [wanted|needed] it for {event}, and nobody came to {event} with a broken {X.n}.",
            "{a} cried [a little|out loud], because it had come from {A.his} {relative}.",
            "{a} had worked long for that {X.n}, and {event} was near.",
        ]
    )
    world.move("A", "Q")
    world.give("A", "B", "X")
    scene.say(
        [
            "So {a} carried the {X} {Q.to}, where {B} the {B.trade} worked and {Q.detail}.",
            "{B} the {B.trade} could mend anything, so {a} [ran|hurried|went] {Q.to}, where {Q.detail}.",
            "[With wet eyes|In a hurry] {a} [took|carried|brought] it to {B} the {B.trade} {Q.at}.",
            "{A} [took|carried|brought] the [pieces|{X}] {Q.to}, to {B} the {B.trade}.",
        ]
    )
    scene.say(
        [
            '"Can you mend my {X} [before {event}|today|in time]?" {a} asked[| {b.him}].',
            '"Please mend [this|my] {X}[| today| soon| before {event}]," {a} [said|begged].',
        ]
    )
    scene.say(
        [
            '"I have no time," [sighed|said] {B}. "I must {job}[| today| first| before dark]."',
            '{B} shook {B.his} head. "[Not today|Not now]. I must {job}[| first| before dark| again]."',
            '"I would like to, but I must {job}[| today| first| before dark]," said {B}.',
        ]
    )
    scene.maybe(
        [
            '"Then I will {job} for you[, and you can work|]," said {A}[ at once|].',
            '{A} [nodded|thought for a moment|smiled]. "Then I will {job}[| for you]."',
        ]
    )
    world.mend("B", "X")
    scene.say(
        [
            "So {A} {jobbed} while {B} [bent over|worked on|sang to] the {X.n}, and {wclause}.",
            "{A} {jobbed}, {B} mended the {X}, and both of them [hummed|whistled|sang] [the same "
            "tune|a little].",
            "A {animal} got in the way [twice|again and again], but {A} {jobbed} [all the same|to the end], "
            "and {B} "
            "[worked on|mended the {X.n}].",
        ]
    )
    world.give("B", "A", "X")
    scene.maybe(
        [
            '"[Here|There] you are," said {B}. "It is as good as new[|, I hope| again]."',
            "When {B} gave it back, the {X.n} looked [a little odd|like new], and {A} liked it even more.",
        ]
    )
    ending(scene, world)
    scene.say(
        [
            "{B} came to listen and look, and [brought|ate] {F}[ for two|].",
            "From that day on {A} [walked round|bowed to] every {animal} in the street.",
            '"[Nobody|No one] has ever worked [so well|so hard] for me," said {B}, and shared {F} '
            "with {a.him}.",
            "{B} smiled, and they ate {F} together {Q.at}.",
        ]
    )


def swapped(scene: Scene, world: World) -> None:
    """Tells how two people own the same kind of thing and each goes home with the wrong one."""

    def second_color(scene: Scene) -> None:
        colors = [
            color for color in ("red", "blue", "green", "yellow", "white") if color != scene.slots["X.q"]
        ]
        scene.cast("q2", scene.rng.choice(colors))

    scene.leave_open(("q2",), second_color)
    world.own("A", "X")
    world.own("B", "Y")
    scene.say(
        [
            "[One|On a] {weather} {time}, {A} [came|went] {P.to} with {X.a} and {B} with a {q2} one.",
            "{A} the {A.trade} and {B} the {B.trade} met {P.at}, {A} with {X.a} and {B} with a {q2} one.",
            "{A} had {X.a}, {B} had a {q2} one, and [one|on a] {weather} {time} they met {P.at}.",
        ]
    )
    world.lose("A", "X", "P")
    world.lose("B", "Y", "P")
    world.take("A", "Y", "P")
    world.take("B", "X", "P")
    scene.say(
        [
            "[When the lamp went out|In a hurry|Without a lamp], {A} took the wrong {X.n} and "
            "[went|walked|ran] home.",
            "{A} left first, [in a hurry|with a yawn], with the wrong {X.n} under {A.his} arm.",
            "They [talked|sang] for [a long time|an hour], and {A} [took|carried] the wrong {X.n} home.",
        ]
    )
    scene.say(
        [
            '"[Oh no|Oh dear], [this|the|my] {X.n} is {q2}!" {a} cried [at home|at the door|in the light].',
            "[At home|At the door|Under a lamp] {a} saw[| at last] that the {X.n} was {q2} and not {X.q}.",
            "[At home|At the door|Under a lamp] {a} rubbed {A.his} eyes: the {X.n} [was|had turned] {q2}.",
        ]
    )
    scene.maybe(
        [
            "{a} wanted {A.his} own {X.n} back, but [{wclause}|the road was long].",
            "{a} wanted to rest, but {B} would be sad without {B.his} {X.n}.",
        ]
    )
    world.move("A", "Q")
    world.move("B", "Q")
    scene.say(
        [
            "So {a} [set out|ran out|went out] again, and {Q.at} somebody was coming the other way[, "
            "very fast|].",
            "Back {a} [ran|went|hurried], and {Q.at}, where {Q.detail}, {a} heard somebody.",
            "{a} [took a light|said a bad word] and [hurried|went] out, as far as {Q}, where {Q.detail}.",
        ]
    )
    scene.say(
        [
            "It was {B}, [with the {X} in {B.his} arms|holding the {X}], [and out of breath|as red "
            "as an apple].",
            "There {a} met {B}, who was [hugging|holding] the {X} and [looked|felt] [just as|rather] silly.",
            'There [stood|was] {B} with the {X}. "I was looking for you!" [cried|said] {B}.',
        ]
    )
    world.give("A", "B", "Y")
    world.give("B", "A", "X")
    scene.maybe(
        [
            '"[We are both silly, then|Then we are both silly]," said {A}, and they [laughed|laughed '
            "and laughed].",
            '"I am sorry that I took yours," said {A}. "So am I," said {B}.',
        ]
    )
    scene.say(
        [
            "[Laughing|With a bow], each of them [gave back|handed over] the wrong {X.n}[ and took "
            "the right one|].",
            "So the {q2} {X.n} [went|came] [back|home] to {B}, and {A} [held|had] the {X.q} one again.",
            "{A} gave {B} the {q2} {X.n}[ with a bow|] and [got|took back] the {X.q} one[ with a laugh|].",
        ]
    )
    ending(scene, world)
    scene.maybe(
        [
            "After that {time} {A} always [looked twice|counted to ten|lit a lamp] before going home.",
            "{B} painted {B.his} name on the {q2} {X.n}[| that {time}| at once].",
        ]
    )


def ending(scene: Scene, world: World, again: str = "again") -> None:
    """Lets the hero use the thing, so the wish comes true (`again` is `at last` if the thing is new)."""
    world.use("A", "X")
    ways = [
        "{later} {A} {X.used} the {X}{X.where}, and {X.result}.",
        "{later} {A} {X.used} {A.his} {X}{X.where}[ for everybody| with a smile|], and {X.result}.",
        f"{{later}} {{A}} could {{X.use}} the {{X}}{{X.where}} [{again}|in peace], and {{X.result}}.",
        "So {A} {X.used} the {X}{X.where} [after all|in the end], and {X.result}.",
    ]
    if "B" in scene.people:
        ways.append("{later} {A} let {B} {X.use} the {X}{X.where}[| for a while| first], and {X.result}.")
    scene.say(ways)
