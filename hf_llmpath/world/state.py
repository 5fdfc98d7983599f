"""Simulates the state of the world: who is where and who has what.

Events check the state, so no text can contradict it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class World:
    """The state of one story.

    Every event changes the state and adds a line to `facts`. It raises `ValueError` if its precondition does
    not hold: for example, a role cannot give a thing that it does not have.

    Attributes:
        holder: maps a thing to the role that has it or to the place where it is.
        place: maps a role to its place.
        broken: the things that are broken.
        facts: the events so far, which are the ground truth of the text.
    """

    holder: dict[str, str] = field(default_factory=dict)
    place: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    facts: list[str] = field(default_factory=list)

    def own(self, role: str, thing: str) -> None:
        """Gives `thing` to `role` from the start."""
        self.holder[thing] = role
        self.facts.append(f"{role} has {thing}")

    def want(self, role: str, wish: str) -> None:
        """Records that `role` wishes for `wish`: a thing, or something to see or do."""
        self.facts.append(f"{role} wants {wish}")

    def move(self, role: str, place: str) -> None:
        """Moves `role` to `place`."""
        self.place[role] = place
        self.facts.append(f"{role} is at {place}")

    def lose(self, role: str, thing: str, place: str) -> None:
        """Moves `thing` from `role` to `place`, which may be the animal that took it."""
        self._require(role, thing)
        self.holder[thing] = place
        self.facts.append(f"{thing} is at {place}")

    def take(self, role: str, thing: str, place: str) -> None:
        """Lets `role` pick up `thing`, which is at `place`."""
        self._require(place, thing)
        self.holder[thing] = role
        self.facts.append(f"{role} has {thing}")

    def give(self, giver: str, taker: str, thing: str) -> None:
        """Moves `thing` from `giver` to `taker`."""
        self._require(giver, thing)
        self.holder[thing] = taker
        self.facts.append(f"{giver} gives {thing} to {taker}")

    def break_(self, role: str, thing: str) -> None:
        """Breaks `thing`, which `role` must have."""
        self._require(role, thing)
        self.broken.add(thing)
        self.facts.append(f"{thing} is broken")

    def mend(self, role: str, thing: str) -> None:
        """Repairs `thing`, which `role` must have."""
        self._require(role, thing)
        self.broken.remove(thing)
        self.facts.append(f"{role} mends {thing}")

    def use(self, role: str, thing: str) -> None:
        """Lets `role` use `thing`, which `role` must have and which must not be broken."""
        self._require(role, thing)
        if thing in self.broken:
            raise ValueError(f"{thing} is broken")
        self.facts.append(f"{role} uses {thing}")

    def _require(self, role: str, thing: str) -> None:
        if self.holder.get(thing) != role:
            raise ValueError(f"{role} does not have {thing}: {self.holder.get(thing)} does")
