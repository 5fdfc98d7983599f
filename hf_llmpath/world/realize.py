"""Turns events into English: a scene fills templates, chooses names or pronouns, and keeps splits apart."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

from .grammar import PRONOUNS, Draft, Slot, choose, is_simple, parse, polish, with_article, words
from .splits import belongs, pieces_belong
from .vocabulary import Food, Person, Place, Thing

_MAX_TRIES = 120


class Redraw(Exception):
    """Signals that the split has no sentences for the current record, so the caller must draw another one."""


class Scene:
    """The named roles of one text, and the sentences said about them so far.

    A person in role `A` has the slots `{A}` (the name), `{A.trade}`, and the pronouns `{A.he}`, `{A.him}`,
    and `{A.his}`; `{a}` and `{a.him}` become a pronoun where it cannot be misread, and the name elsewhere. A
    place in role `P` has the slots `{P}` (the mill), `{P.at}`, `{P.to}`, `{P.detail}`, and `{P.smell}`. A
    thing in role `X` has the slots `{X}` (red kite), `{X.a}` (a red kite), `{X.n}` (kite), `{X.use}`,
    `{X.used}`, and `{X.result}`. Other roles are plain strings.
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
        self.room = rng.choice((0, 0, 1, 1, 2))  # number of optional events, see `maybe`
        self._used_templates: set[str] = set()
        self._open: dict[str, Callable[[Scene], None]] = {}  # maps a group of open roles to its draw
        self._group_of: dict[str, str] = {}  # maps a role to its group, named by the group's first role

    def cast(self, role: str, value: object, quality: str | None = None) -> None:
        """Gives `role` to a person, place, thing (with its `quality`), food, or plain text."""
        if isinstance(value, Person):
            self.people[role] = value
        self.slots.update(_slots(role, value, quality))

    def leave_open(self, roles: Sequence[str], draw: Callable[[Scene], None]) -> None:
        """Casts `roles` with `draw`, and recasts them as needed until the text names one of them.

        The draws run in the order in which their roles were left open, so a draw may read earlier roles.
        """
        self._open[roles[0]] = draw
        for role in roles:
            self._group_of[role] = self._group_of[role.lower()] = roles[0]
        draw(self)

    def is_open(self, role: str) -> bool:
        """Returns whether `role` may still be recast, because the text so far does not name it."""
        return self._group_of.get(role) in self._open

    def drop(self, role: str) -> None:
        """Leaves `role` out of this text."""
        self._open.pop(self._group_of.pop(role, role), None)
        self.people.pop(role, None)

    def say(self, templates: str | Sequence[str], *, keep: bool = True) -> str:
        """Fills one of `templates` so that the text belongs to the split, and appends it if `keep` is true.

        Raises:
            Redraw: no filling belongs to the split, or the text grows longer than `max_length` words.
        """
        options = [templates] if isinstance(templates, str) else list(templates)
        fresh = [option for option in options if option not in self._used_templates] or options
        for attempt in range(_MAX_TRIES):
            template = self.rng.choice(fresh)
            draft = choose(parse(template), self.rng)
            if attempt:
                self._redraw(draft)
            filled, named, mentioned, recent = self._fill(draft)
            # Most fillings belong to another split, which shows even before the slow `polish`.
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
        """Says an optional event at random while `room` is left; returns whether it said the event."""
        if not self.room or self.rng.random() < 0.5:
            return False
        before = self.length
        try:
            self.say(templates)
        except Redraw:  # the event is optional, so the text continues without it
            self.length = before
            return False
        self.room -= 1
        return True

    def phrase(self, template: str) -> str:
        """Returns `template` filled, for any split and without saying it; its first letter keeps its case."""
        filled = polish(self._fill(choose(parse(template), self.rng))[0])
        return filled if template[:1].isupper() else filled[:1].lower() + filled[1:]

    def text(self) -> str:
        """Returns all sentences so far, as one paragraph."""
        return " ".join(self.said)

    def _redraw(self, draft: Draft) -> None:
        """Recasts the roles of `draft` that are still open."""
        groups = {self._group_of.get(role) for role in draft.roles}
        for group, draw in self._open.items():
            if group in groups:
                draw(self)

    def _fill(self, draft: Draft) -> tuple[str, set[str], set[str], set[str]]:
        """Returns the text, the roles that it names, the people among them, and all people in recent text."""
        recent = set(self.recent)
        named = set(draft.roles)
        mentioned: set[str] = set()
        parts: list[str] = []
        for node in draft.nodes:
            if type(node) is str:
                parts.append(node)
                continue
            if (node.smart or not node.case) and node.person in self.people:
                # For a person named in this sentence, only others named in it can be mistaken.
                parts.append(self._refer(node, mentioned if node.person in mentioned else recent))
                recent.add(node.person)
                mentioned.add(node.person)
                continue
            value = self.slots[node.name]
            if type(value) is not str:
                value = value[int(self.rng.random() * len(value))]
            if "{" in value:  # the value of a slot may be a template itself
                value, inside, _, recent = self._fill(choose(parse(value), self.rng))
                named |= inside
            parts.append(value)
        return "".join(parts), named, mentioned, recent

    def _refer(self, slot: Slot, recent: set[str]) -> str:
        person = self.people[slot.person]
        if slot.smart and slot.person in recent:
            rivals = (self.people[other] for other in recent if other != slot.person)
            # A pronoun is clear if no other person in recent text has the same gender.
            if all(rival.gender != person.gender for rival in rivals):
                return PRONOUNS[person.gender][slot.case or "he"]
        return person.name


@cache
def _slots(role: str, value: object, quality: str | None) -> dict[str, str | tuple[str, ...]]:
    """Returns the values of the slots of `role` when it is cast with `value`."""
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
