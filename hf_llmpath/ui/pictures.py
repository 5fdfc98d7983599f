"""Renders texts and tables that only pages show. All other pictures are a `charts.picture.Picture`."""

from collections.abc import Sequence
from html import escape

from ..charts.picture import figure


class Markup(str):
    """Text that already is HTML and must not be escaped again."""


def plain_text(text: str, caption: str, detail: str = "", prompt: str = "", writing: bool = False) -> str:
    """Returns a text in a frame.

    Args:
        text: the text without its prompt.
        prompt: the beginning of the text, set in another style.
        writing: whether the text is still being written, which a caret shows.
    """
    caret = '<span class="lp-caret" aria-hidden="true"></span>' if writing else ""
    body = f'<div class="lp-text"><span class="lp-prompt">{escape(prompt)}</span>{escape(text)}{caret}</div>'
    return figure(body, caption, detail)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Returns a table whose first column names its rows. Cells are text or `Markup`."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headers)
    body = ""
    for first, *others in rows:
        cells = "".join(f"<td>{cell if isinstance(cell, Markup) else escape(cell)}</td>" for cell in others)
        body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    title = f'<caption class="lp-hidden">{escape(caption)}</caption>'
    grid = f'<table class="lp-table">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="lp lp-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">{grid}</div>'
