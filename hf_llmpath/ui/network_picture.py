"""Draws a network as it learns: units as small surfaces, weights as edges, and its answer over the points."""

from html import escape

import numpy as np

from ..charts.decision_surface import input_tiles, network_svg, plane_svg
from ..charts.picture import Picture
from ..charts.plots import line_chart
from .live_network import RESOLUTION, SHOWN, LiveNetwork

FEW = 4  # points of XOR without noise
_CURVE_POINTS = 150  # points of a curve on the page, about


def network_picture(live: LiveNetwork) -> str:
    """Returns the whole picture: the state in words, the network, its answer over the points, the losses."""
    # Copies everything under the lock; drawing takes long, and the training can continue meanwhile.
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
        f'<p class="lp-status" data-step="{step}" data-loss="{losses["train"]:.6f}" '
        f'data-test-loss="{losses["test"]:.6f}" data-accuracy="{accuracy["train"]:.4f}">'
        f"{' · '.join(facts)}</p>"
    )
    columns = [input_tiles(RESOLUTION // 2), *hidden]
    headings = ["inputs", *(f"layer {layer}" for layer in range(1, len(columns))), "output"]
    network = Picture(
        "The network",
        lambda width: network_svg(columns, weights, headings),
        "A unit shows what it answers over the plane. Edges are weights: amber positive, blue negative.",
        _described(weights),
    )
    surface = Picture(
        "Its answer",
        lambda width: _surface(live, answer),
        "" if same else "Filled points are for training, hollow ones for testing.",
        f"Circles and triangles are the two classes; {accuracy['train']:.0%} of them are on the right side.",
    )
    if same:
        curve.pop("test")
    chart = live.chart.html(live, lambda: line_chart(curve, "Loss", "step"))
    grid = f'<div class="lp-live-grid">{network.html()}{surface.html()}{chart}</div>'
    return f'<div class="lp lp-live">{status}{told}{grid}</div>'


def _short(loss: float) -> str:
    return f"{loss:.4f}" if loss < 1000 else f"{loss:.2e}"


def _thinned(live: LiveNetwork) -> dict[str, tuple[list[int], list[float]]]:
    history = live.history
    stride = max(1, len(history.steps) // _CURVE_POINTS)
    cut = lambda values: [*values[:-1:stride], *values[-1:]]  # noqa: E731  # always with the last value
    return {
        "training": (cut(history.steps), cut(history.train)),
        "test": (cut(history.steps), cut(history.test)),
    }


def _described(weights: list[np.ndarray]) -> str:
    sizes = [weights[0].shape[1], *(len(weight) for weight in weights)]  # each weight is (outputs, inputs)
    largest = max(float(np.abs(weight).max()) for weight in weights)
    parts = [f"Layers of {', '.join(map(str, sizes))} units. The largest weight is {largest:.2f} in size."]
    for layer, weight in enumerate(weights, start=1):
        if weight.size <= 16:  # more numbers would be tedious to listen to
            numbers = np.array2string(weight, precision=1, separator=", ", max_line_width=10_000)
            parts.append(f"Weights of layer {layer}: {numbers}.")
    return " ".join(parts)


def _surface(live: LiveNetwork, answer: np.ndarray) -> str:
    few = len(live.train.x) <= FEW  # then the test points are the training points
    groups = (
        [("train", live.train, True)] if few else [("test", live.test, False), ("train", live.train, True)]
    )
    points = [(live.x[split], points.labels, filled) for split, points, filled in groups]
    extent = (-SHOWN, SHOWN, -SHOWN, SHOWN)
    # `surfaces` gives the top row first, plane_svg takes the lowest row first.
    return plane_svg(answer[::-1], extent, points, size=6 if few else 2.8)
