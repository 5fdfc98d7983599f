"""Bars: probabilities, scores."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from .style import COLORS, MUTED, subplots, visible


def character_bars(
    characters: Sequence[str], probabilities: Mapping[str, Sequence[float]], prompt: str
) -> Figure:
    """Probability of each next character, one panel per temperature."""
    figure, axes = subplots(1, len(probabilities), width=8.4, height=2.8, sharey=True, squeeze=False)
    for axis, color, (temperature, values) in zip(axes[0], COLORS, probabilities.items(), strict=False):
        axis.bar(range(len(values)), values, color=color)
        axis.set_xticks(range(len(values)), [visible(c) for c in characters], family="DejaVu Sans Mono")
        axis.set(title=f"temperature {temperature}", ylim=(0, 1))
        axis.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("probability")
    figure.suptitle(
        f"What comes after “{''.join(map(visible, prompt[-36:]))}”" if prompt else "The first character",
        fontsize=11,
        x=0.01,
        ha="left",
        weight="bold",
    )
    return figure


def score_bars(
    scores: Mapping[str, float],
    title: str,
    xlabel: str,
    levels: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
) -> Figure:
    """One horizontal bar per name, the number beside it, with named levels to compare with."""
    figure, axis = subplots(height=1.1 + 0.5 * len(scores))
    names = list(scores)
    deviation = [(errors or {}).get(name, 0.0) for name in names]
    axis.barh(
        names,
        list(scores.values()),
        color=COLORS[: len(names)],
        height=0.55,
        xerr=deviation if errors else None,
    )
    for row, name in enumerate(names):
        axis.annotate(
            f"{scores[name]:,.0f}" if abs(scores[name]) >= 100 else f"{scores[name]:.3g}",
            (scores[name] + deviation[row], row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    for name, level in (levels or {}).items():
        axis.axvline(level, color=MUTED, linestyle="--", linewidth=1)
        xlabel += f"\ndashed line: {name}, {level:.3g}"
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(x=0.12)
    axis.set(title=title, xlabel=xlabel)
    return figure
