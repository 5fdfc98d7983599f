"""Texts and tables that only pages show. Everything else that is drawn is a `charts.picture.Picture`."""

from collections.abc import Sequence
from html import escape

from ..charts.picture import figure


class Markup(str):
    """Text that is HTML already and is not escaped again."""


def plain_text(text: str, caption: str, detail: str = "", prompt: str = "", writing: bool = False) -> str:
    """A text in a frame.

    Args:
        prompt: what the text starts with; it is set off.
        writing: whether the text is still being written; a caret shows it.
    """
    caret = '<span class="lp-caret" aria-hidden="true"></span>' if writing else ""
    body = f'<div class="lp-text"><span class="lp-prompt">{escape(prompt)}</span>{escape(text)}{caret}</div>'
    return figure(body, caption, detail)


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
