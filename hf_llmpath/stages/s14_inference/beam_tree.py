"""Draws a beam search as a tree: a column per step and a box per text that is kept, the likeliest on top."""

from collections.abc import Sequence
from html import escape
from typing import Any

from transformers import PreTrainedTokenizerBase

from ...charts.picture import INK, PAPER, RULE, SOFT, TINT, Picture, shortened, svg
from ...decoding.beam_search import NEVER, Beams

COLUMN, ROW = 104, 58  # pixels between the centers of two boxes
WIDTH, HEIGHT = 82, 40  # pixels of a box
MARGIN = 6
ON_THE_WAY = "var(--lp-accent)"  # color of the path to the best text

Step = list[dict[str, Any]]  # the nodes of one step


def beam_tree(beams: Beams, tokenizer: PreTrainedTokenizerBase, row: int = 0) -> list[Step]:
    """Returns the nodes of each step, the likeliest first.

    Args:
        beams: the result of `beam_search(..., with_steps=True)`.
        tokenizer: the tokenizer that gives the tokens' texts.
        row: the row of the batch whose search is drawn.

    Returns:
        The nodes of each step. A node has `token` (its text), `parent` (the index of a node in the previous
        step, or -1 in the first step), `log_probability` of the text so far, `ended`, `score` if the text
        ended, and `best`, which says whether the node lies on the path to the best text.
    """
    steps: list[Step] = []
    node_of_beam: list[int] = []  # beam of the previous step -> index of its node
    for step in beams.steps:
        # (batch, num_beams) -> (num_beams,) each
        columns = (step.tokens[row], step.parents[row], step.log_probabilities[row])
        # Only texts that have ended have a score.
        kept = [(*values, None) for values in zip(*(column.tolist() for column in columns), strict=True)]
        ended = [(e.token, e.parent, e.log_probability, e.score) for e in step.ended if e.row == row]
        nodes = [
            {
                "token": tokenizer.convert_ids_to_tokens(token),
                "parent": node_of_beam[parent] if steps else -1,
                "log_probability": value,
                "score": score,
                "ended": score is not None,
                "best": False,
                "beam": index if score is None else None,
            }
            for index, (token, parent, value, score) in enumerate(kept + ended)
            if value > NEVER / 2  # leaves out beams that hold no text, or none that can continue
        ]
        nodes.sort(key=lambda node: -node["log_probability"])
        # Sorting has moved the nodes, but `parents` of the next step counts beams.
        index_of = {node.pop("beam"): index for index, node in enumerate(nodes)}
        node_of_beam = [index_of.get(beam, -1) for beam in range(len(kept))]
        steps.append(nodes)
    _mark_best(steps)
    return steps


def _mark_best(steps: list[Step]) -> None:
    """Marks the nodes of the text with the highest score, from its end back to the first step."""
    ends = [
        (node["score"], depth, index)
        for depth, nodes in enumerate(steps)
        for index, node in enumerate(nodes)
        if node["ended"]
    ]
    _, depth, index = max(ends, default=(0.0, -1, -1))  # if no text has ended, the loop marks nothing
    while depth >= 0:
        node = steps[depth][index]
        node["best"] = True
        depth, index = depth - 1, node["parent"]


def tree_picture(steps: Sequence[Step], prompt: str, caption: str) -> Picture:
    """Draws the tree of `beam_tree`, whose texts continue `prompt`."""
    # The root takes one more column; the gaps around the outermost boxes are cut off.
    rows = max(map(len, steps))
    width = (len(steps) + 1) * COLUMN - (COLUMN - WIDTH) + 2 * MARGIN
    height = rows * ROW - (ROW - HEIGHT) + 2 * MARGIN
    root = (WIDTH / 2 + MARGIN, height / 2)

    def center(depth: int, index: int) -> tuple[float, float]:
        return (depth + 1) * COLUMN + WIDTH / 2 + MARGIN, index * ROW + HEIGHT / 2 + MARGIN

    edges, best_edges = "", ""
    boxes = _box(root, shortened(prompt, 9), "", prompt, "root")
    for depth, nodes in enumerate(steps):
        for index, node in enumerate(nodes):
            start = center(depth - 1, node["parent"]) if depth else root
            edge = _edge(start, center(depth, index), node["best"])
            # The path to the best text is drawn over the other edges.
            edges, best_edges = (edges, best_edges + edge) if node["best"] else (edges + edge, best_edges)
            kind = " ".join(name for name in ("best", "ended") if node[name])
            word, value = _word(node["token"]), f"{node['log_probability']:.2f}"
            boxes += _box(center(depth, index), word, value, word, kind)
    drawing = svg(edges + best_edges + boxes, width, height, "lp-tree")
    region = f'class="lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}"'
    best = [_word(node["token"]) for nodes in steps for node in nodes if node["best"]]
    count = f"{sum(map(len, steps))} texts in {len(steps)} steps"
    return Picture(
        caption,
        lambda _: drawing,
        "The log-probability of each text so far; shaded: ended; outlined: the way to the best text.",
        f"{count}; the best text continues with: {' '.join(best)}",
        markup=f"<div {region}>{drawing}</div>",
    )


def _word(token: str) -> str:
    # The joiner ￭ glues a token to the word next to it; a token of nothing else is shown as ␣.
    return "∎" if token.startswith("<|") else token.replace("￭", "") or "␣"


def _box(center: tuple[float, float], word: str, value: str, title: str, kind: str) -> str:
    x, y = center
    stroke, wide = (ON_THE_WAY, 2.5) if "best" in kind else (RULE, 1.5)
    fill = TINT if "ended" in kind else PAPER
    dash = ' stroke-dasharray="4 3"' if kind == "root" else ""
    style = f'text-anchor="middle" font-family="DejaVu Sans" x="{x}"'
    number = f'<text class="value" {style} y="{y + 14}" font-size="12" fill="{SOFT}">{value}</text>'
    return (
        f'<g class="{kind}" data-word="{escape(title)}"><title>{escape(title)}</title>'
        f'<rect x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="8" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{wide}"{dash}/>'
        f'<text class="name" {style} y="{y - 2 if value else y + 4}" font-size="12" font-weight="600" '
        f'fill="{INK}">{escape(word if len(word) <= 11 else word[:10] + "…")}</text>'
        f"{number if value else ''}</g>"
    )


def _edge(start: tuple[float, float], end: tuple[float, float], is_best: bool) -> str:
    (x1, y1), (x2, y2) = start, end
    x1, x2 = x1 + WIDTH / 2, x2 - WIDTH / 2
    middle = (x1 + x2) / 2  # both control points lie there, so the curve leaves and arrives horizontally
    style = (
        f'class="best" stroke="{ON_THE_WAY}" stroke-width="3"'
        if is_best
        else f'stroke="{RULE}" stroke-width="2"'
    )
    return f'<path {style} fill="none" d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"/>'
