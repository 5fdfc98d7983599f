"""What a page shows of a stage and its run: header, numbers, figures, lesson and code."""

import base64
import importlib
import inspect
from html import escape
from pathlib import Path
from typing import Any

from ..charts.wording import duration, measured, number, target, words
from ..runs import RunFolder
from ..stages.stage import Concept, Stage
from . import pictures
from .pictures import Markup

_STATES = {"complete": "trained", "stopped": "stopped, can be continued", "none": "not trained yet"}


def section(title: str, text: str = "") -> str:
    """A heading on a page, with a sentence under it."""
    body = f"<p>{escape(text)}</p>" if text else ""
    return f'<div class="lp lp-section"><h2>{escape(title)}</h2>{body}</div>'


def main_number(folder: RunFolder) -> tuple[str, float, float | None] | None:
    """Name, value and baseline of the run's main number, if there is a complete run."""
    if not folder.is_complete:
        return None
    report = folder.report
    name = report["main"]
    return name, report["metrics"][name], report["baselines"].get(name)


def header(stage: Stage, folder: RunFolder, model_id: str | None = None) -> str:
    """Phase, number, title and summary; the state of the run; its main number with the baseline."""
    facts = [("run", pill(folder))]
    if (main := main_number(folder)) is not None:
        name, value, baseline = main
        compared = f" <small>baseline {number(baseline)}</small>" if baseline is not None else ""
        facts.append((words(name), Markup(number(value) + compared)))
        report = folder.report
        facts.append(("trained in", Markup(duration(report["seconds"]))))
        facts.append(("preset", Markup(escape(str(report["preset"])))))
    if model_id:
        facts.append(("model", Markup(escape(model_id))))
    cells = "".join(
        f'<div class="lp-fact"><dt>{escape(name)}</dt><dd>{value}</dd></div>' for name, value in facts
    )
    phase = f"{escape(stage.phase)} · stage {stage.number}"
    return (
        f'<header class="lp lp-header"><div class="lp-phase">{phase}</div>'
        f'<h1>{escape(stage.title)}</h1><p class="lp-summary">{escape(stage.summary)}</p>'
        f'<dl class="lp-facts">{cells}</dl></header>'
    )


def pill(folder: RunFolder) -> Markup:
    """The state of a run as a small label."""
    state = folder.state
    tone = " good" if folder.is_complete else ""
    text = _STATES["complete" if folder.is_complete and state == "stopped" else state]
    return Markup(f'<span class="lp-pill{tone}">{text}</span>')


def numbers(folder: RunFolder) -> str:
    """Goals, then every measured number with its baseline, then what produced them."""
    if not folder.is_complete:
        return '<p class="lp lp-empty">The numbers appear when the stage has been trained.</p>'
    report = folder.report
    metrics, baselines = report["metrics"], report["baselines"]
    goals = ""
    if report["goals"]:
        rows = [_goal_row(goal) for goal in report["goals"]]
        goals = section("Goals") + pictures.table(
            ["what", "measured", "goal", ""], rows, "Goals of this stage"
        )
    rows = []
    for name, value in metrics.items():
        if not name.endswith(("_sd", "_seeds")) and not isinstance(value, list | dict):
            baseline = number(baselines[name]) if name in baselines else "·"
            rows.append([words(name), measured(metrics, name), baseline])
    rows += [[words(name), "·", number(value)] for name, value in baselines.items() if name not in metrics]
    table = pictures.table(["metric", "model", "baseline"], rows, "Measured numbers")
    return goals + section("Measured") + table + _provenance(report)


def _goal_row(goal: dict[str, Any]) -> list[str]:
    tone, verdict = ("good", "met") if goal["met"] else ("bad", "missed")
    mark = Markup(f'<span class="lp-pill {tone}">{verdict}</span>')
    return [words(goal["name"]), number(goal["value"]), target(goal), mark]


def compared(metrics: dict[str, Any], models: dict[str, str], caption: str, prefix: str = "") -> str:
    """The metrics named `PREFIX/MODEL/METRIC` as a table: a row per metric, a column per model.

    Args:
        models: name in the metrics -> name to show.
        caption: of the table; what stands before a colon heads its first column.
    """
    values = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    keys = [key for key in models if any(name.startswith(key + "/") for name in values)]
    rows = []
    for metric in dict.fromkeys(name.partition("/")[2] for name in values if name.partition("/")[0] in keys):
        if not metric.endswith(("_sd", "_seeds")):
            names = [f"{key}/{metric}" for key in keys]
            rows.append([words(metric), *(measured(values, n) if n in values else "·" for n in names)])
    title, _, _ = caption.partition(":")
    return pictures.table([title, *(models[key] for key in keys)], rows, caption)


def _provenance(report: dict[str, Any]) -> str:
    line = (
        f"Data {report['dataset'].get('name', '')}, preset {report['preset']}, seed {report['seed']}; "
        f"{duration(report['seconds'])} on {report['hardware']}, {report['peak_memory_mb']:,.0f} MB."
    )
    return (
        f'<p class="lp lp-note" style="margin-top:12px">{escape(line)} Reproduce with:</p>'
        f'<p class="lp lp-source">{escape(report["command"])}</p>'
    )


def figures(folder: RunFolder) -> str:
    """The pictures that the run drew, as they are on its card."""
    shown = ""
    for path in folder.figures:
        name, data = escape(words(path.stem)), base64.b64encode(path.read_bytes()).decode()
        shown += (
            f'<figure class="lp lp-figure"><figcaption>{name}</figcaption>'
            f'<img src="data:image/png;base64,{data}" alt="Picture of the run: {name}"></figure>'
        )
    if not shown:
        return '<p class="lp lp-empty">This run drew no pictures.</p>'
    return f'<div class="lp lp-gallery">{shown}</div>'


def lesson(stage: Stage) -> str:
    """The stage's lesson without its title, which the page already shows."""
    text = stage.lesson
    return text.partition("\n")[2].lstrip() if text.startswith("# ") else text


def resolve(path: str) -> Any:
    """The object at the dotted path `package.module.Class.attribute`."""
    names = path.split(".")
    for end in range(len(names), 0, -1):
        module = ".".join(names[:end])
        try:
            item = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or ""):
                raise
            continue
        for name in names[end:]:
            item = getattr(item, name)
        return item
    raise ModuleNotFoundError(f"no module in '{path}'")


def source_of(concept: Concept) -> str:
    """Where a concept is implemented, and its code, as Markdown."""
    item = inspect.unwrap(resolve(concept.implementation))
    lines, first = inspect.getsourcelines(item)
    package = inspect.getmodule(item).__name__.partition(".")[0]
    root = Path(importlib.import_module(package).__file__).parents[1]
    path = Path(inspect.getsourcefile(item)).relative_to(root).as_posix()
    code = inspect.cleandoc("".join(lines)) if lines[0].startswith(" ") else "".join(lines)
    return f"`{path}:{max(first, 1)}`\n\n```python\n{code.rstrip()}\n```"
