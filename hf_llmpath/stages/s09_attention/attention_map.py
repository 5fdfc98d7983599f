"""Pictures of attention: where a model looked while it wrote."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...charts.style import COLORS, INK, MUTED, subplots, visible


def alignment(
    source: Sequence[str],
    target: Sequence[str],
    weights: Sequence[Sequence[float]],
    title: str,
    note: str = "",
) -> Figure:
    """Weights `(target, source)` as a heat map: the document runs to the right, what was written runs
    down. The source token that a row looked at most is framed.

    Args:
        source, target: tokens as text.
        weights: each row sums to 1 (over the whole source, of which a stretch may be shown).
        note: under the picture, in small type.
    """
    values = np.asarray(weights, dtype=float).reshape(len(target), len(source))
    width, height = min(15.8, 2.4 + 0.15 * len(source)), 2.0 + 0.19 * len(target)
    figure, axis = subplots(width=max(6.0, width), height=height)
    picture = axis.imshow(values, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axis.set_xticks(range(len(source)), [_word(token) for token in source], rotation=90, fontsize=7)
    axis.set_yticks(range(len(target)), [_word(token) for token in target], fontsize=8)
    axis.tick_params(length=0, pad=2, labelcolor=INK)
    for row, line in enumerate(values):
        if len(line):
            axis.add_patch(
                Rectangle(
                    (int(line.argmax()) - 0.5, row - 0.5),
                    1,
                    1,
                    fill=False,
                    edgecolor=COLORS[1],
                    linewidth=1.1,
                )
            )
    axis.grid(visible=False)
    axis.set_title(title)
    axis.set_xlabel(f"document{f' ({note})' if note else ''}", color=MUTED)
    bar = figure.colorbar(picture, ax=axis, pad=0.01, fraction=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return figure


def entropy_per_step(
    target: Sequence[str], entropy: Sequence[float], highest: float, title: str, copied: Sequence[float] = ()
) -> Figure:
    """Entropy of the attention (bits) at each token that was written, and how far the copy gate was open.

    Args:
        highest: log2 of the number of source tokens, the entropy of a look at all of them alike.
    """
    figure, axis = subplots(width=max(6.0, 1.6 + 0.36 * len(target)), height=3.4)
    places = np.arange(len(target))
    axis.bar(places, entropy, color=COLORS[0], width=0.62, label="entropy of the attention")
    axis.axhline(highest, color=MUTED, linestyle="--", linewidth=1)
    axis.annotate(
        "looks at all alike", (0.995, highest), xycoords=("axes fraction", "data"), xytext=(0, -3),
        textcoords="offset points", ha="right", va="top", fontsize=8, color=MUTED,
    )  # fmt: skip
    axis.set_xticks(
        places, [_word(token) for token in target], rotation=50, ha="right", rotation_mode="anchor"
    )
    axis.set_xlim(-0.7, len(target) - 0.3)
    axis.set(title=title, ylabel="bits", ylim=(0, 1.3 * highest))
    axis.grid(visible=False, axis="x")
    if len(copied):
        gate = axis.twinx()
        gate.plot(places, copied, "o", color=COLORS[1], markersize=4, label="copy gate")
        gate.set(ylim=(0, 1.3), yticks=[0, 0.5, 1], ylabel="copy gate (1: copies)")
        gate.grid(visible=False)
        gate.spines["right"].set_visible(False)
        handles = [*axis.get_legend_handles_labels()[0], *gate.get_legend_handles_labels()[0]]
        axis.legend(handles, ["entropy of the attention", "copy gate"], loc="upper left", ncols=2)
    return figure


def _word(token: str) -> str:
    return visible(token.strip() or token) or "end"
