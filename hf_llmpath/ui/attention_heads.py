"""Attention on a page: every head of every layer as a small picture, one of them large with its values
under the pointer.

The pictures are part of the markup and need no script; the script only swaps the large one and reads out
values, in the browser, so that looking around costs the server nothing.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape

import gradio as gr
import numpy as np

from .pictures import figure, signed_png, visible

# Events are caught at the component's root, which stays when its content is replaced. The chosen head
# stays chosen.
_SCRIPT = """
let chosen = 0, last = null;
const shown = (figure) => Number(figure.dataset.shown || 0);
const cellsOf = (figure) => {
  if (figure.read !== figure.dataset.values) {  // the element may stay while its content is replaced
    figure.read = figure.dataset.values;
    const text = atob(figure.read);
    figure.cells = Uint8Array.from(text, (c) => c.charCodeAt(0));
    figure.rows = JSON.parse(figure.dataset.rows);
    figure.columns = JSON.parse(figure.dataset.columns);
  }
  return figure.cells;
};
const point = (figure, row, column) => {
  const cells = cellsOf(figure), rows = figure.rows.length, columns = figure.columns.length;
  row = Math.max(0, Math.min(rows - 1, row));
  column = Math.max(0, Math.min(columns - 1, column));
  figure.at = [row, column];
  const value = cells[(shown(figure) * rows + row) * columns + column] / 255;
  const box = figure.querySelector('.lp-attn-cursor');
  box.style.setProperty('--row', row);
  box.style.setProperty('--column', column);
  box.hidden = false;
  figure.querySelectorAll('.lp-attn-y span').forEach((s, i) => s.classList.toggle('on', i === row));
  figure.querySelectorAll('.lp-attn-x span').forEach((s, i) => s.classList.toggle('on', i === column));
  figure.querySelector('.lp-attn-value').textContent =
    `“${figure.rows[row]}” (${row + 1}) ${figure.dataset.verb} “${figure.columns[column]}” (${column + 1}): ` +
    `${(100 * value).toFixed(1)} %`;
};
const choose = (figure, index) => {
  const button = figure.querySelector(`[data-head="${index}"]`);
  if (!button) return;
  figure.dataset.shown = index;
  chosen = Number(index);
  figure.querySelectorAll('[data-head]').forEach((b) => b.setAttribute('aria-pressed', b === button));
  figure.querySelector('.lp-attn-plot img').src = button.querySelector('img').src;
  figure.querySelector('.lp-attn-title').textContent = button.dataset.name;
  if (figure.at) point(figure, ...figure.at);
};
const figureOf = (event) => event.target.closest && event.target.closest('.lp-attention');
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-head]');
  if (button) choose(figureOf(event), button.dataset.head);
});
element.addEventListener('pointermove', (event) => {
  const plot = event.target.closest('.lp-attn-plot');
  if (!plot) return;
  const figure = figureOf(event), box = plot.getBoundingClientRect();
  cellsOf(figure);
  point(figure, Math.floor(((event.clientY - box.top) / box.height) * figure.rows.length),
        Math.floor(((event.clientX - box.left) / box.width) * figure.columns.length));
});
element.addEventListener('keydown', (event) => {
  const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key];
  const map = event.target.closest('.lp-attn-focus');
  if (!step || !map) return;
  event.preventDefault();
  const figure = figureOf(event), [row, column] = figure.at || [0, -step[1]];
  point(figure, row + step[0], column + step[1]);
});
new MutationObserver(() => {
  const figure = element.querySelector('.lp-attention');
  if (!figure || figure.dataset.values === last) return;
  last = figure.dataset.values;
  figure.dataset.shown = 0;
  figure.at = null;
  if (chosen > 0) choose(figure, chosen);
}).observe(element, {childList: true, subtree: true, attributes: true, attributeFilter: ['data-values']});
"""


def attention_html(elem_id: str) -> gr.HTML:
    """The component that the pictures of this module are put into."""
    return gr.HTML("", apply_default_css=False, js_on_load=_SCRIPT, elem_id=elem_id)


def head_browser(
    weights: np.ndarray, rows: Sequence[str], columns: Sequence[str], caption: str, detail: str = ""
) -> str:
    """All layers × heads as buttons, and the chosen one large.

    Args:
        weights: `(layers, heads, rows, columns)`, from 0 to 1.
        rows, columns: tokens that look, and tokens that are looked at.
    """
    layers, heads = weights.shape[:2]
    buttons, first = "", ""
    for layer in range(layers):
        for head in range(heads):
            values, index = weights[layer, head], layer * heads + head
            name, picture = f"Layer {layer + 1}, head {head + 1}", signed_png(values)
            first = first or picture
            spoken = f"{name}: the strongest look of a token takes {values.max(axis=1).mean():.0%} on average"
            buttons += (
                f'<button type="button" data-head="{index}" data-name="{name}" aria-pressed="{str(not index).lower()}" '
                f'aria-label="{spoken}"><img src="{picture}" alt=""><span>{layer + 1}·{head + 1}</span></button>'
            )
    shape = f"--heads:{heads};--ratio:{len(columns) / max(len(rows), 1):.3f}"
    grid = f'<div class="lp-attn-grid" style="{shape}" role="group" aria-label="Every head">{buttons}</div>'
    large = _large(first, rows, columns, "Layer 1, head 1")
    return _figure(
        grid + large, weights.reshape(layers * heads, *weights.shape[2:]), rows, columns, caption, detail
    )


def attention_picture(
    weights: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    caption: str,
    detail: str = "",
    verb: str = "looks at",
) -> str:
    """One map `(rows, columns)`, large; `verb` joins the two tokens of a cell in what is read out."""
    strongest = weights.argmax(axis=1) if weights.size else []
    pairs = [
        f"{visible(row)} {verb} {visible(columns[place])}" for row, place in zip(rows, strongest, strict=True)
    ]
    large = _large(signed_png(weights), rows, columns, "", alternative="Strongest: " + "; ".join(pairs))
    return _figure(large, weights[None], rows, columns, caption, detail, verb)


def mask_pictures(
    masks: Mapping[str, tuple[np.ndarray, Sequence[str], Sequence[str]]], caption: str, detail: str
) -> str:
    """Masks side by side, `name -> (mask, rows, columns)`: filled where a row may look at a column."""
    body = ""
    for name, (mask, rows, columns) in masks.items():
        alternative = f"{name}: {int(mask.sum())} of {mask.size} pairs may look."
        plot = _plot(signed_png(np.asarray(mask, dtype=float)), rows, columns, alternative)
        body += f'<div class="lp-mask"><p>{escape(name)}</p><div class="lp-scroll" tabindex="0" role="region" ' \
                f'aria-label="{escape(name)}">{plot}</div></div>'  # fmt: skip
    return figure(f'<div class="lp-masks">{body}</div>', caption, detail)


def _plot(picture: str, rows: Sequence[str], columns: Sequence[str], alternative: str) -> str:
    upright = all(len(column) <= 1 for column in columns)
    names = [
        "".join(f"<span>{escape(visible(token))}</span>" for token in tokens) for tokens in (rows, columns)
    ]
    turned = "" if upright else " turned"
    return (
        f'<div class="lp-attn{" small" if max(len(rows), len(columns)) > 36 else ""}" '
        f'style="--rows:{len(rows)};--columns:{len(columns)}">'
        f'<div class="lp-attn-y" aria-hidden="true">{names[0]}</div>'
        f'<div class="lp-attn-plot"><img src="{picture}" alt="{escape(alternative)}">'
        f'<div class="lp-attn-cursor" hidden></div></div>'
        f'<div class="lp-attn-x{turned}" aria-hidden="true">{names[1]}</div></div>'
    )


def _large(
    picture: str, rows: Sequence[str], columns: Sequence[str], title: str, alternative: str = ""
) -> str:
    heading = f'<p class="lp-attn-title" aria-live="polite">{escape(title)}</p>' if title else ""
    plot = _plot(picture, rows, columns, alternative or "Rows look, columns are looked at.")
    return (
        f'{heading}<div class="lp-scroll lp-attn-focus" tabindex="0" role="group" '
        f'aria-label="Attention, cell by cell with the arrow keys">{plot}</div>'
        '<p class="lp-attn-value lp-note" aria-live="polite">Point at a cell, or go there with the arrow keys.</p>'
    )


def _figure(
    body: str,
    weights: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    caption: str,
    detail: str,
    verb: str = "looks at",
) -> str:
    """Frame and data: one byte per weight."""
    values = base64.b64encode(np.round(np.clip(weights, 0, 1) * 255).astype(np.uint8).tobytes()).decode()
    names = [
        escape(json.dumps([visible(token) for token in tokens]), quote=True) for tokens in (rows, columns)
    ]
    framed = figure(body, caption, detail)
    data = (
        f'data-values="{values}" data-rows="{names[0]}" data-columns="{names[1]}" data-verb="{escape(verb)}"'
    )
    return framed.replace(
        '<figure class="lp lp-figure">', f'<figure class="lp lp-figure lp-attention" {data}>', 1
    )
