"""A computation graph of single numbers: values forward, gradients back, local × upstream on every edge."""

from collections.abc import Mapping
from html import escape

from .computation_graph import Value
from ...ui import pictures

COLUMN, ROW = 112, 64  # pixels between the middles of two nodes
WIDTH, HEIGHT = 68, 44  # of a node


def graph_picture(
    values: Mapping[str, Value],
    places: Mapping[str, tuple[float, float]],
    done: int,
    caption: str,
    detail: str = "",
) -> str:
    """The graph that ends in the last of `values`, while its gradients are being worked out.

    It is wide; the component that shows it has the class `lp-scroll`, so that it stays where it was
    scrolled to.

    Args:
        values: by name; the gradients are those of a finished backward pass.
        places: name -> column and row.
        done: how many results have passed their gradient on to their inputs, from the last one back.
    """
    names = {id(value): name for name, value in values.items()}
    order = list(reversed([value for value in list(values.values())[-1].order() if value.inputs]))
    passed = {id(value) for value in order[:done]}
    users: dict[int, list[Value]] = {}
    for value in order:
        for before in value.inputs:
            users.setdefault(id(before), []).append(value)
    known = {
        id(value)
        for value in values.values()
        if done and all(id(user) in passed for user in users.get(id(value), []))
    }
    current = order[done - 1] if 0 < done <= len(order) else None
    top = min(row for _, row in places.values())

    def middle(name: str) -> tuple[float, float]:
        column, row = places[name]
        return column * COLUMN + WIDTH / 2 + 6, (row - top) * ROW + HEIGHT / 2 + 6

    edges, nodes = [], []
    for value in order:
        for before, local in zip(value.inputs, value.local, strict=True):
            start, end = middle(names[id(before)]), middle(names[id(value)])
            edges.append(_edge(start, end, local, value.grad, id(value) in passed, value is current))
    for name, value in values.items():
        nodes.append(_node(middle(name), name, value, id(value) in known, value is current))
    width = max(column for column, _ in places.values()) * COLUMN + WIDTH + 12
    height = (max(row for _, row in places.values()) - top) * ROW + HEIGHT + 26
    body = (
        f'<div tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<svg class="lp-graph" viewBox="0 0 {width:.0f} {height:.0f}" style="--w:{width:.0f}px" aria-hidden="true">'
        f"{''.join(edges)}{''.join(nodes)}</svg></div>"
    )
    if current is not None:
        body += f'<p class="lp-note">{escape(_explained(current, names))}</p>'
    return pictures.figure(body, caption, detail, _spoken(values, known))


def _explained(value: Value, names: Mapping[int, str]) -> str:
    """What the current result passes on: local × upstream, for each of its inputs."""
    parts = [
        f"{names[id(before)]} gets {_short(local)} × {_short(value.grad)} = {_short(local * value.grad)}"
        for before, local in zip(value.inputs, value.local, strict=True)
    ]
    return f"{names[id(value)]} passes on, local × upstream: {'; '.join(parts)}."


def _spoken(values: Mapping[str, Value], known: set[int]) -> str:
    return " ".join(
        f"{name} is {value.data:.3f}" + (f", gradient {value.grad:.3f}." if id(value) in known else ".")
        for name, value in values.items()
    )


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1e}"


def _tone(value: float) -> str:
    return "p" if value >= 0 else "n"


def _node(middle: tuple[float, float], name: str, value: Value, known: bool, current: bool) -> str:
    x, y = middle
    kind = "leaf" if not value.inputs else "result"
    gradient = (
        f'<text class="g {_tone(value.grad)}" x="{x}" y="{y + 34}">∂ {_short(value.grad)}</text>'
        if known
        else ""
    )
    return (
        f'<g class="{kind}{" now" if current else ""}" data-name="{escape(name)}" data-grad="{value.grad if known else ""}">'
        f'<rect x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT - 4}" rx="9"/>'
        f'<text class="name" x="{x}" y="{y - 7}">{escape(name)}</text>'
        f'<text class="value" x="{x}" y="{y + 11}">{_short(value.data)}</text>{gradient}</g>'
    )


def _edge(
    start: tuple[float, float],
    end: tuple[float, float],
    local: float,
    upstream: float,
    passed: bool,
    current: bool,
) -> str:
    (x1, y1), (x2, y2) = start, end
    vertical = abs(x2 - x1) < WIDTH
    if vertical:
        sign = 1 if y2 > y1 else -1
        y1, y2 = y1 + sign * HEIGHT / 2, y2 - sign * (HEIGHT / 2 + 2)
    else:
        x1, x2 = x1 + WIDTH / 2, x2 - WIDTH / 2
    half = (x2 - x1) / 2
    route = (
        f"M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}"
        if vertical
        else (f"M{x1:.0f} {y1:.0f}C{x1 + half:.0f} {y1:.0f} {x1 + half:.0f} {y2:.0f} {x2:.0f} {y2:.0f}")
    )
    if not passed:
        return f'<path d="{route}"/>'
    place = f'x="{(x1 + x2) / 2:.0f}" y="{(y1 + y2) / 2 - 4:.0f}"'
    label = f'<text class="local{" now" if current else ""}" {place}>×{_short(local)}</text>'
    return f'<path class="{_tone(local * upstream)}{" now" if current else ""}" d="{route}"/>{label}'
