"""A beam search as a tree: a column per step, a box per text that was kept, the likeliest on top."""

from collections.abc import Sequence
from html import escape
from typing import Any

from ...ui import pictures

COLUMN, ROW = 104, 58  # pixels between the middles of two nodes
WIDTH, HEIGHT = 82, 40  # of a node


def tree_picture(
    steps: Sequence[Sequence[dict[str, Any]]], prompt: str, caption: str, detail: str = ""
) -> str:
    """
    Args:
        steps: nodes as `inference.beam_tree.beam_tree` returns them.
        prompt: what the texts go on from.
    """
    rows = max(map(len, steps))
    root = (WIDTH / 2 + 6, (rows - 1) / 2 * ROW + HEIGHT / 2 + 6)

    def middle(depth: int, place: int) -> tuple[float, float]:
        return (depth + 1) * COLUMN + WIDTH / 2 + 6, place * ROW + HEIGHT / 2 + 6

    edges, nodes = [], [_node(root, pictures.shortened(prompt, 9), "", "root", prompt)]
    for depth, found in enumerate(steps):
        for place, node in enumerate(found):
            start = root if depth == 0 else middle(depth - 1, node["parent"])
            edges.append((node["best"], _edge(start, middle(depth, place), node["best"])))
            kind = " ".join(name for name in ("best", "ended") if node[name])
            word = _word(node["token"])
            nodes.append(_node(middle(depth, place), word, f"{node['log_probability']:.2f}", kind, word))
    width, height = (len(steps) + 1) * COLUMN + 12, rows * ROW - (ROW - HEIGHT) + 12
    drawn = "".join(edge for _, edge in sorted(edges, key=lambda pair: pair[0]))
    body = (
        f'<div class="lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<svg class="lp-tree" viewBox="0 0 {width} {height}" style="width:{width}px" aria-hidden="true">'
        f"{drawn}{''.join(nodes)}</svg></div>"
    )
    return pictures.figure(body, caption, detail, _spoken(steps))


def _word(token: str) -> str:
    return "∎" if token.startswith("<|") else token.replace("￭", "") or "␣"


def _spoken(steps: Sequence[Sequence[dict[str, Any]]]) -> str:
    best = [_word(node["token"]) for nodes in steps for node in nodes if node["best"]]
    return f"{sum(map(len, steps))} texts in {len(steps)} steps; the best goes on with: {' '.join(best)}"


def _node(middle: tuple[float, float], word: str, value: str, kind: str, title: str) -> str:
    x, y = middle
    shown = word if len(word) <= 11 else word[:10] + "…"
    number = f'<text class="value" x="{x}" y="{y + 14}">{value}</text>' if value else ""
    return (
        f'<g class="{kind}" data-word="{escape(title)}"><title>{escape(title)}</title>'
        f'<rect x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
        f'<text class="name" x="{x}" y="{y - 2 if value else y + 4}">{escape(shown)}</text>{number}</g>'
    )


def _edge(start: tuple[float, float], end: tuple[float, float], best: bool) -> str:
    (x1, y1), (x2, y2) = start, end
    x1, x2 = x1 + WIDTH / 2, x2 - WIDTH / 2
    half = (x1 + x2) / 2
    return f'<path class="{"best" if best else ""}" d="M{x1} {y1}C{half} {y1} {half} {y2} {x2} {y2}"/>'
