"""Builds the first page of the app: the path, phase by phase, and the result of each run."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from ..charts.text import colored_text
from ..charts.wording import duration, number, words
from ..runs import RunFolder
from ..stages.stage import Stage
from . import pictures
from .journey import journey
from .page import main_number, pill

_LONGEST_TEXT = 170  # characters of the colored text
_READABLE_TEMPERATURE = 0.7


def navigation(stages: Sequence[Stage], here: str | None = None) -> str:
    """Returns links to the path and to every stage; `here` is the slug of the page that shows the links."""
    current = lambda stage: " aria-current=page" if stage.slug == here else ""  # noqa: E731
    links = "".join(
        f'<a href="{stage.slug}"{current(stage)}>{stage.number} {escape(stage.slug)}</a>' for stage in stages
    )
    return (
        f'<nav class="lp lp-nav" aria-label="Stages"><a class="lp-home" href="./">hf_llmpath</a>{links}</nav>'
    )


def neighbors(stages: Sequence[Stage], here: str) -> str:
    """Returns links to the previous and the next stage."""
    index = [stage.slug for stage in stages].index(here)
    before, after = "<span></span>", ""
    if index > 0:
        before = f'<a href="{stages[index - 1].slug}">← {escape(stages[index - 1].title)}</a>'
    if index + 1 < len(stages):
        after = f'<a href="{stages[index + 1].slug}">{escape(stages[index + 1].title)} →</a>'
    return f'<nav class="lp lp-next" aria-label="Next stage">{before}{after}</nav>'


def hero(stages: Sequence[Stage], runs_root: Path) -> str:
    """Returns the introduction, and next to it a network that reads a text, if a run has saved one."""
    return (
        '<header class="lp lp-hero"><div><h1>From XOR <br>to <em>RLHF</em></h1>'
        "<p>The path into large language models, one small and honest model at a time. Train each stage on a "
        "laptop in about a minute, look inside it while it works, and load it like any other Hugging Face "
        f"model.</p></div>{_reading(stages, runs_root)}</header>{journey()}"
    )


def _reading(stages: Sequence[Stage], runs_root: Path) -> str:
    """Returns a text colored by one unit of a network that was trained here; empty without such a run."""
    for stage in stages:
        folder = RunFolder(runs_root / stage.folder_name)
        try:
            states, unit = folder.figure_data("hidden_states"), folder.figure_data("readable_unit")
        except FileNotFoundError:
            continue
        seconds = duration(folder.report["seconds"])
        start = len(states["text"]) - len(states["text"].lstrip())
        # rpartition cuts at the last space, so no word is cut in two.
        text = states["text"][start : start + _LONGEST_TEXT].rpartition(" ")[0]
        return colored_text(
            list(text),
            states["values"][0][start : start + len(text)],
            f"A network reads, and unit {unit['unit']} follows “{unit['feature']}”",
            f"It was trained in {seconds} to guess the next character, and nothing else.",
        ).html()
    return ""


def path(stages: Sequence[Stage], runs_root: Path) -> str:
    """Returns a card per stage, grouped by phase: the state of its run, its main number, the baseline."""
    folders = {stage.slug: RunFolder(runs_root / stage.folder_name) for stage in stages}
    phases = []
    for phase, members in groupby(stages, key=lambda stage: stage.phase):
        cards = "".join(_card(stage, folders[stage.slug]) for stage in members)
        phases.append(f'<h2 class="lp-phase-title">{escape(phase)}</h2><ol class="lp-path">{cards}</ol>')
    done = sum(folder.is_complete for folder in folders.values())
    state = f'<p class="lp-note">{done} of {len(stages)} stages trained on this machine.</p>'
    return f'<div class="lp">{"".join(phases)}{state}</div>'


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
    """Returns the number, and two bars in proportion: one for the model and one for the baseline."""
    text = f"{escape(words(name))}<strong>{number(value)}</strong>"
    if baseline is None:
        return text
    longest = max(abs(value), abs(baseline)) or 1.0
    widths = [100 * abs(length) / longest for length in (value, baseline)]
    lines = "".join(f'<i style="width:{width:.1f}%"></i>' for width in widths)
    return f'{text}<div class="lp-against" aria-hidden="true">{lines}</div>baseline {number(baseline)}'


def voice(stages: Sequence[Stage], runs_root: Path) -> str:
    """Returns a text that the best language model among the runs wrote; empty if no run has one."""
    writers = []
    for stage in stages:
        folder = RunFolder(runs_root / stage.folder_name)
        if folder.is_complete and (folder.path / "figures" / "samples.json").exists():
            writers.append((folder.metrics.get("bits_per_character", float("inf")), stage, folder))
    if not writers:
        return ""
    # Bits per character compare models of different vocabularies; runs without this number come last.
    _, stage, folder = min(writers, key=lambda entry: entry[0])
    samples = folder.figure_data("samples")
    temperature = min(samples, key=lambda name: abs(float(name) - _READABLE_TEMPERATURE))
    detail = f"{stage.title}, temperature {temperature}"
    return pictures.plain_text(samples[temperature].strip(), "In its own words", detail)
