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

LARGEST = 2_000_000  # characters in the data URL of a drawing; the canvas sends a few thousand
SIDE = 280  # pixels per side of the canvas
BORDERED = 16  # pixels; in smaller images (8 x 8), a digit fills the image, as in scikit-learn's data set

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
# Strokes are drawn in the browser. Every 150 ms during a stroke, and at its end, the whole drawing goes to
# the text box next to the canvas. Examples are buttons anywhere on the page with an image in `data-drawing`.
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
    """Adds the canvas to the page and returns the component that holds the drawing as a data URL.

    The data URL is empty if nothing is drawn.
    """
    gr.HTML(
        "",
        html_template=_TEMPLATE,
        js_on_load=_SCRIPT.replace("TARGET", elem_id),
        apply_default_css=False,
        elem_id=f"{elem_id}-canvas",
    )
    return gr.Textbox("", visible="hidden", elem_id=elem_id, label="Drawing")


def example_buttons(examples: Sequence[Mapping]) -> str:
    """Returns buttons that put an image on the canvas; each of `examples` has `label` and `pixels`."""
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
    """Decodes the data URL of a drawing as `(height, width)` uint8.

    Raises:
        UserError: If it is not the data URL of a PNG, or is too large.
    """
    try:
        if not drawing.startswith("data:image/png;base64,") or len(drawing) > LARGEST:
            raise ValueError
        # Only the PNG decoder may read what a visitor sends.
        image = Image.open(
            io.BytesIO(base64.b64decode(drawing.partition(",")[2], validate=True)), formats=("PNG",)
        )
        # Checked before `convert` decodes the pixels, because a small file may hold a huge image.
        if max(image.size) > 4 * SIDE:
            raise ValueError
        return np.asarray(image.convert("L"))
    except (ValueError, OSError, binascii.Error, SyntaxError):  # Pillow raises SyntaxError for a broken PNG
        raise UserError("this is not a drawing; draw on the canvas") from None


def as_digit(ink: np.ndarray, size: int) -> np.ndarray | None:
    """Converts a drawing to the form of the data sets: cropped, shrunk by averaging, and centered.

    As in MNIST (LeCun et al. 1998, section III.A), the longer side of the digit is 20 of 28 pixels, and its
    center of mass is the center of the image. Images below 16 x 16 are filled to their border and centered
    by their outline.

    Args:
        ink: the drawing, `(height, width)`, uint8, 255 where it has ink.
        size: the height and width of the result.

    Returns:
        The image, `(size, size)`, uint8, or None for a drawing without ink.
    """
    # The indices of the rows and columns with ink.
    rows, columns = np.flatnonzero(ink.max(axis=1) > 0), np.flatnonzero(ink.max(axis=0) > 0)
    if not len(rows):
        return None
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # (height of the ink, width of the ink)
    box = size if size < BORDERED else round(size * 20 / 28)
    scale = box / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    small = np.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.BOX))  # (height, width)
    top, left = (size - height + 1) // 2, (size - width + 1) // 2  # as in 90% of scikit-learn's digits
    if size >= BORDERED:
        # The center of mass in pixels. Faint ink may round to zero, but weights must not sum to zero.
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
    """An image classifier and its processor, for single drawings."""

    def __init__(self, folder: Path):
        self.model = AutoModelForImageClassification.from_pretrained(folder).eval()
        self.processor = AutoImageProcessor.from_pretrained(folder)

    def pixels(self, drawing: str) -> np.ndarray | None:
        """Returns the image that the model gets for a drawing, or None if nothing is drawn."""
        return as_digit(ink_of(drawing), self.model.config.image_size) if drawing else None

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray) -> tuple[list[tuple[str, float]], list[np.ndarray]]:
        """Returns the classes with their probabilities, and the outputs of each hidden layer `(units,)`.

        The image `pixels` is `(size, size)`, uint8.
        """
        # (size, size) -> (1, size, size), one channel; the processor returns (1, 1, size, size)
        batch = self.processor(pixels[None], input_data_format="channels_first", return_tensors="pt")
        output = self.model(batch["pixel_values"], output_hidden_states=True)
        probabilities = output.logits[0].softmax(-1).tolist()  # (1, classes) -> (classes,)
        names = self.model.config.id2label
        # (1, units) -> (units,) for each layer; the first of the hidden states is the input.
        layers = [state[0].numpy() for state in output.hidden_states[1:]]
        return [(names[label], value) for label, value in enumerate(probabilities)], layers


def load_digit_reader(folder: Path) -> DigitReader:
    """Returns the reader in a model folder, which stays in memory until the folder changes.

    Raises:
        UserError: If the folder has no model.
    """
    return loaded(DigitReader, folder)


def seen_picture(pixels: np.ndarray) -> str:
    """Returns the image that goes into the model, as HTML."""
    alternative = f"The drawing at {len(pixels)} by {len(pixels)} pixels"
    body = f'<img class="lp-seen" src="{_png(pixels)}" alt="{alternative}">'
    return figure(
        body, "What the model sees", f"cut out, scaled and centered: {len(pixels)} x {len(pixels)} pixels"
    )


def activity_picture(layers: Sequence[np.ndarray]) -> str:
    """Returns one square per unit of each hidden layer, as strong as the unit's value, as HTML."""
    body = ""
    for number, values in enumerate(layers, start=1):
        # A power of two, which makes the sheet of squares 4 to 16 times as wide as it is tall.
        columns = min(len(values), max(8, 2 ** math.ceil(math.log2(2 * math.sqrt(len(values))))))
        rows = math.ceil(len(values) / columns)
        grid = np.zeros(rows * columns)  # (rows * columns,); the last row may have squares without a unit
        grid[: len(values)] = values / (np.abs(values).max() or 1.0)  # a silent layer has the maximum 0
        awake = int((np.abs(values) > 1e-6).sum())
        words = f"Layer {number}: {awake} of {len(values)} units are not zero"
        alternative = f"{words}; the strongest is unit {int(np.abs(values).argmax())}"
        source = signed_png(grid.reshape(rows, columns))  # (rows * columns,) -> (rows, columns)
        body += f'<div class="lp-layer"><span>{words}</span><img src="{source}" alt="{alternative}" '
        body += f'style="aspect-ratio:{columns}/{rows}"></div>'
    return figure(
        body, "What each layer makes of it", "one square per unit; no color means that the unit is silent"
    )
