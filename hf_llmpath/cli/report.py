"""What the command line says about runs: the path, a run's numbers, its files, and what to do next."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ..charts.wording import duration, number, words
from ..errors import UserError
from ..runs import RunFolder
from ..stages import all_stages
from ..stages.stage import Stage
from .terminal import command_line, facts, heading, out, print_lines, table

STATES = {"complete": "trained", "stopped": "stopped", "none": "not yet"}
_SLUG, _WIDTH = 16, 80


# The path


def path_rows(root: Path, stages: Sequence[Stage] | None = None) -> list[dict[str, Any]]:
    """One row per stage, for `llmpath list` and its `--json`."""
    return [_path_row(stage, RunFolder(root / stage.folder_name)) for stage in stages or all_stages()]


def _path_row(stage: Stage, folder: RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = {
        "stage": stage.number,
        "slug": stage.slug,
        "title": stage.title,
        "phase": stage.phase,
        "model_type": stage.model_type,
        "state": STATES[folder.state],
        "folder": str(folder.path),
        "main": stage.main,
        "value": None,
        "baseline": None,
        "seconds": None,
        "preset": None,
        "goals": None,
        "goals_met": None,
    }
    if not folder.is_complete:
        return row
    try:
        report = folder.report
    except UserError:
        return row | {"state": "damaged"}
    main = report["main"]
    return row | {
        "state": "trained" if folder.state == "complete" else "stopped",
        "main": main,
        "value": report["metrics"][main],
        "baseline": report["baselines"].get(main),
        "seconds": report["seconds"],
        "preset": report["preset"],
        "goals": len(report["goals"]),
        "goals_met": sum(goal["met"] for goal in report["goals"]),
    }


def path_lines(rows: list[dict[str, Any]]) -> Iterator[Text]:
    """The path by phases, two lines a stage, 80 columns wide."""
    phase = None
    for row in rows:
        if row["phase"] != phase:
            phase = row["phase"]
            yield Text(phase, style="bold cyan")
        slug = (f"{row['slug']:<{_SLUG}}", "bold")
        yield _ends(Text.assemble(f"{row['stage']:>2}  ", slug, row["title"]), row["model_type"])
        style = {"trained": "green", "not yet": "dim"}.get(row["state"], "yellow")
        state = Text.assemble("    ", (f"{row['state']:<{_SLUG}}", style), _result(row))
        yield _ends(state, "" if row["seconds"] is None else duration(row["seconds"]))


def _ends(left: Text, right: str) -> Text:
    return (
        left.append(" " * max(2, _WIDTH - len(left) - len(right))).append(right, style="dim")
        if right
        else left
    )


def _result(row: dict[str, Any]) -> Text:
    """The main number beside its baseline, and how many goals are met."""
    if row["value"] is None:
        return Text(
            f"go on with: llmpath run {row['slug']} --resume" if row["state"] == "stopped" else "",
            style="dim",
        )
    baseline = "" if row["baseline"] is None else f", baseline {number(row['baseline'])}"
    result = Text.assemble(words(row["main"]), " ", (number(row["value"]), "bold"), baseline)
    return result.append(", ").append(_met(row["goals_met"], row["goals"])) if row["goals"] else result


def print_path(stages: Sequence[Stage], root: Path) -> None:
    """The end of a run of several stages."""
    print_lines(path_lines(path_rows(root, stages)))
    out.print()
    for stage in stages:
        for goal in RunFolder(root / stage.folder_name).report["goals"]:
            if not goal["met"]:
                out.print(
                    Text.assemble((f"stage {stage.number} missed: ", "bold red"), _promise(goal)),
                    soft_wrap=True,
                )
    facts(
        [
            ("Files", f"{root}/NN-STAGE/: model/  figures/  README.md (the card)  metrics.json"),
            (
                "Next",
                command_line("show", stages[-1].slug, output_dir=root)
                + "  # all numbers, and the code that loads the model",
            ),
            ("", command_line("demo", output_dir=root) + "  # see them work"),
        ]
    )


# One run


def metric_rows(report: dict[str, Any], everything: bool = True) -> list[tuple[str, ...]]:
    """`(name, value, baseline, goal, whether it is met)`; the main metric first.

    Args:
        report: metrics.json.
        everything: all metrics; otherwise those with a baseline or a goal, and the main one.
    """
    metrics, baselines = report["metrics"], report["baselines"]
    goals = {goal["name"]: goal for goal in report["goals"]}
    names = [name for name in metrics if not name.endswith(("_sd", "_seeds"))]
    names.sort(key=lambda name: name != report["main"])
    rows = []
    for name in names:
        if not everything and name not in goals and name not in baselines and name != report["main"]:
            continue
        spread = f" ± {number(metrics[name + '_sd'])}" if name + "_sd" in metrics else ""
        goal = goals.get(name)
        baseline = number(baselines[name]) if name in baselines else ""
        promised = (_limit(goal), "met" if goal["met"] else "missed") if goal else ("", "")
        rows.append((name, number(metrics[name]) + spread, baseline, *promised))
    return rows


def metrics_table(report: dict[str, Any], everything: bool = True) -> Table:
    rows = [
        (words(name), value, baseline, goal, Text(met, style="bold red" if met == "missed" else "green"))
        for name, value, baseline, goal, met in metric_rows(report, everything)
    ]
    return table(["metric", "this run", "baseline", "goal", ""], rows, right=[1, 2, 3])


def summary(stage: Stage, folder: RunFolder) -> Text:
    """A run in one line."""
    row = _path_row(stage, folder)
    return Text("  ").append(_result(row)).append(f", {duration(row['seconds'])}\n")


def print_run(stage: Stage, folder: RunFolder) -> None:
    """The end of a run: its main numbers, where the files are, what to do next."""
    report = folder.report
    out.print(metrics_table(report, everything=False))
    for goal in report["goals"]:
        if not goal["met"]:
            out.print(Text.assemble(("missed: ", "bold red"), _promise(goal)), soft_wrap=True)
    root = folder.path.parent
    rows = [("Took", f"{duration(report['seconds'])}, {report['peak_memory_mb']:,.0f} MB of memory")]
    rows += [("Files", f"{folder.path}/"), ("", _contents(folder))]
    rows += [("Next", command_line("demo", stage.slug, output_dir=root) + "  # see it work")]
    if (folder.model_dir / "chat_template.jinja").exists():
        rows += [("", command_line("chat", output_dir=root) + "  # talk to it")]
    elif stage.auto_class == "AutoModelForCausalLM":
        rows += [("", command_line("generate", stage.slug, output_dir=root) + "  # let it write")]
    rows += [
        (
            "",
            command_line("show", stage.slug, output_dir=root)
            + "  # all numbers, and the code that loads the model",
        )
    ]
    following = next((other for other in all_stages() if other.number > stage.number), None)
    if following is not None:
        rows += [("", command_line("run", following.slug, output_dir=root) + "  # the next stage")]
    facts(rows)


def print_all(stage: Stage, folder: RunFolder) -> None:
    """All that is known of the last run of a stage."""
    report = document(stage, folder)
    heading(f"Stage {stage.number} · {stage.title}")
    data = report["dataset"]
    facts(
        [
            ("phase", stage.phase),
            ("state", "trained" if folder.state == "complete" else "trained; a later run was stopped"),
            ("preset", f"{report['preset']}, seed {report['seed']}"),
            ("data", f"{data['name']} (fingerprint {data.get('fingerprint', 'unknown')})"),
            ("took", f"{duration(report['seconds'])}, {report['peak_memory_mb']:,.0f} MB of memory"),
            ("on", report["hardware"]),
            ("command", report["command"]),
        ]
    )
    out.print()
    out.print(metrics_table(report))
    heading("Files")
    for place in ("model", "README.md", "metrics.json", "history.jsonl"):
        out.print(f"  {folder.path / place}", soft_wrap=True)
    for place in (*sorted((folder.path / "models").glob("*")), *folder.figures):
        out.print(f"  {place}", soft_wrap=True)
    out.print()
    heading("Load the model")
    out.print(Text(report["load"]), soft_wrap=True)


def document(stage: Stage, folder: RunFolder) -> dict[str, Any]:
    """metrics.json with the title, the places of model and pictures, and the code that loads the model."""
    from ..ui.panels import load_snippet

    return {
        "title": stage.title,
        "phase": stage.phase,
        "state": _path_row(stage, folder)["state"],
        **folder.report,
        "folder": str(folder.path),
        "model": str(folder.model_dir),
        "figures": [str(path) for path in folder.figures],
        "load": load_snippet(stage, folder),
    }


# Settings


def setting_rows(stage: Stage) -> list[dict[str, Any]]:
    """Name, type, value in each preset and meaning of every setting of a stage."""
    quick, full = stage.settings.quick(), stage.settings.full()
    names = [field.name for field in dataclasses.fields(stage.settings)]
    described = {name: (kind, text) for name, kind, _, text in stage.settings.describe()}
    return [
        {
            "name": name,
            "type": described[name][0],
            "quick": getattr(quick, name),
            "full": getattr(full, name),
            "help": described[name][1],
        }
        for name in names
    ]


def settings_table(rows: list[dict[str, Any]]) -> Table:
    shown = [
        (
            row["name"],
            row["type"],
            _setting(row["quick"]),
            "" if row["full"] == row["quick"] else _setting(row["full"]),
            row["help"],
        )
        for row in rows
    ]
    return table(["--set", "type", "quick", "full", "meaning"], shown)


def _setting(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _met(met: int, all_of_them: int) -> Text:
    return Text(f"{met} of {all_of_them} goals", style="green" if met == all_of_them else "bold red")


def _limit(goal: dict[str, Any]) -> str:
    return f"{'≥' if goal['higher_is_better'] else '≤'} {number(goal['goal'])}"


def _promise(goal: dict[str, Any]) -> str:
    return f"{words(goal['name'])} is {number(goal['value'])}, the goal is {_limit(goal)}"


def _contents(folder: RunFolder) -> str:
    others = "  models/" if (folder.path / "models").is_dir() else ""
    return f"model/{others}  figures/ ({len(folder.figures)} pictures)  README.md (the card)  metrics.json"
