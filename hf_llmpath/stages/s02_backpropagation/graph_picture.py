"""Draws a computation graph of single numbers, for the card and for the page.

A node shows its value and its gradient, and an edge shows its local derivative.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ...charts.picture import INK, PAPER, RULE, SOFT, TINT, Picture, rect, series, svg, text

COLUMN, ROW = 112, 64  # pixels between the centers of two nodes
WIDTH, HEIGHT = 68, 44  # pixels of a node
POSITIVE, NEGATIVE = "var(--lp-accent)", series(1)  # colors of gradients
DETAIL = (
    "A box shows its value, and below it ∂, the gradient of the loss with respect to it: the sum over the "
    "edges that leave the box of upstream gradient × local derivative. Amber is positive, blue negative."
)


def computation_graph(nodes: Sequence[Mapping[str, Any]], caption: str, done: int | None = None) -> Picture:
    """Draws the graph that ends in the last node.

    Args:
        nodes: the nodes, inputs before the results computed from them. Each has `symbol`, `data`, `grad` (of
            the finished backward pass), `inputs` (indices), `local` (one per input), `column`, and `row`.
        done: the number of results that have passed their gradient on, from the last one back; all by
            default.
    """
    # In the order of the backward pass: the loss comes first.
    results = [index for index, node in enumerate(nodes) if node["inputs"]][::-1]
    passed = results[: len(results) if done is None else done]
    current = passed[-1] if passed and done is not None else None
    # For each node, the results that use it.
    users = [[user for user in results if index in nodes[user]["inputs"]] for index in range(len(nodes))]
    # A gradient is complete when all results that use the value have passed theirs on. Nothing uses the loss.
    known = [bool(passed) and all(user in passed for user in used_by) for used_by in users]
    top = min(node["row"] for node in nodes)
    centers = [
        (node["column"] * COLUMN + WIDTH / 2 + 6, (node["row"] - top) * ROW + HEIGHT / 2 + 6)
        for node in nodes
    ]
    width = max(node["column"] for node in nodes) * COLUMN + WIDTH + 12
    height = (max(node["row"] for node in nodes) - top) * ROW + HEIGHT + 26
    body = "".join(
        _edge(centers[source], centers[index], local, nodes[index]["grad"], index in passed, index == current)
        for index in results
        for source, local in zip(nodes[index]["inputs"], nodes[index]["local"], strict=True)
    )
    for index, node in enumerate(nodes):
        body += _node(centers[index], node, known[index], index == current)
    drawing = svg(body, width, height, "lp-graph")
    # style.css limits the width of the graph to its natural width, --w.
    drawing = drawing.replace("<svg ", f'<svg style="--w:{width:.0f}px" ', 1)
    spoken = " ".join(
        f"{node['symbol']} is {node['data']:.3f}" + (f", gradient {node['grad']:.3f}." if is_known else ".")
        for node, is_known in zip(nodes, known, strict=True)
    )
    markup = f'<div tabindex="0" role="region" aria-label="{escape(caption)}">{drawing}</div>'
    if current is not None:
        markup += f'<p class="lp-note">{escape(_explained(nodes, current))}</p>'
    return Picture(caption, lambda _: drawing, DETAIL, spoken, markup=markup, width=round(width) + 32)


def _explained(nodes: Sequence[Mapping[str, Any]], index: int) -> str:
    """Explains what a result passes on to each of its inputs: local × upstream."""
    node = nodes[index]
    terms = []
    for source, local in zip(node["inputs"], node["local"], strict=True):
        product = f"{_short(local)} × {_short(node['grad'])} = {_short(local * node['grad'])}"
        terms.append(f"{nodes[source]['symbol']} gets {product}")
    return f"{node['symbol']} passes on, local × upstream: {'; '.join(terms)}."


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1e}"


def _tone(value: float) -> str:
    return POSITIVE if value >= 0 else NEGATIVE


def _node(center: tuple[float, float], node: Mapping[str, Any], known: bool, current: bool) -> str:
    x, y = center
    is_result = bool(node["inputs"])
    stroke, thick = ("var(--lp-accent)", 3) if current else (RULE if is_result else SOFT, 1.5)
    more = f'rx="9" stroke="{stroke}" stroke-width="{thick}"' + (
        "" if is_result else ' stroke-dasharray="4 3"'
    )
    symbol, grad = escape(node["symbol"]), node["grad"] if known else ""
    body = rect(x - WIDTH / 2, y - HEIGHT / 2, WIDTH, HEIGHT - 4, TINT if is_result else PAPER, more)
    body += text(x, y - 7, node["symbol"], 12, SOFT, "middle")
    body += text(x, y + 11, _short(node["data"]), 14, INK, "middle", "bold")
    if known:
        body += text(x, y + 34, f"∂ {_short(grad)}", 12.5, _tone(grad), "middle", "bold")
    return f'<g data-name="{symbol}" data-grad="{grad}">{body}</g>'


def _edge(
    start: tuple[float, float],
    end: tuple[float, float],
    local: float,
    upstream: float,
    passed: bool,
    current: bool,
) -> str:
    (x1, y1), (x2, y2) = start, end
    if abs(x2 - x1) < WIDTH:  # one node above the other: a straight edge between them
        sign = 1 if y2 > y1 else -1
        y1, y2 = y1 + sign * HEIGHT / 2, y2 - sign * (HEIGHT / 2 + 2)
        route = f"M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}"
    else:
        x1, x2 = x1 + WIDTH / 2, x2 - WIDTH / 2
        half = (x1 + x2) / 2  # of a Bézier curve that leaves and enters horizontally
        route = f"M{x1:.0f} {y1:.0f}C{half:.0f} {y1:.0f} {half:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
    color = _tone(local * upstream) if passed else RULE
    path = f'<path d="{route}" fill="none" stroke="{color}" stroke-width="{4 if current else 2}"/>'
    if not passed:
        return path
    weight, ink = ("bold", INK) if current else ("normal", SOFT)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2 - 4
    return path + text(x, y, f"×{_short(local)}", 11.5, ink, "middle", weight, halo=True)
