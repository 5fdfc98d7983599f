"""The parts of a page that are read off a stage and its run: header, numbers, figures, code, load snippet."""

import base64
import importlib
import inspect
from html import escape
from pathlib import Path
from typing import Any

from ..charts.wording import duration, number, words
from ..hub import model_folder
from ..hub.model_folder import read_json
from ..runs import RunFolder
from ..stages.stage import Concept, Stage
from . import pictures
from .pictures import Markup

STATES = {"complete": "trained", "stopped": "stopped, can be continued", "none": "not trained yet"}


def section(title: str, text: str = "") -> str:
    """A heading within a page, with a sentence under it."""
    body = f"<p>{escape(text)}</p>" if text else ""
    return f'<div class="lp lp-section"><h2>{escape(title)}</h2>{body}</div>'


def main_number(folder: RunFolder) -> tuple[str, float, float | None] | None:
    """Name, value and baseline of the number that stands for the run, if there is a run."""
    if not folder.is_complete:
        return None
    report = folder.report
    name = report["main"]
    return name, report["metrics"][name], report["baselines"].get(name)


def header(stage: Stage, folder: RunFolder, model_id: str | None = None) -> str:
    """Phase, number, title and summary; what state the run is in; its main number beside the baseline."""
    facts = [("run", pill(folder))]
    if (main := main_number(folder)) is not None:
        name, value, baseline = main
        beside = f" <small>baseline {number(baseline)}</small>" if baseline is not None else ""
        facts.append((words(name), Markup(number(value) + beside)))
        report = folder.report
        facts.append(("trained in", Markup(duration(report["seconds"]))))
        facts.append(("preset", Markup(escape(str(report["preset"])))))
    if model_id:
        facts.append(("model", Markup(escape(model_id))))
    cells = "".join(
        f'<div class="lp-fact"><dt>{escape(name)}</dt><dd>{value}</dd></div>' for name, value in facts
    )
    return (
        f'<header class="lp lp-header"><div class="lp-phase">{escape(stage.phase)} · stage {stage.number}</div>'
        f'<h1>{escape(stage.title)}</h1><p class="lp-summary">{escape(stage.summary)}</p>'
        f'<dl class="lp-facts">{cells}</dl></header>'
    )


def pill(folder: RunFolder) -> Markup:
    state = folder.state
    tone = " good" if folder.is_complete else ""
    text = STATES["complete" if folder.is_complete and state == "stopped" else state]
    return Markup(f'<span class="lp-pill{tone}">{text}</span>')


def numbers(folder: RunFolder) -> str:
    """Goals, then every measured number beside its baseline, then what produced them."""
    if not folder.is_complete:
        return '<p class="lp lp-empty">The numbers appear when the stage has been trained.</p>'
    report = folder.report
    metrics, baselines = report["metrics"], report["baselines"]
    parts = []
    if report["goals"]:
        rows = [_goal_row(goal) for goal in report["goals"]]
        parts.append(
            section("Goals") + pictures.table(["what", "measured", "goal", ""], rows, "Goals of this stage")
        )
    rows = []
    for name, value in metrics.items():
        if name.endswith(("_sd", "_seeds")) or isinstance(value, list | dict):
            continue
        beside = number(baselines[name]) if name in baselines else "·"
        rows.append([words(name), _with_spread(metrics, name), beside])
    rows += [[words(name), "·", number(value)] for name, value in baselines.items() if name not in metrics]
    parts.append(
        section("Measured") + pictures.table(["metric", "model", "baseline"], rows, "Measured numbers")
    )
    return "".join(parts) + _provenance(report)


def _goal_row(goal: dict[str, Any]) -> list[str]:
    tone, verdict = ("good", "met") if goal["met"] else ("bad", "missed")
    limit = f"{'≥' if goal['higher_is_better'] else '≤'} {number(goal['goal'])}"
    mark = Markup(f'<span class="lp-pill {tone}">{verdict}</span>')
    return [words(goal["name"]), number(goal["value"]), limit, mark]


def compared(metrics: dict[str, Any], models: dict[str, str], caption: str, prefix: str = "") -> str:
    """The metrics named `PREFIX/MODEL/METRIC` as a table: a row per metric, a column per model (key ->
    shown name).
    """
    own = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    keys = [key for key in models if any(name.startswith(key + "/") for name in own)]
    rows = []
    for metric in dict.fromkeys(name.partition("/")[2] for name in own if name.partition("/")[0] in keys):
        if not metric.endswith(("_sd", "_seeds")):
            cells = [_with_spread(own, f"{key}/{metric}") for key in keys]
            rows.append([words(metric), *cells])
    title, _, _ = caption.partition(":")
    return pictures.table([title, *(models[key] for key in keys)], rows, caption)


def _with_spread(metrics: dict[str, Any], name: str) -> str:
    """The number, with its standard deviation where several seeds were run."""
    if name not in metrics:
        return "·"
    spread = f" ± {number(metrics[name + '_sd'])}" if name + "_sd" in metrics else ""
    return number(metrics[name]) + spread


def _provenance(report: dict[str, Any]) -> str:
    dataset = report["dataset"].get("name", "")
    lines = (
        f"Data {dataset}, preset {report['preset']}, seed {report['seed']}; {duration(report['seconds'])} on "
        f"{report['hardware']}, {report['peak_memory_mb']:,.0f} MB."
    )
    return (
        f'<p class="lp lp-note" style="margin-top:12px">{escape(lines)} Reproduce with:</p>'
        f'<p class="lp lp-source">{escape(report["command"])}</p>'
    )


def figures(folder: RunFolder) -> str:
    """The pictures that the run drew, as they are on its card."""
    shown = "".join(
        f'<figure class="lp lp-figure"><figcaption>{escape(words(path.stem))}</figcaption>'
        f'<img src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" '
        f'alt="Picture of the run: {escape(words(path.stem))}"></figure>'
        for path in folder.figures
    )
    if not shown:
        return '<p class="lp lp-empty">This run drew no pictures.</p>'
    return f'<div class="lp lp-gallery">{shown}</div>'


def lesson(stage: Stage) -> str:
    """The stage's lesson; its title is left out, for the page has it already."""
    text = stage.lesson
    return text.partition("\n")[2].lstrip() if text.startswith("# ") else text


def resolve(path: str) -> Any:
    """The object at the dotted path `package.module.Class.attribute`."""
    names = path.split(".")
    for cut in range(len(names), 0, -1):
        try:
            found = importlib.import_module(".".join(names[:cut]))
        except ModuleNotFoundError as error:
            if not ".".join(names[:cut]).startswith(error.name or ""):
                raise
            continue
        for name in names[cut:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(f"no module in '{path}'")


def source_of(concept: Concept) -> str:
    """Markdown: where the concept is implemented, and the code itself."""
    target = inspect.unwrap(resolve(concept.implementation))
    lines, first = inspect.getsourcelines(target)
    module = inspect.getmodule(target)
    package = module.__name__.partition(".")[0]
    root = Path(importlib.import_module(package).__file__).parents[1]
    place = Path(inspect.getsourcefile(target)).relative_to(root).as_posix()
    code = inspect.cleandoc("".join(lines)) if lines[0].startswith(" ") else "".join(lines)
    return f"`{place}:{max(first, 1)}`\n\n```python\n{code.rstrip()}\n```"


def load_snippet(stage: Stage, folder: RunFolder, model_id: str | None = None) -> str:
    """A script that loads the model of the run and uses it; runs as it stands.

    Raises:
        UserError: a config.json that cannot be read.
    """
    config = folder.model_dir / "config.json"
    known = read_json(config) if config.exists() else {}
    return model_folder.load_snippet(
        stage.auto_class, model_id or folder.model_dir.as_posix(), known, stage.prompt or "Once"
    )
