"""A race of optimizers: the map with their paths, the standings, and their losses."""

from functools import cache
from html import escape

import numpy as np

from ...ui import pictures
from ...ui.pictures import Markup, signed_png
from .live_race import LONGEST, LiveRace, Runner
from .surfaces import get_surface

_CELLS = 160  # of the map, each way
_BANDS = 16
_PATH_POINTS = 240
_ORDER = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw")  # fixes the colors


def race_picture(race: LiveRace) -> str:
    """The whole picture."""
    with race.lock:
        runners = list(race.runners)
        routes = [_thinned(runner.path) for runner in runners]
        losses = {runner.title: _losses(runner) for runner in runners}
        standing = [_standing(race, runner) for runner in runners]
        step, over, winner = race.step, race.over, race.winner
    surface = race.surface
    if winner is not None:
        told = f"{winner.title} was first at the target, after {winner.arrived:,} steps."
    elif over and runners:
        told = f"Nobody reached the target within {step:,} steps."
    else:
        told = f"step {step:,}" if runners else "choose at least one optimizer"
    status = (
        f'<p class="lp-status" data-step="{step}" data-winner="{winner.name if winner else ""}">'
        f"{'<strong>' + escape(told) + '</strong>' if winner or over else escape(told)}</p>"
    )
    chart = pictures.figure(
        _map(race, runners, routes),
        surface.title,
        f"{surface.formula}; darker is higher, the square is the start, the star the lowest point",
        f"{told} " + " ".join(f"{row[0]}: loss {row[2]}, {row[3]}." for row in standing),
    )
    headers = ["optimizer", "rate", "loss", "arrived at"]
    table = pictures.table(
        headers, [[row[0], row[1], row[2], Markup(row[3])] for row in standing], "Standings"
    )
    curve = pictures.line_chart(losses, "Loss", "step", "logarithmic", log_y=True)
    small = f"target: a loss of {surface.target:g}, and staying there"
    return (
        f'<div class="lp lp-live">{status}{chart}<div class="lp-pair">'
        f'<figure class="lp-figure lp-standings"><figcaption>Standings<small>{small}</small></figcaption>'
        f"{_keyed(table, runners)}</figure>"
        f"{curve}</div></div>"
    )


def _keyed(table: str, runners: list[Runner]) -> str:
    """The table, each name with its color."""
    for runner in runners:
        swatch = f'<i class="lp-swatch" style="background:{_color(runner)}"></i>'
        table = table.replace(
            f'<th scope="row">{runner.title}</th>', f'<th scope="row">{swatch}{runner.title}</th>'
        )
    return table


def _color(runner: Runner) -> str:
    return f"var(--lp-series-{_ORDER.index(runner.name) + 1})"


def _standing(race: LiveRace, runner: Runner) -> list[str]:
    if race.is_there(runner):
        state = f"step {runner.arrived:,}"
    elif runner.lost is not None:
        state = f"lost at step {runner.lost:,}"
    else:
        state = "not in time" if race.step >= LONGEST else "on the way"
    return [runner.title, f"{runner.rate:.3g}", f"{runner.losses[-1]:.1e}", state]


def _losses(runner: Runner) -> tuple[list[int], list[float]]:
    stride = max(1, len(runner.losses) // _PATH_POINTS)
    steps = [*range(0, len(runner.losses), stride)]
    highest = 100 * runner.losses[0]  # who is lost must not squeeze the others
    return steps, [min(max(runner.losses[step], 1e-12), highest) for step in steps]


def _thinned(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
    stride = max(1, len(path) // _PATH_POINTS)
    return [*path[:-1:stride], path[-1]]


def _map(race: LiveRace, runners: list[Runner], routes: list[list[tuple[float, float]]]) -> str:
    left, right, bottom, top = race.surface.box

    def place(point: tuple[float, float]) -> str:
        """In per cent of the map; what is far outside is kept just outside."""
        x = 100 * (point[0] - left) / (right - left)
        y = 100 * (top - point[1]) / (top - bottom)
        return f"{min(max(x, -200), 300):.2f} {min(max(y, -200), 300):.2f}"

    lines = "".join(
        f'<path d="M{"L".join(map(place, route))}" stroke="{_color(runner)}"/>'
        f'<path class="head" d="M{place(route[-1])}h0" stroke="{_color(runner)}"/>'
        for runner, route in zip(runners, routes, strict=True)
    )
    marks = "".join(
        f'<span class="star" style="{_at(place(minimum))}">★</span>' for minimum in race.surface.minima
    )
    marks += f'<span class="start" style="{_at(place(race.surface.start))}"></span>'
    return (
        f'<div class="lp-map" aria-hidden="true"><i style="mask-image:url({backdrop(race.surface.name)})"></i>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none">{lines}</svg>{marks}</div>'
    )


def _at(place: str) -> str:
    x, y = place.split()
    return f"left:{x}%;top:{y}%"


@cache
def backdrop(name: str) -> str:
    """The surface in bands of equal ratio, as a mask: higher is denser."""
    surface = get_surface(name)
    left, right, bottom, top = surface.box
    across, down = np.linspace(left, right, _CELLS), np.linspace(top, bottom, _CELLS)
    losses = surface.loss(np.stack(np.meshgrid(across, down), axis=-1))
    height = np.log(losses + losses.max() * 1e-4)
    share = (height - height.min()) / (height.max() - height.min())
    return signed_png(np.floor(share * _BANDS) / _BANDS)
