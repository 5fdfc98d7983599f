"""Draws matrices as colors: hidden states over a text, gates, attention maps, masks, and confusions."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from .picture import (
    INK,
    MONO,
    SANS,
    SOFT,
    WIDTH,
    Picture,
    gray_png,
    image,
    rect,
    signed_png,
    svg,
    text,
    visible,
)
from .text import SIGNED, extremes, shade

_OPENING = (
    '<div class="lp-legend" aria-hidden="true"><span>0, closed</span><span class="lp-ramp one"></span>'
    "<span>1, open</span></div>"
)


def matrix_svg(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    width: int,
    x_label: str = "",
    y_label: str = "",
    numbers: Sequence[Sequence[str]] | None = None,
    tall: float = 0,
) -> str:
    """Draws values from -1 (blue) to 1 (amber) as cells, with names of rows and columns where there is room.

    Args:
        values: `(rows, columns)`.
        rows, columns: the names.
        width: width of the drawing in pixels.
        x_label, y_label: names of the axes.
        numbers: texts to write into the cells.
        tall: height of a row in pixels; 0 for square cells.
    """
    names = [str(row).replace("\n", "↵") for row in rows]
    size = min(11 if len(names) <= 40 else 8.5, tall or 11)
    left = names_width(names, size) + (18 if y_label else 0)
    count = max(values.shape[1], 1)
    wide = min((width - left - 2) / count, 40 if numbers else 26)
    tall = tall or (max(wide * 0.6, 20) if numbers else min(wide, 26))
    height, across = tall * values.shape[0], wide * count
    letters = max(map(len, columns), default=0)
    small = min(11, wide * (1.6 if letters <= 1 else 0.95))
    turned = letters * small * 0.62 > wide  # a letter is about 0.62 of its size wide
    body = image(left, 0, across, height, signed_png(values))
    body += rect(left, 0, across, height, "none", f'stroke="{SOFT}" stroke-width="0.7"')
    body += row_names(names, left, 0, tall, size)
    below = 4.0
    if columns and small >= 4:  # pixels; smaller letters are left out
        below = letters * small * 0.62 + 8 if turned else small + 8
        body += column_names(columns, left, height, wide, small)
    for row, cells in enumerate(numbers or []):
        for column, cell in enumerate(cells):
            x, y = left + wide * (column + 0.5), tall * (row + 0.5) + 4
            body += text(x, y, cell, min(11, wide / max(2, len(cell)) * 1.5), INK, "middle", font=SANS)
    if x_label:
        below += 16
        body += text(left + across / 2, height + below - 4, x_label, 12, SOFT, "middle")
    if y_label:
        words = text(0, 0, y_label, 12, SOFT, "middle")
        body += f'<g transform="translate(12 {height / 2:.1f}) rotate(-90)">{words}</g>'
    return svg(body, left + across + 2, height + below)


def row_names(names: Sequence[str], x: float, y: float, tall: float, size: float) -> str:
    """Draws names to the left of rows that begin at (x, y); `tall` is the height of a row."""
    return "".join(
        text(x - 5, y + tall * (index + 0.5) + size * 0.36, name, size, INK, "end", font=MONO)
        for index, name in enumerate(names)
    )


def column_names(names: Sequence[str], x: float, y: float, wide: float, size: float) -> str:
    """Draws names below columns that begin at (x, y), and turns them if one is wider than its column."""
    turned, body = max(map(len, names), default=0) * size * 0.62 > wide, ""
    for index, name in enumerate(names):
        middle = x + wide * (index + 0.5)
        if turned and len(name) > 1:
            words = text(0, 0, name, size, INK, "end", font=MONO)
            rotation = f"translate({middle + size * 0.36:.1f} {y + 5:.1f}) rotate(-90)"
            body += f'<g transform="{rotation}">{words}</g>'
        else:
            body += text(middle, y + 5 + size * 0.85, name, size, INK, "middle", font=MONO)
    return body


def names_width(names: Sequence[str], size: float) -> float:
    """Returns the width in pixels that the names of rows take on the left."""
    return max(map(len, names)) * size * 0.62 + 8 if names else 0


def heat_map(
    values: Sequence[Sequence[float]] | np.ndarray,
    rows: Sequence[object],
    columns: Sequence[str],
    caption: str,
    detail: str = "",
    *,
    highest: float = 1.0,
    highlight: int | None = None,
) -> Picture:
    """Draws values over the tokens of a text, blue below 0 and amber above.

    Args:
        values: `(rows, columns)`.
        rows: a name for each row, or none.
        columns: the tokens.
        highest: the absolute value that gets the full color.
        highlight: index of a row to frame.
    """
    shares = np.asarray(values, dtype=float) / highest
    names, letters = [str(row) for row in rows], [visible(column) for column in columns]
    tall = 11
    frame = (
        "" if highlight is None else f'<div class="lp-heat-row" style="top:{tall * highlight - 2}px"></div>'
    )
    strongest = int(np.abs(shares).mean(axis=1).argmax())  # (rows, columns) -> (rows,) -> an index
    alternative = (
        f"Heat map of {len(shares)} units by {len(columns)} characters of the text '{''.join(columns)}'. "
        f"Unit {names[strongest] if names else strongest} is the most active on average."
    )
    markup = (
        f'<div class="lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<div class="lp-heat" style="--rows:{len(shares)};--columns:{len(columns)}">'
        f'<div class="lp-heat-y" aria-hidden="true">{_spans(names)}</div>'
        f'<div class="lp-heat-plot"><img src="{signed_png(shares)}" alt="{escape(alternative)}">{frame}</div>'
        f'<div class="lp-heat-x" aria-hidden="true">{_spans(letters)}</div></div></div>{SIGNED}'
    )
    draw = lambda width: matrix_svg(shares, names, letters, width, tall=13)  # noqa: E731
    return Picture(caption, draw, detail, markup=markup, width=max(WIDTH, 110 + 9 * len(columns)))


def strips(
    rows: Mapping[str, Sequence[float]], tokens: Sequence[str], caption: str, detail: str = ""
) -> Picture:
    """Draws a row of cells for each name, from empty (0) to full (1); negative values are blue.

    Args:
        rows: name -> a value per token.
        tokens: the tokens.
    """
    letters = [visible(token) for token in tokens]
    head = "".join(f"<td>{escape(letter)}</td>" for letter in letters)
    lines, spoken = "", []
    for name, values in rows.items():
        cells = "".join(f"<td {shade(float(value))}></td>" for value in values)
        lines += f'<tr data-name="{escape(name)}"><th scope="row">{escape(name)}</th>{cells}</tr>'
        spoken.append(f"{name}: mean {np.mean(values) if len(values) else 0:.2f}. {extremes(tokens, values)}")
    negative = any(value < 0 for values in rows.values() for value in values)
    cells = f'<table class="lp-cells" aria-hidden="true"><tr><th></th>{head}</tr>{lines}</table>'
    markup = f'<div class="lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">{cells}</div>'
    values = np.array(list(rows.values()), dtype=float).reshape(len(rows), -1)  # (rows, tokens)
    draw = lambda width: matrix_svg(values, list(rows), letters, width, tall=20)  # noqa: E731
    wide = max(WIDTH, 140 + 9 * len(tokens))
    return Picture(
        caption,
        draw,
        detail,
        " ".join(spoken),
        markup=markup + (SIGNED if negative else _OPENING),
        width=wide,
    )


def confusion(
    counts: Sequence[Sequence[int]], classes: Sequence[str], caption: str, detail: str = ""
) -> Picture:
    """Draws a confusion matrix: true classes as rows, predicted classes as columns.

    Args:
        counts: `(classes, classes)`; the diagonal counts the correct predictions.
        classes: the names of the classes.
    """
    matrix = np.asarray(counts)  # (classes, classes)
    # On a logarithmic scale, single mistakes stay visible next to hundreds of correct answers.
    shares = np.log1p(matrix) / max(1.0, float(np.log1p(matrix.max())))
    shares[~np.eye(len(matrix), dtype=bool)] *= -1  # mistakes are blue
    numbers = None
    if len(classes) <= 20:
        numbers = [[str(count) if count else "" for count in row] for row in matrix]
    mistakes = matrix * ~np.eye(len(matrix), dtype=bool)  # (classes, classes), zeros on the diagonal
    worst = np.argwhere(mistakes == mistakes.max()) if mistakes.any() else ()  # (row, column) pairs
    pair = f" Most often, {classes[worst[0][0]]} is taken for {classes[worst[0][1]]}." if len(worst) else ""
    right = f"{np.trace(matrix)} of {matrix.sum()} answers are right.{pair}"
    draw = lambda width: matrix_svg(  # noqa: E731
        0.75 * shares, classes, classes, min(width, 640), "answer", "truth", numbers
    )
    return Picture(caption, draw, detail, right)


def _spans(names: Sequence[str]) -> str:
    return "".join(f"<span>{escape(name)}</span>" for name in names)


def images(
    pixels: np.ndarray, columns: int, caption: str, detail: str = "", alternative: str = ""
) -> Picture:
    """Draws small gray images as one sheet: dark ink in the light theme, light ink in the dark theme.

    Args:
        pixels: `(count, height, width)`, uint8; 255 is full ink.
        columns: number of images per row of the sheet.
    """
    count, height, width = pixels.shape
    # Rows and columns of images with one empty pixel between them; -(-a // b) rounds up.
    sheet = np.zeros((-(-count // columns) * (height + 1) - 1, columns * (width + 1) - 1), dtype=np.uint8)
    for index, pixel in enumerate(pixels):
        top, left = (height + 1) * (index // columns), (width + 1) * (index % columns)
        sheet[top : top + height, left : left + width] = pixel
    # Black, with the ink as its opacity; style.css turns it white in the dark theme.
    source = gray_png(sheet)
    markup = (
        f'<img class="lp-images" style="width:{26 * columns}px" src="{source}" '
        f'alt="{escape(alternative or caption)}">'
    )

    def draw(wide: int) -> str:
        side = min(wide, 40 * columns)
        tall = side * sheet.shape[0] / sheet.shape[1]
        return svg(image(0, 0, side, tall, source), side, tall)

    return Picture(caption, draw, detail, markup=markup)
