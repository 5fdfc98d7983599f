"""A table as a picture, for where a page or a slide takes no other."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...charts.style import COLORS, GRID, INK, MUTED, subplots


def table_picture(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str,
    note: str = "",
    best: Sequence[int | None] = (),
) -> Figure:
    """Rows of text under headers; the first column names the rows.

    Args:
        headers: names of the columns.
        rows: as many cells each.
        title: above.
        note: below, small.
        best: for every column the row whose cell is marked, or none.
    """
    lines = max(header.count("\n") for header in headers) + 1
    figure, axis = subplots(
        width=9.6, height=0.75 + 0.2 * lines + 0.34 * len(rows) + 0.16 * (note.count("\n") + 1)
    )
    widths = [
        max(max(len(part) for part in header.split("\n")), *(len(row[place]) for row in rows)) + 3
        for place, header in enumerate(headers)
    ]
    edges = [sum(widths[:place]) for place in range(len(widths) + 1)]
    height = 0.62 * lines
    axis.set(xlim=(0, edges[-1]), ylim=(len(rows) + 0.1, -height - 0.3), title=title)
    for place, header in enumerate(headers):
        where, side = (edges[place] + 0.6, "left") if place == 0 else (edges[place + 1] - 1.2, "right")
        axis.text(where, -0.25, header, ha=side, va="bottom", fontsize=8.5, color=MUTED, linespacing=1.15)
        for line, row in enumerate(rows):
            marked = place < len(best) and best[place] == line
            if marked:
                box = (edges[place] + 0.5, line + 0.1)
                axis.add_patch(
                    Rectangle(box, widths[place] - 1, 0.8, color=COLORS[0], alpha=0.14, linewidth=0)
                )
            weight = "bold" if place == 0 or marked else "normal"
            axis.text(where, line + 0.52, row[place].replace("$", r"\$"), ha=side, va="center", fontsize=9.5,
                      color=INK, weight=weight)  # fmt: skip
    for line in range(len(rows) + 1):
        axis.axhline(line, color=INK if line == 0 else GRID, linewidth=1.0 if line == 0 else 0.8)
    axis.axis("off")
    if note:
        figure.supxlabel(note, fontsize=8, color=MUTED, x=0.01, ha="left")
    return figure
