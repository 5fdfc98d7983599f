"""Optimizers that race on a surface while somebody watches: one race for each open page, and its picture."""

import threading
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...charts.picture import Picture
from ...charts.plots import Line, line_chart
from ...ui import pictures
from ...ui.play import FRAME, SlowChart
from .descent import HOLD, OPTIMIZERS, TITLES, Descent
from .descent_map import COLORS, descent_map
from .surfaces import SURFACES

LONGEST = 2000  # steps of a race
POINTS = 240  # of a path and of a curve on the page
# Rates at which each optimizer does well, where the sliders start.
GOOD_RATES = {
    surface: dict(zip(OPTIMIZERS, rates, strict=True))
    for surface, rates in {
        "ravine": (0.015, 0.004, 0.006, 0.1, 0.2, 0.2),
        "tilted_ravine": (0.015, 0.004, 0.006, 0.1, 0.3, 0.3),
        "rosenbrock": (0.002, 0.001, 0.001, 0.01, 0.2, 0.05),
        "saddle": (0.1, 0.05, 0.05, 0.03, 0.1, 0.1),
    }.items()
}


@dataclass
class Runner:
    """One optimizer in a race.

    Attributes:
        name, rate: which, and its learning rate.
        descent: its point and its rule.
        path: its points `(x, y)` so far, as long as they are finite.
        losses: one for each point of the path.
        arrived: the step from which its loss stayed at or below the target, or None.
        lost: the step at which its loss was no longer finite, or None.
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

    @property
    def has_arrived(self) -> bool:
        """Whether it has stayed at the target for `HOLD` steps: flying past does not count."""
        return self.arrived is not None and len(self.losses) - 1 - self.arrived >= HOLD

    def move(self, step: int, target: float) -> None:
        """Takes the step of that number."""
        arrived = self.has_arrived
        loss = float(self.descent.step()[0, 0])
        if not np.isfinite(loss):
            self.lost = step
            return
        x, y = self.descent.points[0, 0]
        self.path.append((float(x), float(y)))
        self.losses.append(loss)
        if arrived:
            return
        if loss > target:
            self.arrived = None
        elif self.arrived is None:
            self.arrived = step


class LiveRace:
    """All optimizers on one surface, from one start, a step at a time.

    Attributes:
        surface: where they race.
        runners: who races.
        step, pace: steps taken, and steps from picture to picture.
        player: who moves the race on at the moment, or None.
        lock: held while the race moves or is drawn.
        chart: of the losses.
    """

    frame = FRAME

    def __init__(self, surface: str, rates: dict[str, float], momentum: float = 0.9, beta2: float = 0.999):
        self.lock = threading.RLock()
        self.player: object | None = None
        self.pace, self.chart = 1, SlowChart()
        self.reset(surface, rates, momentum, beta2)

    def __deepcopy__(self, memo: dict) -> "LiveRace":
        """Each open page gets a race of its own."""
        race = LiveRace(*self.numbers)
        race.pace = self.pace
        return race

    @property
    def numbers(self) -> tuple[str, dict[str, float], float, float]:
        """The arguments of `reset` that make this race."""
        rates = {runner.name: runner.rate for runner in self.runners}
        return self.surface.name, rates, self.momentum, self.beta2

    def again(self) -> None:
        """Back to the start, with the same numbers."""
        self.reset(*self.numbers)

    def reset(self, surface: str, rates: dict[str, float], momentum: float, beta2: float) -> None:
        """Back to the start, with other numbers.

        Args:
            surface: name of a surface.
            rates: optimizer -> learning rate; optimizers without one do not race.
            momentum: of Momentum and Nesterov, and β₁ of Adam and AdamW.
            beta2: β₂ of Adam and AdamW.
        """
        with self.lock:
            self.surface = SURFACES[surface]
            self.step, self.runners = 0, []
            self.momentum, self.beta2 = momentum, beta2
            start = np.array([self.surface.start], dtype=np.float64)
            loss = float(self.surface.loss(start)[0])
            for name, rate in rates.items():
                make, arguments = OPTIMIZERS[name]
                if name in ("momentum", "nesterov"):
                    arguments = arguments | {"momentum": momentum}
                elif name in ("adam", "adamw"):
                    arguments = arguments | {"betas": (momentum, beta2)}
                descent = Descent(self.surface, make, start, [rate], **arguments)
                self.runners.append(Runner(name, rate, descent, [self.surface.start], [loss]))

    def advance(self, steps: int) -> None:
        """Moves all who are not lost."""
        with self.lock:
            for _ in range(steps):
                if self.over:
                    return
                self.step += 1
                for runner in self.runners:
                    if runner.lost is None:
                        runner.move(self.step, self.surface.target)

    @property
    def over(self) -> bool:
        """Whether everybody has arrived or is lost, or the race takes too long."""
        done = all(runner.lost is not None or runner.has_arrived for runner in self.runners)
        return done or self.step >= LONGEST

    @property
    def winner(self) -> Runner | None:
        """Who arrived first."""
        arrived = [runner for runner in self.runners if runner.has_arrived]
        return min(arrived, key=lambda runner: runner.arrived, default=None)


def race_picture(race: LiveRace) -> str:
    """The map with the paths, the standings, and the losses."""
    with race.lock:
        surface, step, over, winner = race.surface, race.step, race.over, race.winner
        paths, losses, standings = {}, {}, []
        for runner in race.runners:
            stride = max(1, len(runner.path) // POINTS)
            paths[runner.name] = [*runner.path[:-1:stride], runner.path[-1]]
            steps = range(0, len(runner.losses), stride)
            highest = 100 * runner.losses[0]  # a lost runner must not squeeze the others
            heights = [min(max(runner.losses[index], 1e-12), highest) for index in steps]
            losses[runner.title] = Line(steps, heights, color=COLORS[runner.name])
            standings.append((runner, f"{runner.rate:.3g}", f"{runner.losses[-1]:.1e}", _state(runner, step)))
    if winner is not None:
        message = f"{winner.title} was first at the target, after {winner.arrived:,} steps."
    elif over and standings:
        message = f"Nobody reached the target within {step:,} steps."
    else:
        message = f"step {step:,}" if standings else "choose at least one optimizer"
    status = (
        f'<p class="lp-status" data-step="{step}" data-winner="{winner.name if winner else ""}">'
        f"{f'<strong>{message}</strong>' if winner or over else message}</p>"
    )
    spoken = " ".join(f"{runner.title}: loss {loss}, {state}." for runner, _, loss, state in standings)
    chart = Picture(
        surface.title,
        partial(descent_map, surface, paths),
        f"{surface.formula}; darker is higher, the square is the start, the star the lowest point",
        f"{message} {spoken}",
    )
    rows = [[runner.title, *numbers] for runner, *numbers in standings]
    table = pictures.table(["optimizer", "rate", "loss", "arrived at"], rows, "Standings")
    for runner, *_ in standings:
        swatch = f'<i class="lp-swatch" style="background:{COLORS[runner.name]}"></i>'
        table = table.replace(f'row">{runner.title}</th>', f'row">{swatch}{runner.title}</th>')
    curve = race.chart.html(
        race, lambda: line_chart(losses, "Loss", "step", detail="logarithmic", log_y=True)
    )
    return (
        f'<div class="lp lp-live">{status}{chart.html()}<div class="lp-pair">'
        '<figure class="lp-figure lp-standings"><figcaption>Standings'
        f"<small>target: a loss of {surface.target:g} that lasts</small></figcaption>{table}</figure>"
        f"{curve}</div></div>"
    )


def _state(runner: Runner, step: int) -> str:
    if runner.has_arrived:
        return f"step {runner.arrived:,}"
    if runner.lost is not None:
        return f"lost at step {runner.lost:,}"
    return "not in time" if step >= LONGEST else "on the way"
