"""Draws pictures made of text: text colored by numbers, boxes of tokens, samples, and tables."""

import textwrap
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from .picture import INK, LESS, MONO, MORE, RULE, SOFT, WIDTH, Picture, rect, series, svg, text, visible

SIGNED = (
    '<div class="lp-legend" aria-hidden="true"><span>-1</span><span class="lp-ramp"></span>'
    "<span>+1</span></div>"
)
_LETTER = 0.602  # width of a letter of DejaVu Sans Mono, as a share of the font size


def shade(value: float) -> str:
    """Returns the HTML attributes that color an element by a value from -1 to 1."""
    strength = min(abs(value), 1.0)
    return f'class="{"p" if value >= 0 else "n"}" style="--v:{strength:.2f}" title="{value:+.2f}"'


def extremes(tokens: Sequence[str], values: Sequence[float]) -> str:
    """Says in words where the values over a text are highest and lowest."""
    if not tokens:
        return "No text yet."
    told = [
        f"'{visible(tokens[index])}' at position {index + 1} ({values[index]:+.2f})"
        for index in (int(np.argmax(values)), int(np.argmin(values)))
    ]
    return f"Highest at {told[0]}, lowest at {told[1]}."


def colored_text(
    tokens: Sequence[str], values: Sequence[float], caption: str, detail: str = "", caret: bool = False
) -> Picture:
    """Draws a text with a color behind each token: amber for +1, blue for -1, none for 0.

    Args:
        tokens: the text, token by token.
        values: one value per token.
        caret: whether a caret marks the end of the text, which is still being written.
    """
    pairs = [(token, float(value)) for token, value in zip(tokens, values, strict=True)]
    spans = "".join(f"<span {shade(value)}>{escape(token)}</span>" for token, value in pairs)
    spans += '<span class="lp-caret"></span>' if caret else ""
    # Screen readers get the text as a whole; the colored spans are hidden from them.
    words = f'<p class="lp-hidden">{escape("".join(tokens))}</p>'
    markup = f'<div class="lp-text" aria-hidden="true">{spans}</div>{words}{SIGNED}'

    def draw(width: int) -> str:
        size, tall, x, y, body = 13, 22, 0.0, 0, ""
        for token, value in pairs:
            wide = max(len(token), 1) * size * _LETTER
            if x + wide > width:
                x, y = 0.0, y + tall
            shown = token.replace("\n", "↵")
            fill = f'fill-opacity="{min(abs(value), 1):.2f}"'
            body += rect(x, y, wide, tall - 3, MORE if value >= 0 else LESS, fill)
            body += text(x, y + 14, shown, size, font=MONO)
            x, y = (0.0, y + tall) if "\n" in token else (x + wide, y)
        return svg(body, width, y + tall)

    return Picture(caption, draw, detail, extremes(tokens, values), markup=markup)


def texts(columns: Mapping[str, str], caption: str, detail: str = "") -> Picture:
    """Draws texts side by side, one column for each name."""
    size, gap = (10.5 if len(columns) > 1 else 12), 22

    def draw(width: int) -> str:
        wide = (width - gap * (len(columns) - 1)) / len(columns)
        body, bottom = "", 0.0
        for index, (name, words) in enumerate(columns.items()):
            x, y = index * (wide + gap), 14.0
            body += text(x, y, name, 12, SOFT)
            letters = int(wide / (size * _LETTER))  # characters per line
            for row in words.split("\n"):
                for piece in textwrap.wrap(row, letters) or [""]:
                    y += size * 1.45
                    body += text(x, y + 4, piece, size, font=MONO)
            bottom = max(bottom, y)
        return svg(body, width, bottom + 10)

    blocks = "".join(
        f'<div><p class="lp-note">{escape(name)}</p><div class="lp-text">{escape(words)}</div></div>'
        for name, words in columns.items()
    )
    return Picture(
        caption,
        draw,
        detail,
        markup=f'<div class="lp-panels">{blocks}</div>',
        width=940 if len(columns) > 1 else WIDTH,
    )


def token_boxes(
    rows: Sequence[tuple[str, Sequence[str], Sequence[str]]],
    caption: str,
    meanings: Mapping[str, str],
    detail: str = "",
) -> Picture:
    """Draws texts as rows of boxes, one box per token.

    Args:
        rows: for each row its name (may be empty), its tokens, and for each token its mark: a key of
            `meanings`, or "" for none.
        meanings: mark -> meaning of its color.
    """
    colors = {mark: series(index + 1) for index, mark in enumerate(meanings)}
    key = {meaning: colors[mark] for mark, meaning in meanings.items()}

    def draw(width: int) -> str:
        size, body, y = 12, "", 0.0
        for name, tokens, marks in rows:
            if name:
                body += text(0, y + 13, name, 12, SOFT, weight="bold")
                y += 20
            x = 0.0
            for token, mark in zip(tokens, marks, strict=True):
                shown = visible(token)
                wide = len(shown) * size * _LETTER + 10
                if x and x + wide > width:
                    x, y = 0.0, y + 27
                color = colors.get(mark)
                fill = f'rx="4" fill-opacity="{0.25 if color else 0}" stroke="{color or RULE}"'
                body += rect(x + 0.5, y + 0.5, wide, 22, color or RULE, fill)
                body += text(x + wide / 2, y + 16, shown, size, INK, "middle", font=MONO)
                x += wide + 4
            y += 40
        return svg(body, width, max(y - 14, 1))

    markup, spoken = "", []
    for name, tokens, marks in rows:
        boxes = "".join(
            f'<span class="on" style="--c:{colors[mark]}" title="{escape(meanings[mark])}">'
            f"{escape(visible(token))}</span>"
            if mark
            else f"<span>{escape(visible(token))}</span>"
            for token, mark in zip(tokens, marks, strict=True)
        )
        markup += f'<p class="lp-note">{escape(name)}</p>' if name else ""
        markup += f'<div class="lp-boxes">{boxes}</div>'
        spoken += [f"{t}: {meanings[mark]}" for t, mark in zip(tokens, marks, strict=True) if mark]
    legend = "".join(f'<span style="--c:{color}">{escape(name)}</span>' for name, color in key.items())
    markup += f'<div class="lp-key" aria-hidden="true">{legend}</div>'
    alternative = "; ".join(spoken) or "No token is marked."
    return Picture(caption, draw, detail, alternative, key, markup, width=860)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    detail: str = "",
    fills: Mapping[tuple[int, int], str] | None = None,
) -> Picture:
    """Draws a table whose first column names its rows.

    Args:
        headers: names of the columns.
        rows: cells of each row, its name first.
        fills: (row, column) -> color behind that cell; column 0 is the first after the name.
    """
    letters = [
        max(len(line) for row in [headers, *rows] for line in row[column].split("\n"))
        for column in range(len(headers))
    ]
    natural = [7.2 * count + 22 for count in letters]  # pixels: about 7.2 per character, and the padding

    def draw(width: int) -> str:
        # (columns + 1,): the columns shrink in proportion if they are too wide, or share what is left over.
        edges = np.cumsum([0, *natural]) * min(1.0, width / sum(natural))
        edges[1:] += max(0.0, width - edges[-1]) / len(headers) * np.arange(1, len(edges))
        body, y = "", 0.0
        for index, cells in enumerate([headers, *rows]):
            lines = [
                [
                    piece
                    for part in cell.split("\n")
                    for piece in textwrap.wrap(part, max(6, int((edges[column + 1] - edges[column]) / 7.2)))
                    or [""]
                ]
                for column, cell in enumerate(cells)
            ]
            tall = 16 * max(map(len, lines)) + 12
            for column, pieces in enumerate(lines):
                left, right = edges[column], edges[column + 1]
                if color := (fills or {}).get((index - 1, column - 1)):  # without header and name
                    body += rect(
                        left + 1, y + 1, right - left - 2, tall - 2, color, 'fill-opacity="0.3" rx="3"'
                    )
                for row, piece in enumerate(pieces):
                    x, side = (left, "start") if column == 0 else (right - 10, "end")
                    style = {"color": SOFT, "weight": "bold"} if index == 0 else {}
                    body += text(x, y + 19 + 16 * row, piece, 12, anchor=side, **style)
            y += tall
            body += rect(0, y - 0.5, width, 1, RULE)
        return svg(body, width, y + 1)

    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headers)
    body = ""
    for index, (first, *others) in enumerate(rows):
        cells = ""
        for column, cell in enumerate(others):
            color = (fills or {}).get((index, column))
            style = f' style="background:color-mix(in srgb, {color} 30%, transparent)"' if color else ""
            cells += f"<td{style}>{escape(cell)}</td>"
        body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    grid = f'<table class="lp-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    markup = f'<div class="lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">{grid}</div>'
    return Picture(caption, draw, detail, markup=markup, width=max(WIDTH, int(min(1100, sum(natural) + 32))))
