"""Races optimizers on a surface while somebody watches: every open page has its own race and picture."""

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

LONGEST = 2000  # steps after which a race ends
POINTS = 240  # approximate number of points in a path or curve on the page
# Learning rates at which each optimizer does well, in the order of OPTIMIZERS. The page starts with them.
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
        name, rate: the name and the learning rate of the optimizer.
        descent: the point, and the optimizer that moves it.
        path: the points `(x, y)` so far, as long as they are finite.
        losses: the loss at each point of the path.
        arrived: the step since which the loss has stayed at or below the target, or None.
        lost: the step at which the loss was no longer finite, or None.
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
        """Whether the loss has stayed at or below the target for `HOLD` steps; flying past does not count."""
        return self.arrived is not None and len(self.losses) - 1 - self.arrived >= HOLD

    def move(self, step: int, target: float) -> None:
        """Takes the step with the number `step`."""
        arrived = self.has_arrived
        loss = float(self.descent.step()[0, 0])  # (1, 1): one rate and one start
        if not np.isfinite(loss):
            self.lost = step
            return
        x, y = self.descent.points[0, 0]  # (1, 1, 2) -> (2,)
        self.path.append((float(x), float(y)))
        self.losses.append(loss)
        if arrived:  # for good, even if a later step leaves the target
            return
        if loss > target:
            self.arrived = None
        elif self.arrived is None:
            self.arrived = step


class LiveRace:
    """All optimizers on one surface, from one start, a step at a time.

    Attributes:
        surface: the surface of the race.
        runners: the optimizers that race.
        step, pace: the number of steps taken, and of steps from picture to picture.
        player: a token of the player that advances the race at the moment, or None.
        lock: a lock that is held while the race moves or is drawn.
        chart: the chart of the losses.
    """

    frame = FRAME

    def __init__(self, surface: str, rates: dict[str, float], momentum: float = 0.9, beta2: float = 0.999):
        self.lock = threading.RLock()
        self.player: object | None = None
        self.pace, self.chart = 1, SlowChart()
        self.reset(surface, rates, momentum, beta2)

    def __deepcopy__(self, memo: dict) -> "LiveRace":
        """Makes a new race: Gradio copies the state for each open page, and a lock cannot be copied."""
        race = LiveRace(*self.numbers)
        race.pace = self.pace
        return race

    @property
    def numbers(self) -> tuple[str, dict[str, float], float, float]:
        """The arguments of `reset` that produce this race."""
        rates = {runner.name: runner.rate for runner in self.runners}
        return self.surface.name, rates, self.momentum, self.beta2

    def again(self) -> None:
        """Restarts the race with the same numbers."""
        self.reset(*self.numbers)

    def reset(self, surface: str, rates: dict[str, float], momentum: float, beta2: float) -> None:
        """Restarts the race with other numbers.

        Args:
            surface: the name of a surface.
            rates: optimizer -> learning rate; optimizers without a rate do not race.
            momentum: the momentum of Momentum and Nesterov, and β₁ of Adam and AdamW.
            beta2: β₂ of Adam and AdamW.
        """
        with self.lock:
            self.surface = SURFACES[surface]
            self.step, self.runners = 0, []
            self.momentum, self.beta2 = momentum, beta2
            start = np.array([self.surface.start], dtype=np.float64)  # (1, 2)
            loss = float(self.surface.loss(start)[0])  # (1, 2) -> (1,)
            for name, rate in rates.items():
                make, arguments = OPTIMIZERS[name]
                if name in ("momentum", "nesterov"):
                    arguments = arguments | {"momentum": momentum}
                elif name in ("adam", "adamw"):
                    arguments = arguments | {"betas": (momentum, beta2)}
                descent = Descent(self.surface, make, start, [rate], **arguments)
                self.runners.append(Runner(name, rate, descent, [self.surface.start], [loss]))

    def advance(self, steps: int) -> None:
        """Moves every runner that is not lost by `steps` steps, or until the race is over."""
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
        """Whether every runner has arrived or is lost, or the race has taken `LONGEST` steps."""
        done = all(runner.lost is not None or runner.has_arrived for runner in self.runners)
        return done or self.step >= LONGEST

    @property
    def winner(self) -> Runner | None:
        """The runner that arrived first, or None."""
        arrived = [runner for runner in self.runners if runner.has_arrived]
        return min(arrived, key=lambda runner: runner.arrived, default=None)


def race_picture(race: LiveRace) -> str:
    """Returns the map with the paths, the standings, and the losses, as HTML."""
    with race.lock:
        surface, step, over, winner = race.surface, race.step, race.over, race.winner
        paths, losses, standings = {}, {}, []
        for runner in race.runners:
            stride = max(1, len(runner.path) // POINTS)
            paths[runner.name] = [*runner.path[:-1:stride], runner.path[-1]]  # thinned, with the latest point
            steps = range(0, len(runner.losses), stride)
            highest = 100 * runner.losses[0]  # a runner that flies off must not squeeze the others
            # The axis is logarithmic, so a loss of exactly 0 needs a lower bound.
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
    # `pictures.table` escapes the names of its rows, so the color swatches are added afterward.
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
