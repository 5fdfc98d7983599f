"""Pictures of attention: every head of every layer, a single large map, and masks.

Pages put the maps into `ui.attention_heads.attention_html`. The script of that component shows the chosen
head large and reads out the cell under the pointer.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from .matrix import column_names, matrix_svg, names_width, row_names
from .picture import SOFT, WIDTH, Picture, image, rect, signed_png, size_of, svg, text, visible


@dataclass(frozen=True)
class AttentionPicture(Picture):
    """A picture whose figure carries the attention weights for the script of the page.

    Attributes:
        data: the `data-` attributes of the figure, as HTML.
    """

    data: str = ""

    def html(self, small: bool = False) -> str:
        figure = '<figure class="lp lp-figure'
        return super().html(small).replace(f'{figure}"', f'{figure} lp-attention" {self.data}', 1)


def head_browser(
    weights: Sequence[Sequence[Sequence[Sequence[float]]]] | np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    caption: str,
    detail: str = "",
) -> AttentionPicture:
    """Draws the maps of all heads, one row per layer. Pages show them as buttons, and the chosen map large.

    Args:
        weights: `(layers, heads, rows, columns)`, from 0 to 1.
        rows, columns: tokens that look (the queries), and tokens that are looked at (the keys).
    """
    weights = np.asarray(weights, dtype=float)
    layers, heads = weights.shape[:2]
    # (layers, heads, rows, columns) -> a PNG of (rows, columns) for every head
    sources = [[signed_png(weights[layer, head]) for head in range(heads)] for layer in range(layers)]
    buttons = ""
    for layer, head in np.ndindex(layers, heads):
        # The largest weight of each row, averaged over the rows: (rows, columns) -> (rows,) -> a number.
        name, strength = f"Layer {layer + 1}, head {head + 1}", weights[layer, head].max(axis=1).mean()
        spoken = f"{name}: the strongest look of a token takes {strength:.0%} on average"
        first = str(layer == head == 0).lower()
        buttons += (
            f'<button type="button" data-head="{layer * heads + head}" data-name="{name}" '
            f'aria-pressed="{first}" aria-label="{spoken}"><img src="{sources[layer][head]}" alt="">'
            f"<span>{layer + 1}·{head + 1}</span></button>"
        )
    shape = f"--heads:{heads};--ratio:{len(columns) / max(len(rows), 1):.3f}"
    grid = f'<div class="lp-attn-grid" style="{shape}" role="group" aria-label="Every head">{buttons}</div>'
    large = _large(sources[0][0], rows, columns, "Layer 1, head 1")

    def draw(width: int) -> str:
        """Draws the maps as a grid, and the tokens at its left and bottom edges if they are readable."""
        names, letters = [visible(row) for row in rows], [visible(column) for column in columns]
        shape = len(rows) / len(columns)
        size = min(11, (width / heads - 30) / len(columns))  # of the letters, which are as high as a row
        named = size >= 5.5  # pixels; smaller letters cannot be read
        left = names_width(names, size) if named else 0
        wide = (width - left) / heads - 12
        tall, body = wide * shape, ""
        for layer, head in np.ndindex(layers, heads):
            x, y = left + head * (wide + 12), layer * (tall + 26) + 16
            body += text(x, y - 4, f"layer {layer + 1}, head {head + 1}", 10, SOFT)
            body += image(x, y, wide, tall, sources[layer][head])
            body += rect(x, y, wide, tall, "none", f'stroke="{SOFT}" stroke-width="0.7"')
            if head == 0 and named:
                body += row_names(names, x, y, tall / len(rows), size)
            if layer == layers - 1 and named:
                body += column_names(letters, x, y + tall, wide / len(columns), size)
        # The names of the columns stand upright; a letter is about 0.62 of its size wide.
        room = 0.62 * size * max(map(len, letters)) + 10 if named else 4
        return svg(body, width, layers * (tall + 26) + room - 8)

    # (layers, heads, rows, columns) -> (layers * heads, rows, columns)
    data = _data(weights.reshape(layers * heads, *weights.shape[2:]), rows, columns, "looks at")
    return AttentionPicture(caption, draw, detail, markup=grid + large, width=960, data=data)


def attention_map(
    weights: Sequence[Sequence[float]] | np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    caption: str,
    detail: str = "",
    *,
    verb: str = "looks at",
    x_label: str = "is looked at",
    y_label: str = "looks",
    highest: float = 1.0,
) -> AttentionPicture:
    """Draws a single map `(rows, columns)`, such as one head or an attention rollout, in a large size.

    Args:
        weights: `(rows, columns)`, from 0 to `highest`.
        rows, columns: tokens that look (the queries), and tokens that are looked at (the keys).
        verb: joins the two tokens of a cell in the text that the page reads out.
        x_label, y_label: names of the axes.
        highest: the weight that gets the full color.
    """
    shares = np.asarray(weights, dtype=float).reshape(len(rows), len(columns)) / highest
    strongest = shares.argmax(axis=1) if shares.size else []  # (rows, columns) -> (rows,)
    pairs = [
        f"{visible(row)} {verb} {visible(columns[index])}" for row, index in zip(rows, strongest, strict=True)
    ]
    markup = _large(signed_png(shares), rows, columns, "", "Strongest: " + "; ".join(pairs))
    names = [visible(row) for row in rows], [visible(column) for column in columns]
    draw = lambda width: matrix_svg(shares, *names, width, x_label, y_label)  # noqa: E731
    wide = min(1100, max(WIDTH, 120 + 14 * len(columns)))
    data = _data(shares[None], rows, columns, verb)  # (rows, columns) -> (1, rows, columns)
    return AttentionPicture(caption, draw, detail, markup=markup, width=wide, data=data)


def masks(
    panels: Mapping[str, tuple[Sequence[Sequence[bool]] | np.ndarray, Sequence[str], Sequence[str]]],
    caption: str,
    detail: str = "",
) -> Picture:
    """Draws masks side by side; a cell is filled where its row may look at its column.

    Args:
        panels: name -> mask `(rows, columns)`, and the tokens of the rows and of the columns.
    """
    markup = ""
    arrays = {name: np.asarray(mask, dtype=float) for name, (mask, _, _) in panels.items()}
    for name, (_, rows, columns) in panels.items():
        alternative = f"{name}: {int(arrays[name].sum())} of {arrays[name].size} pairs may look."
        plot = _plot(signed_png(arrays[name]), rows, columns, alternative)
        markup += (
            f'<div class="lp-mask"><p>{escape(name)}</p><div class="lp-scroll" tabindex="0" role="region" '
            f'aria-label="{escape(name)}">{plot}</div></div>'
        )

    def draw(width: int) -> str:
        wide, body, bottom = (width - 20 * (len(panels) - 1)) / len(panels), "", 0.0
        for index, (name, (_, rows, columns)) in enumerate(panels.items()):
            letters = [visible(row) for row in rows], [visible(column) for column in columns]
            drawing, x = matrix_svg(0.8 * arrays[name], *letters, int(wide)), index * (wide + 20)
            body += text(x, 13, name, 12, weight="bold")
            body += f'<g transform="translate({x:.1f} 22)">{drawing}</g>'
            bottom = max(bottom, size_of(drawing)[1])
        return svg(body, width, bottom + 24)

    return Picture(caption, draw, detail, markup=f'<div class="lp-masks">{markup}</div>', width=960)


def _plot(source: str, rows: Sequence[str], columns: Sequence[str], alternative: str) -> str:
    upright = all(len(column) <= 1 for column in columns)  # single characters need not be turned
    names = [
        "".join(f"<span>{escape(visible(token))}</span>" for token in tokens) for tokens in (rows, columns)
    ]
    turned = "" if upright else " turned"
    return (
        f'<div class="lp-attn{" small" if max(len(rows), len(columns)) > 36 else ""}" '
        f'style="--rows:{len(rows)};--columns:{len(columns)}">'
        f'<div class="lp-attn-y" aria-hidden="true">{names[0]}</div>'
        f'<div class="lp-attn-plot"><img src="{source}" alt="{escape(alternative)}">'
        f'<div class="lp-attn-cursor" hidden></div></div>'
        f'<div class="lp-attn-x{turned}" aria-hidden="true">{names[1]}</div></div>'
    )


def _large(
    source: str, rows: Sequence[str], columns: Sequence[str], title: str, alternative: str = ""
) -> str:
    heading = f'<p class="lp-attn-title" aria-live="polite">{escape(title)}</p>' if title else ""
    plot = _plot(source, rows, columns, alternative or "Rows look, columns are looked at.")
    return (
        f'{heading}<div class="lp-scroll lp-attn-focus" tabindex="0" role="group" '
        f'aria-label="Attention, cell by cell with the arrow keys">{plot}</div>'
        '<p class="lp-attn-value lp-note" aria-live="polite">'
        "Point at a cell, or go there with the arrow keys.</p>"
    )


def _data(weights: np.ndarray, rows: Sequence[str], columns: Sequence[str], verb: str) -> str:
    """Returns the data attributes for the script: weights `(heads, rows, columns)` and the tokens."""
    # One byte per weight, from 0 to 255, in the order of the axes: the script computes the index itself.
    values = base64.b64encode(np.round(np.clip(weights, 0, 1) * 255).astype(np.uint8).tobytes()).decode()
    names = [escape(json.dumps([visible(token) for token in tokens])) for tokens in (rows, columns)]
    return (
        f'data-values="{values}" data-rows="{names[0]}" data-columns="{names[1]}" data-verb="{escape(verb)}"'
    )
