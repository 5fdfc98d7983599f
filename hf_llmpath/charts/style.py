"""One look for all pictures: readable when printed, in a slide and on a phone; colors that the
color-blind can tell.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .picture import Picture

# Okabe & Ito 2008, without yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
STYLE = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "font.size": 9,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
}


matplotlib.rcParams.update(STYLE)  # titles and labels read it when they are set, not when the figure is made


def subplots(rows: int = 1, columns: int = 1, width: float = 7.2, height: float = 3.6, **options):
    """`plt.subplots` in our style; sizes in inches."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def save(figure: Figure | Picture, path: Path) -> Path:
    """Writes the figure as PNG and forgets it."""
    if isinstance(figure, Picture):
        return figure.save(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    return path


def visible(character: str) -> str:
    """A character as it can be read on an axis."""
    names = {" ": "␣", "\n": "⏎", "\t": "⇥", "<|endoftext|>": "end", "<|pad|>": "pad", "<|unk|>": "unk"}
    # The sign by which the word tokenizer marks what is written together; fonts lack it.
    return names.get(character, character).replace("￭", "").replace("$", r"\$")
