"""Shows attention on a page: a component that swaps the large map and reads out the cell under the pointer.

The maps (`charts.attention`) are part of the markup and need no script. The script runs only in the browser,
so exploring the maps takes no work of the server.
"""

import gradio as gr

# The listeners are on the component's root, which stays when Gradio replaces the content. A MutationObserver
# notices new content and selects the same head again.
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
    `“${figure.rows[row]}” (${row + 1}) ${figure.dataset.verb} ` +
    `“${figure.columns[column]}” (${column + 1}): ${(100 * value).toFixed(1)} %`;
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
    """Returns the component that shows pictures of `charts.attention`."""
    return gr.HTML("", apply_default_css=False, js_on_load=_SCRIPT, elem_id=elem_id)
