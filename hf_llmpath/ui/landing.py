"""The first page of the app: the path, phase by phase, with what each run reached."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from ..charts.wording import duration, number, words
from ..runs import RunFolder
from ..stages.stage import Stage
from . import pictures
from .journey import journey
from .panels import main_number, pill

_READ = 170  # characters of the colored text, at most
_READABLE_TEMPERATURE = 0.7


def navigation(stages: Sequence[Stage], here: str | None = None) -> str:
    """Links to the path and to every stage; `here` is the slug of the page that shows them."""
    current = lambda stage: " aria-current=page" if stage.slug == here else ""  # noqa: E731
    links = "".join(
        f'<a href="{stage.slug}"{current(stage)}>{stage.number} {escape(stage.slug)}</a>' for stage in stages
    )
    return (
        f'<nav class="lp lp-nav" aria-label="Stages"><a class="lp-home" href="./">hf_llmpath</a>{links}</nav>'
    )


def neighbors(stages: Sequence[Stage], here: str) -> str:
    """Links to the stage before and the stage after."""
    place = [stage.slug for stage in stages].index(here)
    before = (
        f'<a href="{stages[place - 1].slug}">← {escape(stages[place - 1].title)}</a>'
        if place
        else "<span></span>"
    )
    after = ""
    if place + 1 < len(stages):
        after = f'<a href="{stages[place + 1].slug}">{escape(stages[place + 1].title)} →</a>'
    return f'<nav class="lp lp-next" aria-label="Next stage">{before}{after}</nav>'


def hero(stages: Sequence[Stage], runs_root: Path) -> str:
    """What this is; beside it a trained network reading, where there is one."""
    seen = _reading(stages, runs_root)
    return (
        '<header class="lp lp-hero"><div><h1>From XOR <br>to <em>RLHF</em></h1>'
        "<p>The path into large language models, one small and honest model at a time. Train each stage on a laptop in "
        "about a minute, look inside it while it works, and load it like any other Hugging Face model.</p></div>"
        f"{seen}</header>{journey()}"
    )


def _reading(stages: Sequence[Stage], runs_root: Path) -> str:
    """A text colored by one unit of a network that was trained here; nothing if no run has saved one."""
    for stage in stages:
        folder = RunFolder(runs_root / stage.folder_name)
        try:
            states, unit = folder.figure_data("hidden_states"), folder.figure_data("readable_unit")
        except FileNotFoundError:
            continue
        seconds = duration(folder.report["seconds"])
        start = len(states["text"]) - len(states["text"].lstrip())
        text = states["text"][start : start + _READ].rpartition(" ")[0]
        return pictures.colored_text(
            list(text),
            states["values"][0][start : start + len(text)],
            f"A network reads, and unit {unit['unit']} follows “{unit['feature']}”",
            f"It was trained in {seconds} to guess the next character, and nothing else.",
        )
    return ""


def path(stages: Sequence[Stage], runs_root: Path) -> str:
    """Every stage as a card, grouped by phase: state of its run, main number against the baseline."""
    folders = {stage.slug: RunFolder(runs_root / stage.folder_name) for stage in stages}
    parts = []
    for phase, members in groupby(stages, key=lambda stage: stage.phase):
        cards = "".join(_card(stage, folders[stage.slug]) for stage in members)
        parts.append(f'<h2 class="lp-phase-title">{escape(phase)}</h2><ol class="lp-path">{cards}</ol>')
    done = sum(folder.is_complete for folder in folders.values())
    state = f'<p class="lp-note">{done} of {len(stages)} stages trained on this machine.</p>'
    return f'<div class="lp">{"".join(parts)}{state}</div>'


def _card(stage: Stage, folder: RunFolder) -> str:
    score = f'<div class="lp-score">{pill(folder)}</div>'
    if (main := main_number(folder)) is not None:
        score = f'<div class="lp-score">{_against(*main)}</div>'
    state = "complete" if folder.is_complete else folder.state
    return (
        f'<li class="lp-stop {state}"><span class="lp-number" aria-hidden="true">{stage.number}</span>'
        f'<a class="lp-card" href="{stage.slug}"><div><h3>{escape(stage.title)}</h3>'
        f"<p>{escape(stage.summary)}</p></div>{score}</a></li>"
    )


def _against(name: str, value: float, baseline: float | None) -> str:
    """The number, and two bars of true relative length: ours and the baseline's."""
    text = f"{escape(words(name))}<strong>{number(value)}</strong>"
    if baseline is None:
        return text
    longest = max(abs(value), abs(baseline)) or 1.0
    widths = [100 * abs(part) / longest for part in (value, baseline)]
    lines = "".join(f'<i style="width:{width:.1f}%"></i>' for width in widths)
    return f'{text}<div class="lp-against" aria-hidden="true">{lines}</div>baseline {number(baseline)}'


def voice(stages: Sequence[Stage], runs_root: Path) -> str:
    """What the best language model among the runs wrote; nothing if there is none."""
    written = []
    for stage in stages:
        folder = RunFolder(runs_root / stage.folder_name)
        if folder.is_complete and (folder.path / "figures" / "samples.json").exists():
            written.append((folder.metrics.get("bits_per_character", float("inf")), stage, folder))
    if not written:
        return ""
    _, stage, folder = min(written, key=lambda entry: entry[0])
    samples = folder.figure_data("samples")
    heat = min(samples, key=lambda name: abs(float(name) - _READABLE_TEMPERATURE))
    return pictures.plain_text(
        samples[heat].strip(), "In its own words", f"{stage.title}, temperature {heat}"
    )
