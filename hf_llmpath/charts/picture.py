'''Defines pictures: one description becomes a PNG on a model card and a `<figure>` on a page.

A stage describes its pictures once, in `charts.py`, under the names of their PNG files:

    def pictures(folder: RunFolder) -> dict[str, Picture]:
        """Every picture of the run."""
        return {"loss": loss_chart(folder), "samples": texts(folder.figure_data("samples"), "Samples")}

    def loss_chart(folder: RunFolder) -> Picture:
        lines = {"training": ([0, 10, 20], [3.2, 2.1, 1.7])}
        return line_chart(lines, "Training loss", "step", "nats per character", levels={"n-gram": 1.6})

    def draw(folder: RunFolder) -> list[Path]:
        """Saves every picture of the run."""
        return save_all(pictures(folder), folder)  # figures/loss.png, figures/samples.png

The page of the stage (`demo.py`) shows the same picture: `html(loss_chart(folder).html())`. Pages that draw
from a live model call the same functions with the live data. `charts.plots` has the charts that Altair draws;
`charts.text`, `charts.matrix`, `charts.attention`, and `charts.decision_surface` have the others.
'''

import base64
import io
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..runs import RunFolder

# The light theme of `ui/style.css`; a test compares the two.
LIGHT = {
    "ink": "#1c1917",
    "soft": "#57534e",
    "paper": "#ffffff",
    "tint": "#f5f3ee",
    "line": "#e4dfd6",
    "accent": "#9a4a06",
    "more": "#f2a93b",
    "less": "#7fb2f5",
    "bar": "#c8790f",
    "good": "#166534",
    "bad": "#9f1d1d",
    "series-1": "#b45309",
    "series-2": "#1d63c9",
    "series-3": "#15803d",
    "series-4": "#7e3fb5",
    "series-5": "#be185d",
    "series-6": "#0e7490",
}
INK, SOFT, PAPER, TINT, RULE, MORE, LESS, BAR, GOOD, BAD = (
    f"var(--lp-{name})"
    for name in ("ink", "soft", "paper", "tint", "line", "more", "less", "bar", "good", "bad")
)
SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"  # fonts of the PNGs; pages use the reader's own fonts
WIDTH = 720  # of a PNG, in pixels before scaling
_SCALE, _MARGIN = 2, 16  # pixels of a PNG per pixel of the drawing; pixels around a PNG
_READABLE = 0.75  # a drawing that would shrink further could not be read; it scrolls instead
_PHONE = 360  # pixels; a drawing that is readable at this width never scrolls
_VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "↵", "": "∅"}
_SPECIAL = {"<|endoftext|>": "end", "<|pad|>": "pad", "<|unk|>": "unk"}


def series(index: int) -> str:
    """Returns the color of the line, bar, or class number `index`."""
    return f"var(--lp-series-{index % 6 + 1})"


def visible(token: str) -> str:
    """Returns a visible label for a token, which may be white space or a special token."""
    return _SPECIAL.get(token) or _VISIBLE.get(token, token).replace("￭", "")


def shortened(text: str, length: int = 40) -> str:
    """Returns the end of a long text, which is what the model read last."""
    return text if len(text) <= length else "…" + text[-length:]


def figure(body: str, caption: str, detail: str = "", alternative: str = "") -> str:
    """Returns a framed section of a page; screen readers read `alternative` instead of the body."""
    small = f"<small>{escape(detail)}</small>" if detail else ""
    hidden = f'<p class="lp-hidden">{escape(alternative)}</p>' if alternative else ""
    title = f"<figcaption>{escape(caption)}{small}</figcaption>"
    return f'<figure class="lp lp-figure">{title}{hidden}{body}</figure>'


@dataclass(frozen=True)
class Picture:
    """A drawing, and the words around it.

    Attributes:
        caption: title on cards, caption on pages.
        svg: function that returns the drawing `<svg width=… height=…>` for a width in pixels. The colors of
            the drawing are variables of `ui/style.css` such as `var(--lp-series-1)`.
        detail: a line below the caption.
        alternative: description of the drawing that screen readers read.
        key: name -> color of each thing that is drawn, shown above the drawing.
        markup: HTML that pages show instead of the drawing, where text is the better picture.
        width: width of the PNG, in pixels before it is scaled by two.
    """

    caption: str
    svg: Callable[[int], str]
    detail: str = ""
    alternative: str = ""
    key: Mapping[str, str] = field(default_factory=dict)
    markup: str = ""
    width: int = WIDTH

    def html(self, small: bool = False) -> str:
        """Returns the `<figure>` of a page: sharp at any size, readable in the light and the dark theme.

        Args:
            small: whether the figure never has much room, as in one of two columns, or is drawn again and
                again. A chart is then drawn once, and not twice, for wide and for narrow screens.
        """
        if self.markup:
            return figure(self.markup, self.caption, self.detail, self.alternative)
        key = "".join(f'<span style="--c:{color}">{escape(name)}</span>' for name, color in self.key.items())
        body = f'<div class="lp-key" aria-hidden="true">{key}</div>' if key else ""
        return figure(body + self._drawing(small), self.caption, self.detail)

    def _drawing(self, small: bool) -> str:
        drawing = self.svg(self.width)
        alternative = escape(self.alternative or self.caption)
        least = _READABLE * size_of(drawing)[0]  # pixels
        if least < _PHONE:
            return f'<div class="lp-drawing" role="img" aria-label="{alternative}">{drawing}</div>'
        inner = f'<div style="min-width:{least:.0f}px" role="img" aria-label="{alternative}">{drawing}</div>'
        scroll = f'tabindex="0" role="region" aria-label="{escape(self.caption)}"'
        return f'<div class="lp-drawing lp-scroll" {scroll}>{inner}</div>'

    def __str__(self) -> str:
        return self.html()

    def save(self, path: Path) -> Path:
        """Writes the picture as a PNG on white paper, in the light theme."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(self._sheet()))
        return path

    def _sheet(self) -> str:
        """Returns the SVG of the whole PNG: caption, detail, and key, and below them the drawing."""
        inner, top, parts = self.width - 2 * _MARGIN, _MARGIN, []
        for words, size, color, weight in (
            (self.caption, 15, INK, "bold"),
            (self.detail, 12, SOFT, "normal"),
        ):
            for line in textwrap.wrap(words, int(inner / (0.62 * size))):  # 0.62: width of a letter
                top += size * 1.3
                parts.append(text(_MARGIN, top - 0.25 * size, line, size, color, weight=weight))
        if self.key:
            swatches, height = _key(self.key, inner)
            parts.append(f'<g transform="translate({_MARGIN} {top + 8})">{swatches}</g>')
            top += 8 + height
        drawing = self.svg(inner)
        width, height = size_of(drawing)
        parts.append(f'<g transform="translate({_MARGIN} {top + 8:g})">{drawing}</g>')
        width, height = max(self.width, width + 2 * _MARGIN), top + 8 + height + _MARGIN
        return svg(rect(0, 0, width, height, PAPER) + "".join(parts), width, height)


def _key(names: Mapping[str, str], width: float) -> tuple[str, float]:
    """Draws swatches with names, in as many lines as they need; returns them and their height in pixels."""
    x, y, parts = 0.0, 6.0, []
    for name, color in names.items():
        wide = 22 + 7.0 * len(name)  # swatch and gap, then about 7 pixels per letter
        if x and x + wide > width:
            x, y = 0.0, y + 19
        parts.append(rect(x, y, 14, 4, color) + text(x + 20, y + 6, name, 12))
        x += wide + 14
    return "".join(parts), y + 14


def save_all(pictures: Mapping[str, Picture], folder: RunFolder) -> list[Path]:
    """Saves each picture of a run as `figures/NAME.png`, and returns the paths."""
    return [picture.save(folder.path / "figures" / f"{name}.png") for name, picture in pictures.items()]


def panels(parts: Mapping[str, Picture], caption: str, detail: str = "", columns: int = 3) -> Picture:
    """Puts pictures side by side, each with its name as the caption; on a phone they form one column."""
    columns = min(columns, len(parts))
    gap = 18

    def sheet(width: int) -> str:
        wide = (width - gap * (columns - 1)) / columns
        drawings = [part.svg(int(wide)) for part in parts.values()]
        sizes = [size_of(drawing) for drawing in drawings]
        top, body = 0.0, ""
        for start in range(0, len(drawings), columns):
            row = range(start, min(start + columns, len(drawings)))
            names = [textwrap.wrap(list(parts)[index], max(8, int(wide / 7))) for index in row]
            lines = max(map(len, names))
            for column, index in enumerate(row):
                x = column * (wide + gap)
                body += "".join(
                    text(x, top + 13 + 15 * line, words, 12, weight="bold")
                    for line, words in enumerate(names[column])
                )
                body += f'<g transform="translate({x:g} {top + 15 * lines + 5:g})">{drawings[index]}</g>'
            top += 15 * lines + 5 + max(sizes[index][1] for index in row) + gap
        return svg(body, width, top - gap)

    first = next(iter(parts.values()))
    body = "".join(replace(part, caption=name, key={}).html(columns > 1) for name, part in parts.items())
    key = "".join(f'<span style="--c:{color}">{escape(name)}</span>' for name, color in first.key.items())
    markup = f'<div class="lp-key" aria-hidden="true">{key}</div>' if key else ""
    return Picture(
        caption, sheet, detail, key=first.key, markup=f'{markup}<div class="lp-panels">{body}</div>'
    )


# Pieces of an SVG. Sizes are pixels.


def svg(body: str, width: float, height: float, name: str = "") -> str:
    """Returns a drawing of this size, which shrinks with the page."""
    kind = f' class="{name}"' if name else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg"{kind} width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" aria-hidden="true">{body}</svg>'
    )


def size_of(drawing: str) -> tuple[float, float]:
    """Returns the width and height of an SVG."""
    width, height = (re.search(rf'<svg[^>]* {side}="([\d.]+)"', drawing) for side in ("width", "height"))
    return float(width[1]), float(height[1])  # type: ignore[index]


def text(
    x: float,
    y: float,
    words: str,
    size: float = 12,
    color: str = INK,
    anchor: str = "start",
    weight: str = "normal",
    font: str = SANS,
    halo: bool = False,
) -> str:
    """Returns a line of text whose baseline is at `y`. A `halo` of paper keeps it readable on a drawing."""
    bold = f' font-weight="{weight}"' if weight != "normal" else ""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    side += f' stroke="{PAPER}" stroke-width="3" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" font-family="{font}" fill="{color}"{side}{bold} '
        f'xml:space="preserve">{escape(words)}</text>'
    )


def rect(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    """Returns a filled rectangle; `more` are further attributes."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}" {more}/>'


def line(x1: float, y1: float, x2: float, y2: float, color: str, width: float = 1, more: str = "") -> str:
    """Returns a straight line; `more` are further attributes."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
        f'stroke-width="{width:g}" {more}/>'
    )


def image(x: float, y: float, width: float, height: float, source: str, smooth: bool = False) -> str:
    """Returns an image from a data URI, stretched to the rectangle, with sharp pixels unless `smooth`."""
    # The attribute is for the renderer of the PNGs, the style for browsers.
    sharp = "" if smooth else ' image-rendering="optimizeSpeed" style="image-rendering:pixelated"'
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" href="{source}" '
        f'preserveAspectRatio="none"{sharp}/>'
    )


_SHADES = 31  # of each color; the eye could not tell more of them apart, and few make a small file
_STEPS = np.linspace(-1, 1, 2 * _SHADES + 1)[:, None]  # (shades, 1)
# An amber and a blue that are readable on white and on near-black: (shades, 1) -> (shades, 3). The sign of a
# value sets the color, and the absolute value sets the opacity.
_COLORS = np.where(_STEPS >= 0, (232, 140, 20), (64, 132, 240)).astype(np.uint8).tobytes()
_OPACITIES = (np.abs(_STEPS) * 255).astype(np.uint8).tobytes()


def signed_png(values: np.ndarray) -> str:
    """Returns a PNG as a data URI, with a pixel per value: -1 is blue, 0 transparent, 1 amber.

    Args:
        values: `(rows, columns)`, top row first.
    """
    from PIL import Image

    # The index of each value in the palette: -1 -> 0, 0 -> _SHADES, 1 -> 2 * _SHADES.
    sheet = Image.fromarray(np.rint(np.clip(values, -1, 1) * _SHADES + _SHADES).astype(np.uint8))
    sheet.putpalette(_COLORS)
    return _data_uri(sheet, transparency=_OPACITIES, compress_level=3)


def gray_png(ink: np.ndarray) -> str:
    """Returns a PNG as a data URI: black, with `ink` `(height, width)` from 0 to 255 as its opacity."""
    from PIL import Image

    # (height, width) -> (height, width, 2): black, and the ink as its opacity
    return _data_uri(Image.fromarray(np.stack([np.zeros_like(ink), ink], axis=-1), "LA"))


def _data_uri(sheet: Any, **options: Any) -> str:
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", **options)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def png(drawing: str) -> bytes:
    """Converts an SVG to a PNG: colors of the light theme, white paper, twice the pixels."""
    import vl_convert
    from PIL import Image

    register_fonts()
    light = re.sub(r"var\(--lp-([\w-]+)\)", lambda match: LIGHT[match[1]], drawing)
    image = Image.open(io.BytesIO(vl_convert.svg_to_png(light, scale=_SCALE)))
    # White paper, because dark letters on transparent pixels would vanish in a dark theme.
    paper = Image.new("RGB", image.size, LIGHT["paper"])
    paper.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    buffer = io.BytesIO()
    # A palette makes the file a third as large; drawings have few colors.
    paper.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@cache
def register_fonts() -> None:
    """Registers the DejaVu fonts, which have the signs that our pictures use (␣ ↵ θ σ ∅).

    The fonts come with matplotlib, since a bare machine may have no fonts at all.
    """
    import importlib.util

    import vl_convert

    # find_spec locates matplotlib without importing it.
    home = importlib.util.find_spec("matplotlib").origin  # type: ignore[union-attr]
    fonts = Path(str(home)).parent / "mpl-data" / "fonts" / "ttf"
    vl_convert.register_font_directory(str(fonts))
