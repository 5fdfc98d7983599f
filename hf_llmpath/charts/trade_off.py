"""Two numbers of each of several things, one to be large and one to be small, as points."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from .style import COLORS, MUTED, subplots


def trade_off(
    points: Mapping[str, tuple[float, float, float]], title: str, xlabel: str, ylabel: str, note: str = ""
) -> Figure:
    """A point per name at (x, y), x on a logarithmic axis, with an area that stands for the third number."""
    figure, axis = subplots(height=3.9)
    largest = max(size for *_, size in points.values())
    for index, (name, (x, y, size)) in enumerate(points.items()):
        color = COLORS[index % len(COLORS)]
        axis.scatter(
            [x],
            [y],
            s=40 + 360 * size / largest,
            color=color,
            alpha=0.75,
            linewidth=0,
            label=f"{name}: {size:.1f} MB",
        )
    axis.set_xscale("log")
    axis.margins(x=0.15, y=0.25)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), markerscale=0.45)
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.minorticks_on()
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.xaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}" if str(f"{value:.0f}")[0] in "25" else "")
    if note:
        axis.annotate(note, (1, 1.02), xycoords="axes fraction", ha="right", color=MUTED, fontsize=8)
    return figure


FORMS = {
    "greedy": "32 bits, greedy",
    "bare steps": "32 bits, bare steps",
    "no cache": "32 bits, no cache",
    "int8": "int8 (bitsandbytes)",
    "nf4": "nf4 (bitsandbytes)",
    "student": "student, half the depth",
}


def forms_picture(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Perplexity against speed of a model's forms; `rows` as `inference.speed` measures them. Ways of
    decoding, whose perplexity is the reference's, are left out."""
    points = {
        FORMS.get(name, name): (row["tokens_per_second"], row["perplexity"], row["megabytes"])
        for name, row in rows.items()
        if "beam" not in name and name != "no cache"
    }
    return trade_off(
        points,
        "Quality against speed",
        "tokens per second, one text at a time, logarithmic",
        "perplexity of held-out text",
        "area: megabytes of the weights",
    )
