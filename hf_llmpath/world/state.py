"""The simulated state of the world: who is where and who has what. Events check it, so no text can contradict
it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class World:
    """State of one story. `holder` maps a thing to a role or to a place, `place` maps a role to where it is.

    Every event raises `ValueError` when its precondition does not hold (nobody gives what they do not have),
    changes the state and adds a line to `facts`, the ground truth of the text.
    """

    holder: dict[str, str] = field(default_factory=dict)
    place: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    facts: list[str] = field(default_factory=list)

    def own(self, role: str, thing: str) -> None:
        """`role` has `thing` from the start."""
        self.holder[thing] = role
        self.facts.append(f"{role} has {thing}")

    def want(self, role: str, wish: str) -> None:
        """`role` wishes for `wish`, a thing or something to see or do."""
        self.facts.append(f"{role} wants {wish}")

    def move(self, role: str, place: str) -> None:
        """`role` goes to `place`."""
        self.place[role] = place
        self.facts.append(f"{role} is at {place}")

    def lose(self, role: str, thing: str, place: str) -> None:
        """`thing` leaves the hands of `role` and lies at `place`, or with the animal that took it."""
        self._require(role, thing)
        self.holder[thing] = place
        self.facts.append(f"{thing} is at {place}")

    def take(self, role: str, thing: str, place: str) -> None:
        """`role` picks up `thing`, which lies at `place`."""
        self._require(place, thing)
        self.holder[thing] = role
        self.facts.append(f"{role} has {thing}")

    def give(self, giver: str, taker: str, thing: str) -> None:
        """`thing` goes from `giver` to `taker`."""
        self._require(giver, thing)
        self.holder[thing] = taker
        self.facts.append(f"{giver} gives {thing} to {taker}")

    def break_(self, role: str, thing: str) -> None:
        """`thing` breaks in the hands of `role`."""
        self._require(role, thing)
        self.broken.add(thing)
        self.facts.append(f"{thing} is broken")

    def mend(self, role: str, thing: str) -> None:
        """`role`, who has `thing`, mends it."""
        self._require(role, thing)
        self.broken.remove(thing)
        self.facts.append(f"{role} mends {thing}")

    def use(self, role: str, thing: str) -> None:
        """`role` uses `thing`, which must be in their hands and whole."""
        self._require(role, thing)
        if thing in self.broken:
            raise ValueError(f"{thing} is broken")
        self.facts.append(f"{role} uses {thing}")

    def _require(self, role: str, thing: str) -> None:
        if self.holder.get(thing) != role:
            raise ValueError(f"{role} does not have {thing}: {self.holder.get(thing)} does")
