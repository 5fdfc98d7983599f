"""Tokens in boxes: what a model sees of a text, and what it makes of the gaps."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .style import COLORS, INK, MUTED, subplots

PLAIN = "#f3f4f6"


def token_rows(
    rows: Sequence[tuple[str, Sequence[str], Sequence[str]]],
    title: str,
    meanings: Mapping[str, str],
    columns: int = 96,
) -> Figure:
    """Texts as rows of boxes, wrapped, one box per token.

    Args:
        rows: name of the row, its tokens, and for each token one of `meanings` or an empty string.
        meanings: mark -> what its color means, for the legend; in the order of the colors.
        columns: characters in a line.
    """
    colors = dict(zip(meanings, COLORS[1:], strict=False))
    places, line = [], 0.0
    for name, tokens, marks in rows:
        column = 0.0
        places.append((name, line, 0.0, "", None))
        line += 0.85
        for token, mark in zip(tokens, marks, strict=True):
            width = len(token) + 1.2
            if column + width > columns and column:
                column, line = 0.0, line + 1.05
            places.append((token, line, column, mark, width))
            column += width + 0.3
        line += 1.5
    figure, axis = subplots(width=9.6, height=0.9 + 0.27 * line)
    for text, row, column, mark, width in places:
        if width is None:
            axis.text(0, row + 0.55, text, fontsize=8.5, color=MUTED, weight="bold")
            continue
        color = colors.get(mark)
        box = FancyBboxPatch(
            (column, row),
            width,
            0.78,
            boxstyle="round,pad=0,rounding_size=0.25",
            facecolor=color or PLAIN,
            alpha=0.32 if color else 1.0,
            edgecolor=color or PLAIN,
            linewidth=1,
        )
        axis.add_patch(box)
        axis.text(column + width / 2, row + 0.41, text.replace("$", r"\$"), ha="center", va="center", fontsize=8.2,
                  family="DejaVu Sans Mono", color=INK)  # fmt: skip
    keys = [
        axis.scatter([], [], marker="s", s=60, color=colors[mark], alpha=0.5, label=meaning)
        for mark, meaning in meanings.items()
    ]
    axis.legend(handles=keys, loc="upper left", bbox_to_anchor=(0, -0.01), ncols=len(keys), borderaxespad=0.0)
    axis.set(xlim=(0, columns + 2), ylim=(line - 0.5, -0.2), title=title)
    axis.axis("off")
    return figure


def paired_bars(
    rows: Sequence[tuple[str, Mapping[str, Sequence[tuple[str, float]]]]],
    title: str,
    xlabel: str = "probability",
) -> Figure:
    """For each text a row of panels, one per name (such as before and after), with a bar for each
    `(token, value)`.
    """
    names = list(rows[0][1])
    height = 0.7 + sum(0.55 + 0.21 * max(len(bars) for bars in panels.values()) for _, panels in rows)
    figure, axes = subplots(len(rows), len(names), width=8.8, height=height, sharex=True, squeeze=False)
    for line, (text, panels) in zip(axes, rows, strict=True):
        for axis, name, color in zip(line, names, ("#9ca3af", COLORS[0]), strict=False):
            tokens, values = zip(*panels[name], strict=True)
            places = range(len(tokens))
            axis.barh(places, values, color=color, height=0.66)
            axis.set_yticks(places, [token.replace("$", r"\$") for token in tokens], fontsize=8.5, color=INK)
            for place, value in zip(places, values, strict=True):
                axis.annotate(
                    f"{value:.2f}",
                    (value, place),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7.5,
                )
            axis.invert_yaxis()
            axis.set_xlim(0, 1.12)
            axis.set_xticks([0, 0.5, 1])
            axis.grid(axis="y", visible=False)
            axis.tick_params(length=0)
        line[0].set_title(text.replace("$", r"\$"), fontsize=9.5)
    for axis, name in zip(axes[0], names, strict=True):
        axis.annotate(
            name,
            (1, 1.04),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            fontsize=8.5,
            color=MUTED,
            style="italic",
        )
    for axis in axes[-1]:
        axis.set_xlabel(xlabel)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", weight="bold")
    return figure
