"""Pictures as HTML and SVG: sharp at any size, readable in light and dark, each with a caption and a text
alternative.

Colors come from the variables of `style.css`; the numbers are in the markup, so a screen reader (and a
test) can read them.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

_VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "↵", "": "∅"}
_MORE, _LESS = (232, 140, 20), (64, 132, 240)  # amber and blue that read on white and on near-black


_SIGNED = '<div class="lp-legend" aria-hidden="true"><span>-1</span><span class="lp-ramp"></span><span>+1</span></div>'
_OPENING = (
    '<div class="lp-legend" aria-hidden="true"><span>0, closed</span><span class="lp-ramp one"></span>'
    "<span>1, open</span></div>"
)


class Markup(str):
    """Text that is HTML already, and is not escaped again."""


def visible(token: str) -> str:
    """A label that can be seen, for a token that may be white space."""
    return _VISIBLE.get(token, token)


def shortened(text: str, length: int = 40) -> str:
    """The end of a long text, which is what the model read last."""
    return text if len(text) <= length else "…" + text[-length:]


def figure(body: str, caption: str, detail: str = "", alternative: str = "") -> str:
    """A framed picture: `caption` and `detail` are shown, `alternative` is for those who cannot see the
    picture.
    """
    small = f"<small>{escape(detail)}</small>" if detail else ""
    hidden = f'<p class="lp-hidden">{escape(alternative)}</p>' if alternative else ""
    return f'<figure class="lp lp-figure"><figcaption>{escape(caption)}{small}</figcaption>{hidden}{body}</figure>'


def bars(rows: Sequence[tuple[str, float]], caption: str, detail: str = "", form: str = "{:.1%}") -> str:
    """Horizontal bars, the longest as wide as there is room; values of 0 or more."""
    longest = max((value for _, value in rows), default=0.0) or 1.0
    letters = (
        min(24, max((len(visible(label)) for label, _ in rows), default=1)) + 1
    )  # longer names are broken
    body = "".join(
        f'<div role="listitem"><span class="lp-bar-name">{escape(visible(label))}</span>'
        f'<b aria-hidden="true"><i style="width:{100 * value / longest:.1f}%"></i></b>'
        f'<span class="lp-bar-value" data-value="{value:.6f}">{form.format(value)}</span></div>'
        for label, value in rows
    )
    return figure(
        f'<div class="lp-bars" role="list" style="--names:{max(3, letters)}ch">{body}</div>', caption, detail
    )


def _shade(value: float) -> str:
    strength = min(abs(value), 1.0)
    return f'class="{"p" if value >= 0 else "n"}" style="--v:{strength:.2f}" title="{value:+.2f}"'


def _extremes(tokens: Sequence[str], values: Sequence[float]) -> str:
    if not tokens:
        return "No text yet."
    high, low = int(np.argmax(values)), int(np.argmin(values))
    place = "'{}' at position {} ({:+.2f})".format
    return (
        f"Highest at {place(visible(tokens[high]), high + 1, values[high])}, "
        f"lowest at {place(visible(tokens[low]), low + 1, values[low])}."
    )


def colored_text(
    tokens: Sequence[str], values: Sequence[float], caption: str, detail: str = "", caret: bool = False
) -> str:
    """The text, each token on a color: amber for +1, blue for -1, none for 0."""
    pairs = zip(tokens, values, strict=True)
    spans = "".join(f"<span {_shade(float(value))}>{escape(token)}</span>" for token, value in pairs)
    if caret:
        spans += '<span class="lp-caret"></span>'
    words = f'<p class="lp-hidden">{escape("".join(tokens))}</p>'
    body = f'<div class="lp-text" aria-hidden="true">{spans}</div>{words}{_SIGNED}'
    return figure(body, caption, detail, _extremes(tokens, values))


def plain_text(text: str, caption: str, detail: str = "", prompt: str = "", writing: bool = False) -> str:
    """A text; the `prompt` that it starts with is set off, and a caret shows that it is being written."""
    caret = '<span class="lp-caret" aria-hidden="true"></span>' if writing else ""
    body = f'<div class="lp-text"><span class="lp-prompt">{escape(prompt)}</span>{escape(text)}{caret}</div>'
    return figure(body, caption, detail)


def marked_tokens(
    tokens: Sequence[str], marks: Sequence[str], meanings: Mapping[str, str], caption: str, detail: str = ""
) -> str:
    """Tokens in boxes, colored by their mark: one of `meanings`, or an empty string for a plain one."""
    colors = {mark: _series(index + 1) for index, mark in enumerate(meanings)}
    boxes = "".join(
        f'<span class="on" style="--c:{colors[mark]}" title="{escape(meanings[mark])}">{escape(visible(token))}</span>'
        if mark
        else f"<span>{escape(visible(token))}</span>"
        for token, mark in zip(tokens, marks, strict=True)
    )
    key = "".join(
        f'<span style="--c:{colors[mark]}">{escape(meaning)}</span>' for mark, meaning in meanings.items()
    )
    spoken = "; ".join(f"{t}: {meanings[mark]}" for t, mark in zip(tokens, marks, strict=True) if mark)
    body = f'<div class="lp-boxes">{boxes}</div><div class="lp-key" aria-hidden="true">{key}</div>'
    return figure(body, caption, detail, spoken or "No token is marked.")


def strips(rows: Mapping[str, Sequence[float]], tokens: Sequence[str], caption: str, detail: str = "") -> str:
    """One row of cells per name, one cell per token, from empty (0) to full (1); negative values are blue."""
    head = "".join(f"<td>{escape(visible(token))}</td>" for token in tokens)
    lines, spoken = [], []
    for name, values in rows.items():
        cells = "".join(f"<td {_shade(float(value))}></td>" for value in values)
        lines.append(f'<tr data-name="{escape(name)}"><th scope="row">{escape(name)}</th>{cells}</tr>')
        spoken.append(
            f"{name}: mean {np.mean(values) if len(values) else 0:.2f}. {_extremes(tokens, values)}"
        )
    negative = any(value < 0 for values in rows.values() for value in values)
    legend = _SIGNED if negative else _OPENING
    table = f'<table class="lp-cells" aria-hidden="true"><tr><th></th>{head}</tr>{"".join(lines)}</table>'
    scroll = f'<div class="lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">{table}</div>'
    return figure(scroll + legend, caption, detail, " ".join(spoken))


_SHADES = 31  # of each color: few make a small file, more the eye does not tell apart


def _palette() -> tuple[bytes, bytes]:
    """Colors and opacities of values from -1 to 1: the sign is the color, the size the opacity."""
    values = np.linspace(-1, 1, 2 * _SHADES + 1)[:, None]
    return np.where(values >= 0, _MORE, _LESS).astype(np.uint8).tobytes(), (np.abs(values) * 255).astype(
        np.uint8
    ).tobytes()


_COLORS, _OPACITIES = _palette()


def signed_png(values: np.ndarray) -> str:
    """A PNG with one pixel per value from -1 (blue) over 0 (nothing) to 1 (amber), as a data URI; rows
    from the top.
    """
    from PIL import Image

    image = Image.fromarray(np.rint(np.clip(values, -1, 1) * _SHADES + _SHADES).astype(np.uint8))
    image.putpalette(_COLORS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=_OPACITIES, compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def images(pixels: np.ndarray, columns: int, caption: str, detail: str = "", alternative: str = "") -> str:
    """Small gray images `(count, height, width)`, uint8, side by side; ink is dark on light paper, and
    light on dark.
    """
    from PIL import Image

    count, height, width = pixels.shape
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1), dtype=np.uint8)
    for place, image in enumerate(pixels):
        top, left = (height + 1) * (place // columns), (width + 1) * (place % columns)
        sheet[top : top + height, left : left + width] = image
    buffer = io.BytesIO()
    # Black with the ink as opacity: style.css turns it to white in the dark.
    Image.fromarray(np.stack([np.zeros_like(sheet), sheet], axis=-1), "LA").save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    image = (
        f'<img class="lp-images" style="width:{26 * columns}px" src="data:image/png;base64,{data}" '
        f'alt="{escape(alternative or caption)}">'
    )
    return figure(image, caption, detail)


def heat_map(
    values: np.ndarray,
    columns: Sequence[str],
    caption: str,
    detail: str = "",
    row_names: Sequence[object] = (),
    highlight: int | None = None,
) -> str:
    """Values `(rows, columns)` from -1 (blue) to 1 (amber), a row of cells per name; `highlight` frames
    one row.
    """
    rows, tall = values.shape[0], 11
    names = "".join(f"<span>{escape(str(name))}</span>" for name in row_names)
    frame = ""
    if highlight is not None:
        frame = f'<div class="lp-heat-row" style="top:{tall * highlight - 2}px"></div>'
    strongest = int(np.abs(values).mean(axis=1).argmax())
    called = row_names[strongest] if row_names else strongest
    alternative = (
        f"Heat map of {rows} units by {len(columns)} characters of the text '{''.join(columns)}'. "
        f"Unit {called} is the most active on average."
    )
    labels = "".join(f"<span>{escape(visible(column))}</span>" for column in columns)
    body = (
        f'<div class="lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<div class="lp-heat" style="--rows:{rows};--columns:{len(columns)}">'
        f'<div class="lp-heat-y" aria-hidden="true">{names}</div>'
        f'<div class="lp-heat-plot"><img src="{signed_png(values)}" alt="{escape(alternative)}">{frame}</div>'
        f'<div class="lp-heat-x" aria-hidden="true">{labels}</div></div></div>'
        f"{_SIGNED}"
    )
    return figure(body, caption, detail)


def one_hot(tokens: Sequence[str], hot: int, caption: str, detail: str = "", hidden: int = 0) -> str:
    """A one-hot row: a cell per token, 1 at `hot` and 0 elsewhere; `hidden` more cells (all 0) are only
    counted.
    """
    cells = "".join(
        f"<span{' class=on' if index == hot else ''}>{escape(visible(token))}</span>"
        for index, token in enumerate(tokens)
    )
    if hidden:
        cells += f'<span class="rest">+ {hidden} byte tokens</span>'
    lit = f", at position {hot}: '{visible(tokens[hot])}'" if hot < len(tokens) else ", among the byte tokens"
    alternative = f"A row of {len(tokens) + hidden} zeros with a single one{lit}."
    return figure(f'<div class="lp-onehot" aria-hidden="true">{cells}</div>', caption, detail, alternative)


def _series(index: int) -> str:
    return f"var(--lp-series-{index % 6 + 1})"


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) < 0.001 or abs(value) >= 100_000:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
        step = max(1, math.ceil((last - first) / 5))
        return [float(power) for power in range(first, last + 1, step)] or [low, high]
    rough = (high - low) / 4 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough - 1e-12)
    first = math.ceil(low / step - 1e-9)
    return [step * index for index in range(first, int(high / step + 1e-9) + 1)]


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    caption: str,
    x_label: str,
    detail: str = "",
    log_y: bool = False,
) -> str:
    """Lines over a common axis; each of `series` is `(xs, ys)`. Values that are not finite (or not above
    0 on a logarithmic axis) are left out."""
    lines = {}
    for name, (xs, ys) in series.items():
        points = [
            (x, math.log10(y) if log_y else y) for x, y in zip(xs, ys, strict=True) if _drawable(y, log_y)
        ]
        if points:
            lines[name] = points
    if not lines:
        return figure('<p class="lp-empty">No values yet.</p>', caption, detail)
    every = [point for points in lines.values() for point in points]
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    low, high = min(y for _, y in every), max(y for _, y in every)
    pad = (high - low) * 0.04 or 0.5
    low, high = low - pad, high + pad
    across = lambda x: 100 * (x - left) / ((right - left) or 1)  # noqa: E731
    down = lambda y: 100 * (high - y) / (high - low)  # noqa: E731
    routes = [" L".join(f"{across(x):.2f} {down(y):.2f}" for x, y in points) for points in lines.values()]
    paths = "".join(f'<path d="M{route}" stroke="{_series(index)}"/>' for index, route in enumerate(routes))
    y_ticks, x_ticks = _ticks(low, high, log_y), [x for x in _ticks(left, right, False) if left <= x <= right]
    grid = "".join(f'<line x1="0" x2="100" y1="{down(y):.2f}" y2="{down(y):.2f}"/>' for y in y_ticks)
    y_labels = "".join(
        f'<span style="top:{down(y):.1f}%">{_number(10**y if log_y else y)}</span>'
        for y in y_ticks
        if low <= y <= high
    )
    x_labels = "".join(f'<span style="left:{across(x):.1f}%">{_number(x)}</span>' for x in x_ticks)
    key = "".join(
        f'<span style="--c:{_series(index)}">{escape(name)}</span>' for index, name in enumerate(lines)
    )
    real = (lambda y: 10**y) if log_y else (lambda y: y)
    alternative = " ".join(
        f"{name}: from {_number(real(points[0][1]))} at {x_label} {_number(points[0][0])} "
        f"to {_number(real(points[-1][1]))} at {_number(points[-1][0])}."
        for name, points in lines.items()
    )
    body = (
        (f'<div class="lp-key" aria-hidden="true">{key}</div>' if len(lines) > 1 else "")
        + f'<div class="lp-chart" role="img" aria-label="{escape(alternative)}">'
        f'<div class="lp-chart-y">{y_labels}</div>'
        f'<div class="lp-chart-plot"><svg viewBox="0 0 100 100" preserveAspectRatio="none">{grid}{paths}</svg></div>'
        f'<div class="lp-chart-x">{x_labels}</div><div class="lp-chart-label">{escape(x_label)}</div></div>'
    )
    return figure(body, caption, detail)


def _drawable(value: float, log: bool) -> bool:
    return value is not None and math.isfinite(value) and (value > 0 or not log)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table whose first column names its rows. Cells are text, or `Markup`."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headers)
    body = ""
    for first, *others in rows:
        cells = "".join(f"<td>{cell if isinstance(cell, Markup) else escape(cell)}</td>" for cell in others)
        body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    title = f'<caption class="lp-hidden">{escape(caption)}</caption>'
    grid = f'<table class="lp-table">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="lp lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">{grid}</div>'
