"""From events to English: a scene fills templates, chooses between names and pronouns, and keeps splits
apart."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

from .grammar import PRONOUNS, Draft, Slot, choose, is_simple, parse, polish, with_article, words
from .splits import belongs, pieces_belong
from .vocabulary import Food, Person, Place, Thing

_MAX_TRIES = 120


class Redraw(Exception):
    """The record at hand cannot be said with sentences of its split: draw another one."""


class Scene:
    """Named roles of one text, and the sentences said about them so far.

    Slots of a person in role `A`: `{A}` the name, `{A.trade}`, `{A.he}`, `{A.him}`, `{A.his}` pronouns; `{a}`
    and `{a.him}` are a pronoun where it cannot be misread and the name elsewhere. Slots of a place in role
    `P`: `{P}` (the mill), `{P.at}`, `{P.to}`, `{P.detail}`, `{P.smell}`. Of a thing in role `X`: `{X}` (red
    kite),
    `{X.a}` (a red kite), `{X.n}` (kite), `{X.use}`, `{X.used}`, `{X.result}`. Other roles are plain strings.
    """

    def __init__(self, rng: random.Random, split: str, max_length: int = 10_000):
        self.rng = rng
        self.split = split
        self.slots: dict[str, str | tuple[str, ...]] = {}
        self.people: dict[str, Person] = {}
        self.recent: set[str] = set()
        self.said: list[str] = []
        self.length = 0
        self.max_length = max_length
        self.room = rng.choice((0, 0, 1, 1, 2))
        self._used_templates: set[str] = set()
        self._open: dict[str, Callable[[Scene], None]] = {}
        self._group_of: dict[str, str] = {}

    def cast(self, role: str, value: object, quality: str | None = None) -> None:
        """Give `role` to a person, place, thing (with its `quality`), food or plain text."""
        if isinstance(value, Person):
            self.people[role] = value
        self.slots.update(_slots(role, value, quality))

    def leave_open(self, roles: Sequence[str], draw: Callable[[Scene], None]) -> None:
        """Cast `roles` with `draw`, and again as often as needed until one of them is named in the text.

        Calls of `draw` happen in the order in which they were left open, so one may look at earlier roles.
        """
        self._open[roles[0]] = draw
        for role in roles:
            self._group_of[role] = self._group_of[role.lower()] = roles[0]
        draw(self)

    def is_open(self, role: str) -> bool:
        """Whether `role` may still be cast anew because nothing that was said names it."""
        return self._group_of.get(role) in self._open

    def drop(self, role: str) -> None:
        """Leave `role` out of this text."""
        self._open.pop(self._group_of.pop(role, role), None)
        self.people.pop(role, None)

    def say(self, templates: str | Sequence[str], *, keep: bool = True) -> str:
        """Fill one of `templates` so that the text belongs to the split; append it unless `keep` is false.

        Raises `Redraw` when no filling belongs to the split, or the text grows longer than `max_length`
        words.
        """
        options = [templates] if isinstance(templates, str) else list(templates)
        fresh = [option for option in options if option not in self._used_templates] or options
        for attempt in range(_MAX_TRIES):
            template = self.rng.choice(fresh)
            draft = choose(parse(template), self.rng)
            if attempt:
                self._redraw(draft)
            filled, named, mentioned, recent = self._fill(draft)
            # Most fillings belong elsewhere: that shows before they are tidied.
            if not pieces_belong(filled, self.split):
                continue
            text = polish(filled)
            if not is_simple(text) and not belongs(text, self.split):
                continue
            for role in named:
                self._open.pop(self._group_of.get(role), None)
            if keep:
                self.length += len(words(text))
                if self.length > self.max_length:
                    raise Redraw
                self._used_templates.add(template)
                self.recent = mentioned or recent
                self.said.append(text)
            return text
        raise Redraw

    def maybe(self, templates: str | Sequence[str]) -> bool:
        """Say an event that the text can do without, as long as there is `room` for one; true if it was
        said."""
        if not self.room or self.rng.random() < 0.5:
            return False
        before = self.length
        try:
            self.say(templates)
        except Redraw:
            self.length = before
            return False
        self.room -= 1
        return True

    def phrase(self, template: str) -> str:
        """Fill `template` in lower case where it begins so, without saying it and in any split."""
        filled = polish(self._fill(choose(parse(template), self.rng))[0])
        return filled if template[:1].isupper() else filled[:1].lower() + filled[1:]

    def text(self) -> str:
        """All that was said, as one paragraph."""
        return " ".join(self.said)

    def _redraw(self, draft: Draft) -> None:
        """Draw again the roles of `draft` that are still open."""
        groups = {self._group_of.get(role) for role in draft.roles}
        for group, draw in self._open.items():
            if group in groups:
                draw(self)

    def _fill(self, draft: Draft) -> tuple[str, set[str], set[str], set[str]]:
        """The text, the roles named in it, the people among them, and all the people a reader has in mind."""
        recent = set(self.recent)
        named = set(draft.roles)
        mentioned: set[str] = set()
        parts: list[str] = []
        for node in draft.nodes:
            if type(node) is str:
                parts.append(node)
                continue
            if (node.smart or not node.case) and node.person in self.people:
                # Within a sentence only those named in it can be meant by mistake.
                parts.append(self._refer(node, mentioned if node.person in mentioned else recent))
                recent.add(node.person)
                mentioned.add(node.person)
                continue
            value = self.slots[node.name]
            if type(value) is not str:
                value = value[int(self.rng.random() * len(value))]
            if "{" in value:
                value, inside, _, recent = self._fill(choose(parse(value), self.rng))
                named |= inside
            parts.append(value)
        return "".join(parts), named, mentioned, recent

    def _refer(self, slot: Slot, recent: set[str]) -> str:
        person = self.people[slot.person]
        if slot.smart and slot.person in recent:
            rivals = (self.people[other] for other in recent if other != slot.person)
            if all(rival.gender != person.gender for rival in rivals):
                return PRONOUNS[person.gender][slot.case or "he"]
        return person.name


@cache
def _slots(role: str, value: object, quality: str | None) -> dict[str, str | tuple[str, ...]]:
    """What the slots of `role` are filled with when it is cast with `value`."""
    if isinstance(value, Person):
        return {f"{role}.trade": value.trade} | {
            f"{role}.{case}": w for case, w in PRONOUNS[value.gender].items()
        }
    if isinstance(value, Place):
        forms = {
            "at": value.at,
            "to": value.to,
            "smell": value.smell,
            "n": value.noun,
            "detail": value.details,
        }
        return {role: value.name} | {f"{role}.{case}": form for case, form in forms.items()}
    if isinstance(value, Thing):
        phrase = f"{quality} {value.noun}" if quality else value.noun
        forms = {name: getattr(value, name) for name in ("use", "used", "result", "where", "riddle")}
        forms |= {"a": with_article(phrase), "n": value.noun} | ({"q": quality} if quality else {})
        return {role: phrase} | {f"{role}.{case}": form for case, form in forms.items()}
    if isinstance(value, Food):
        return {role: value.phrase, f"{role}.n": value.noun}
    return {role: value}
