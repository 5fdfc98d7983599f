"""A canvas to draw on with pointer, finger, or arrow keys, and an image classifier that reads the drawing."""

import base64
import binascii
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import gradio as gr
import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from ...charts.picture import figure, signed_png
from ...errors import UserError
from ...hub.model_folder import loaded

LARGEST = 2_000_000  # characters of a drawing; ours have some thousand
SIDE = 280  # pixels of the canvas
BORDERED = 16  # smaller images (8 x 8) are filled to the border, like scikit-learn's digits

_TEMPLATE = f"""
<div class="lp lp-draw">
  <canvas width="{SIDE}" height="{SIDE}" tabindex="0" role="application"
    aria-label="Drawing area: draw with the pointer, or move with the arrow keys and press space for the pen">
  </canvas>
  <div class="lp-draw-tools">
    <button type="button" data-clear>Clear</button><span class="lp-note" role="status"></span>
  </div>
</div>
"""
# Strokes stay in the browser. At the end of each, the whole drawing goes to the text box next to the canvas.
# Examples are buttons anywhere on the page that carry an image as their first child.
_SCRIPT = """
const canvas = element.querySelector('canvas'), pen = canvas.getContext('2d', {willReadFrequently: true});
const status = element.querySelector('[role=status]');
const clear = () => { pen.fillStyle = '#000'; pen.fillRect(0, 0, canvas.width, canvas.height); };
const send = (empty) => {
  const box = document.querySelector('#TARGET textarea, #TARGET input');
  box.value = empty ? '' : canvas.toDataURL('image/png');
  box.dispatchEvent(new Event('input', {bubbles: true}));
};
clear();
pen.lineWidth = 20; pen.lineCap = pen.lineJoin = 'round'; pen.strokeStyle = '#fff';
let last = null, timer = null;
const line = (x, y) => {
  pen.beginPath(); pen.moveTo(...(last || [x, y])); pen.lineTo(x, y); pen.stroke();
  last = [x, y];
  if (!timer) timer = setTimeout(() => { timer = null; send(false); }, 150);
};
const place = (event) => {
  const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  return [x * canvas.width / box.width, y * canvas.height / box.height];
};
canvas.addEventListener('pointerdown', (e) => {
  canvas.setPointerCapture(e.pointerId); last = null; line(...place(e));
});
canvas.addEventListener('pointermove', (e) => { if (last && e.buttons) line(...place(e)); });
canvas.addEventListener('pointerup', () => { last = null; send(false); });
let at = [canvas.width / 2, canvas.height / 4], down = false;
canvas.addEventListener('keydown', (e) => {
  const step = {ArrowUp: [0, -10], ArrowDown: [0, 10], ArrowLeft: [-10, 0], ArrowRight: [10, 0]}[e.key];
  if (!step && e.key !== ' ') return;
  e.preventDefault();
  const before = at;
  if (step) at = at.map((v, i) => Math.max(10, Math.min(canvas.width - 10, v + step[i])));
  else down = !down;
  if (down) { last = before; line(...at); }
  last = null;
  status.textContent = `pen ${down ? 'down' : 'up'} at ${Math.round(at[0] / 10)}, ${Math.round(at[1] / 10)}`;
});
element.querySelector('[data-clear]').addEventListener('click', () => {
  clear(); status.textContent = ''; send(true);
});
document.addEventListener('click', (e) => {
  const example = e.target.closest && e.target.closest('[data-drawing]');
  if (!example || !element.isConnected) return;
  clear();
  pen.imageSmoothingEnabled = false;
  const image = new Image();
  image.onload = () => { pen.drawImage(image, 0, 0, canvas.width, canvas.height); send(false); };
  image.src = example.dataset.drawing;
});
"""


def drawing_canvas(elem_id: str) -> gr.Textbox:
    """The canvas; returns the component that holds the drawing as a data URL (empty for none)."""
    gr.HTML(
        "",
        html_template=_TEMPLATE,
        js_on_load=_SCRIPT.replace("TARGET", elem_id),
        apply_default_css=False,
        elem_id=f"{elem_id}-canvas",
    )
    return gr.Textbox("", visible="hidden", elem_id=elem_id, label="Drawing")


def example_buttons(examples: Sequence[Mapping]) -> str:
    """Buttons that put an image on the canvas; each of `examples` has `label` and `pixels`."""
    buttons = ""
    for example in examples:
        url, label = _png(np.array(example["pixels"], dtype=np.uint8)), escape(str(example["label"]))
        buttons += f'<button type="button" data-drawing="{url}" aria-label="Example: {label}">'
        buttons += f'<img src="{url}" alt=""></button>'
    return f'<div class="lp lp-draw-examples" role="group" aria-label="Examples">{buttons}</div>'


def _png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def ink_of(drawing: str) -> np.ndarray:
    """A drawing's data URL as `(height, width)` uint8.

    Raises:
        UserError: not a PNG data URL.
    """
    try:
        if not drawing.startswith("data:image/png;base64,") or len(drawing) > LARGEST:
            raise ValueError
        image = Image.open(
            io.BytesIO(base64.b64decode(drawing.partition(",")[2], validate=True)), formats=("PNG",)
        )
        if max(image.size) > 4 * SIDE:
            raise ValueError
        return np.asarray(image.convert("L"))
    except (ValueError, OSError, binascii.Error, SyntaxError):
        raise UserError("this is not a drawing; draw on the canvas") from None


def as_digit(ink: np.ndarray, size: int) -> np.ndarray | None:
    """A drawing in the form of the data sets: cut out, scaled to fit, shrunk by averaging, and centered.

    As in MNIST (LeCun et al. 1998, section III.A), the longer side of the digit is 20 of 28 pixels, and its
    center of mass is the center of the image. Images below 16 x 16 are filled to their border and centered
    by their outline.

    Args:
        ink: `(height, width)`, uint8, 255 where there is ink.
        size: height and width of the result.

    Returns:
        `(size, size)`, uint8; None for a drawing without ink.
    """
    rows, columns = np.flatnonzero(ink.max(axis=1) > 0), np.flatnonzero(ink.max(axis=0) > 0)
    if not len(rows):
        return None
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = size if size < BORDERED else round(size * 20 / 28)
    scale = box / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    small = np.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.BOX))
    top, left = (size - height + 1) // 2, (size - width + 1) // 2  # as in 90 % of scikit-learn's digits
    if size >= BORDERED:
        down, across = (
            np.average(np.arange(n) + 0.5, weights=small.sum(axis=1 - axis) + 1e-9)
            for axis, n in enumerate(small.shape)
        )
        # In MNIST the center of mass lies within the pixel to the right of and below the middle.
        top = min(max(math.ceil(size / 2 - down), 0), size - height)
        left = min(max(math.ceil(size / 2 - across), 0), size - width)
    image = np.zeros((size, size), dtype=np.uint8)
    image[top : top + height, left : left + width] = small
    return image


class DigitReader:
    """An image classifier with its processor, for single drawings."""

    def __init__(self, folder: Path):
        self.model = AutoModelForImageClassification.from_pretrained(folder).eval()
        self.processor = AutoImageProcessor.from_pretrained(folder)

    def pixels(self, drawing: str) -> np.ndarray | None:
        """The image that the model gets for a drawing; None where nothing is drawn."""
        return as_digit(ink_of(drawing), self.model.config.image_size) if drawing else None

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray) -> tuple[list[tuple[str, float]], list[np.ndarray]]:
        """Classes with probabilities, and the outputs of each hidden layer, for `(size, size)` uint8."""
        batch = self.processor(pixels[None], input_data_format="channels_first", return_tensors="pt")
        output = self.model(batch["pixel_values"], output_hidden_states=True)
        probabilities = output.logits[0].softmax(-1).tolist()
        names = self.model.config.id2label
        layers = [state[0].numpy() for state in output.hidden_states[1:]]  # (units,) each
        return [(names[label], value) for label, value in enumerate(probabilities)], layers


def load_digit_reader(folder: Path) -> DigitReader:
    """The reader in a model folder, kept in memory until the folder changes.

    Raises:
        UserError: there is no model.
    """
    return loaded(DigitReader, folder)


def seen_picture(pixels: np.ndarray) -> str:
    """The image that goes into the model, as HTML."""
    alternative = f"The drawing at {len(pixels)} by {len(pixels)} pixels"
    body = f'<img class="lp-seen" src="{_png(pixels)}" alt="{alternative}">'
    return figure(
        body, "What the model sees", f"cut out, scaled and centered: {len(pixels)} x {len(pixels)} pixels"
    )


def activity_picture(layers: Sequence[np.ndarray]) -> str:
    """One square per unit of each hidden layer, as strong as the unit's value in its layer."""
    body = ""
    for number, values in enumerate(layers, start=1):
        columns = min(len(values), max(8, 2 ** math.ceil(math.log2(2 * math.sqrt(len(values))))))
        rows = math.ceil(len(values) / columns)
        grid = np.zeros(rows * columns)
        grid[: len(values)] = values / (np.abs(values).max() or 1.0)
        awake = int((np.abs(values) > 1e-6).sum())
        words = f"Layer {number}: {awake} of {len(values)} units are not zero"
        alternative = f"{words}; the strongest is unit {int(np.abs(values).argmax())}"
        source = signed_png(grid.reshape(rows, columns))
        body += f'<div class="lp-layer"><span>{words}</span><img src="{source}" alt="{alternative}" '
        body += f'style="aspect-ratio:{columns}/{rows}"></div>'
    return figure(
        body, "What each layer makes of it", "one square per unit; no color means that the unit is silent"
    )
