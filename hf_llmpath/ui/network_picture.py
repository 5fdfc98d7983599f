"""A network as it learns: its units as small surfaces, its weights as edges, its answer over the points."""

from html import escape

import numpy as np

from . import pictures
from .live_network import RESOLUTION, SHOWN, LiveNetwork
from .pictures import signed_png

TILE, GAP, COLUMN = 38, 10, 92  # of a unit's surface, between two of them, from layer to layer
STRONGEST = 4.0  # a weight of this size is drawn as thick as it gets
FEW = 4  # points of XOR without noise
_CURVE_POINTS = 150  # of a curve on the page


def network_picture(live: LiveNetwork) -> str:
    """The whole picture: state in words, network, answer over the points, losses."""
    with live.lock:
        answer, hidden = live.surfaces()
        weights = live.weights()
        step, losses, accuracy, stopped = live.step, dict(live.loss), dict(live.accuracy), live.stopped
        curve = _thinned(live)
    same = len(live.train.x) <= FEW  # then the test points are the training points
    facts = [f"step {step:,}", f"loss {_short(losses['train'])}", f"{accuracy['train']:.1%} right"]
    if not same:
        facts[1] += f", test {_short(losses['test'])}"
        facts[2] += f", test {accuracy['test']:.1%}"
    told = f'<p class="lp-stopped" role="alert">{escape(stopped)}</p>' if stopped else ""
    status = (
        f'<p class="lp-status" data-step="{step}" data-loss="{losses["train"]:.6f}" data-test-loss="{losses["test"]:.6f}"'
        f' data-accuracy="{accuracy["train"]:.4f}">{" · ".join(facts)}</p>'
    )
    network = pictures.figure(
        _network(hidden, weights),
        "The network",
        "a unit shows what it answers over the plane; edges are weights: amber positive, blue negative, thick large",
        _described(weights),
    )
    surface = pictures.figure(
        _surface(live, answer),
        "Its answer",
        "" if same else "filled points to learn from, hollow ones to test on",
        f"Circles and triangles are the two classes; {accuracy['train']:.0%} of them are on the right side.",
    )
    if same:
        curve.pop("test")
    chart = pictures.line_chart(curve, "Loss", "step")
    return f'<div class="lp lp-live">{status}{told}<div class="lp-live-grid">{network}{surface}{chart}</div></div>'


def _short(loss: float) -> str:
    return f"{loss:.4f}" if loss < 1000 else f"{loss:.2e}"


def _thinned(live: LiveNetwork) -> dict[str, tuple[list[int], list[float]]]:
    history = live.history
    stride = max(1, len(history.steps) // _CURVE_POINTS)
    cut = lambda values: [*values[:-1:stride], *values[-1:]]  # noqa: E731
    return {
        "training": (cut(history.steps), cut(history.train)),
        "test": (cut(history.steps), cut(history.test)),
    }


def _described(weights: list[np.ndarray]) -> str:
    sizes = [weights[0].shape[1], *(len(weight) for weight in weights)]
    largest = max(float(np.abs(weight).max()) for weight in weights)
    return (
        f"Layers of {', '.join(map(str, sizes))} units. The largest weight is {largest:.2f} in size. "
        + " ".join(
            f"Weights of layer {place}: {np.array2string(weight, precision=1, separator=', ', max_line_width=10_000)}."
            for place, weight in enumerate(weights, start=1)
            if weight.size <= 16
        )
    )


def _network(hidden: list[np.ndarray], weights: list[np.ndarray]) -> str:
    """The SVG: a column per layer, inputs first, the output as a dot."""
    columns = [_input_tiles(), *hidden]
    tall = max(len(column) for column in columns)
    height, width = tall * (TILE + GAP) + 30, COLUMN * (len(columns) + 1) - (COLUMN - TILE) + 8
    places = [
        [(COLUMN * c + 4, _top(height, len(tiles), row)) for row in range(len(tiles))]
        for c, tiles in enumerate(columns)
    ]
    end = (COLUMN * len(columns) + 4 + TILE / 2, height / 2 + 7)
    edges = []
    for layer, weight in enumerate(weights):
        targets = (
            [(x, y + TILE / 2) for x, y in places[layer + 1]]
            if layer + 1 < len(places)
            else [(end[0] - 9, end[1])]
        )
        for row, target in enumerate(targets):
            for column, (x, y) in enumerate(places[layer]):
                edges.append(_edge((x + TILE, y + TILE / 2), target, float(weight[row, column])))
    tiles = "".join(
        f'<image href="{signed_png(values)}" x="{x}" y="{y}" width="{TILE}" height="{TILE}" preserveAspectRatio="none"/>'
        f'<rect x="{x}" y="{y}" width="{TILE}" height="{TILE}" rx="3"/>'
        for column, where in zip(columns, places, strict=True)
        for values, (x, y) in zip(column, where, strict=True)
    )
    names = ["inputs", *(f"layer {place}" for place in range(1, len(columns)))]
    labels = "".join(
        f'<text x="{COLUMN * c + 4 + TILE / 2}" y="12">{name}</text>' for c, name in enumerate(names)
    )
    labels += f'<text x="{end[0]}" y="12">output</text>'
    return (
        f'<svg class="lp-network" viewBox="0 0 {width:.0f} {height}" style="--w:{width:.0f}px" aria-hidden="true">'
        f'{"".join(edges)}<g class="tiles">{tiles}</g><circle cx="{end[0]}" cy="{end[1]}" r="9"/>{labels}</svg>'
    )


def _top(height: int, count: int, row: int) -> float:
    return 22 + (height - 30 - count * (TILE + GAP)) / 2 + row * (TILE + GAP)


def _edge(start: tuple[float, float], end: tuple[float, float], weight: float) -> str:
    strength = min(abs(weight) / STRONGEST, 1.0)
    half, down = (end[0] - start[0]) / 2, end[1] - start[1]
    route = f"M{start[0]:.0f} {start[1]:.0f}c{half:.0f} 0 {half:.0f} {down:.0f} {2 * half:.0f} {down:.0f}"
    kind = "p" if weight >= 0 else "n"
    return f'<path class="{kind}" d="{route}" stroke-width="{0.6 + 6 * strength:.1f}" opacity="{0.35 + 0.65 * strength:.2f}"/>'


def _input_tiles() -> np.ndarray:
    across = np.linspace(-1, 1, RESOLUTION // 2)
    x, y = np.meshgrid(across, across[::-1])
    return np.stack([x, y])


def _surface(live: LiveNetwork, answer: np.ndarray) -> str:
    """The answer as an image, with the points drawn over it: one path for each class and part, a marker
    at each point.
    """
    few = len(live.train.x) <= FEW
    marks = []
    for part, points in (("test", live.test), ("train", live.train)):
        if part == "test" and few:
            continue  # the same four points
        for label, marker in ((0, "lp-circle"), (1, "lp-triangle")):
            chosen = live.x[part][points.labels == label]
            route = "L".join(f"{x:.2f} {-y:.2f}" for x, y in chosen)  # y grows upwards
            ends = "".join(f' marker-{place}="url(#{marker}-{part})"' for place in ("start", "mid", "end"))
            marks.append(f'<path d="M{route}"{ends}/>')
    view = f"{-SHOWN} {-SHOWN} {2 * SHOWN} {2 * SHOWN}"
    return (
        f'<div class="lp-plane" aria-hidden="true"><img src="{signed_png(0.8 * answer)}" alt="" decoding="sync">'
        f'<svg viewBox="{view}">{_markers(0.09 if few else 0.042)}{"".join(marks)}</svg></div>'
    )


def _markers(size: float) -> str:
    shapes = {
        "lp-circle": f'<circle r="{size}"/>',
        "lp-triangle": f'<path d="M0 {-1.3 * size:.3f}L{1.15 * size:.3f} {0.8 * size:.3f}H{-1.15 * size:.3f}z"/>',
    }
    return (
        "<defs>"
        + "".join(
            f'<marker id="{name}-{part}" class="{part} {name}" markerUnits="userSpaceOnUse" overflow="visible">{shape}</marker>'
            for name, shape in shapes.items()
            for part in ("train", "test")
        )
        + "</defs>"
    )
