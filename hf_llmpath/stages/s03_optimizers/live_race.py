"""Optimizers that race on a surface while somebody watches: one race for each open page."""

import threading
from dataclasses import dataclass

import numpy as np

from ...ui.play import FRAME
from .descent import HOLD, OPTIMIZERS, TITLES, Descent
from .surfaces import Surface, get_surface

LONGEST = 2000  # steps of a race
# Where the sliders start, by surface: rates at which each optimizer does well.
GOOD_RATES = {
    "ravine": {"sgd": 0.015, "momentum": 0.004, "nesterov": 0.006, "rmsprop": 0.1, "adam": 0.2, "adamw": 0.2},
    "tilted_ravine": {
        "sgd": 0.015,
        "momentum": 0.004,
        "nesterov": 0.006,
        "rmsprop": 0.1,
        "adam": 0.3,
        "adamw": 0.3,
    },
    "rosenbrock": {
        "sgd": 0.002,
        "momentum": 0.001,
        "nesterov": 0.001,
        "rmsprop": 0.01,
        "adam": 0.2,
        "adamw": 0.05,
    },
    "saddle": {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.03, "adam": 0.1, "adamw": 0.1},
}


@dataclass
class Runner:
    """One optimizer in a race.

    Attributes:
        name, rate: which, and at what learning rate.
        descent: its point and its rule.
        path: where it has been, `(x, y)`; ends where it left the range of numbers.
        losses: one for each entry of the path.
        arrived: the step from which its loss stayed at or below the target for `HOLD` steps, or none yet.
        lost: the step at which its loss was no longer finite, or none.
    """

    name: str
    rate: float
    descent: Descent
    path: list[tuple[float, float]]
    losses: list[float]
    arrived: int | None = None
    lost: int | None = None

    @property
    def title(self) -> str:
        return TITLES[self.name]


class LiveRace:
    """All optimizers on one surface, from one start, a step at a time.

    Attributes:
        surface, start: where.
        runners: who.
        step, pace: steps taken, and steps from picture to picture.
        player: who moves it on just now, or nobody.
        lock: is held while it moves or is drawn.
    """

    frame = FRAME

    def __init__(self, surface: str, rates: dict[str, float], momentum: float = 0.9, beta2: float = 0.999):
        self.lock = threading.RLock()
        self.player: object | None = None
        self.pace = 1
        self.reset(surface, rates, momentum, beta2)

    def __deepcopy__(self, memo: dict) -> "LiveRace":
        """Each page that is opened gets one of its own."""
        found = LiveRace(*self.numbers)
        found.pace = self.pace
        return found

    @property
    def numbers(self) -> tuple[str, dict[str, float], float, float]:
        """What this race is of: the arguments of `reset`."""
        rates = {runner.name: runner.rate for runner in self.runners}
        return self.surface.name, rates, self.momentum, self.beta2

    def again(self) -> None:
        """Back to the start, with the same numbers."""
        self.reset(*self.numbers)

    def reset(self, surface: str, rates: dict[str, float], momentum: float, beta2: float) -> None:
        """Back to the start, with other numbers.

        Args:
            surface: name of a surface.
            rates: optimizer -> learning rate; those without one do not run.
            momentum: of Momentum and Nesterov, and β₁ of Adam and AdamW.
            beta2: β₂ of Adam and AdamW.
        """
        with self.lock:
            self.surface: Surface = get_surface(surface)
            self.step, self.runners = 0, []
            self.momentum, self.beta2 = momentum, beta2
            start = np.array([self.surface.start], dtype=np.float64)
            for name, rate in rates.items():
                make, fixed = OPTIMIZERS[name]
                arguments = fixed | _arguments(name, momentum, beta2)
                descent = Descent(self.surface, make, start, [rate], **arguments)
                first = float(self.surface.loss(start)[0])
                self.runners.append(Runner(name, rate, descent, [self.surface.start], [first]))

    def advance(self, steps: int) -> None:
        """Moves everybody who is still on the way."""
        with self.lock:
            for _ in range(steps):
                if self.over:
                    return
                self.step += 1
                for runner in self.runners:
                    if runner.lost is None:
                        self._move(runner)

    def _move(self, runner: Runner) -> None:
        there = self.is_there(runner)
        loss = float(runner.descent.step()[0, 0])
        if not np.isfinite(loss):
            runner.lost = self.step
            return
        x, y = runner.descent.points[0, 0]
        runner.path.append((float(x), float(y)))
        runner.losses.append(loss)
        if there:
            return
        if loss > self.surface.target:
            runner.arrived = None
        elif runner.arrived is None:
            runner.arrived = self.step

    def is_there(self, runner: Runner) -> bool:
        """Whether it has stayed at the target for long enough: flying past does not count."""
        return runner.arrived is not None and len(runner.losses) - 1 - runner.arrived >= HOLD

    @property
    def over(self) -> bool:
        """Everybody has arrived or is lost, or it takes too long."""
        done = all(runner.lost is not None or self.is_there(runner) for runner in self.runners)
        return done or self.step >= LONGEST

    @property
    def winner(self) -> Runner | None:
        """Who arrived first, once nobody can overtake any more."""
        there = [runner for runner in self.runners if self.is_there(runner)]
        return min(there, key=lambda runner: runner.arrived) if there else None


def _arguments(name: str, momentum: float, beta2: float) -> dict:
    if name in ("momentum", "nesterov"):
        return {"momentum": momentum}
    return {"betas": (momentum, beta2)} if name in ("adam", "adamw") else {}
