"""Reports on runs in the terminal: the path, the numbers and files of a run, and what to do next."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ..charts.wording import duration, measured, number, target, words
from ..errors import UserError
from ..hub.model_folder import snippet_of_run
from ..runs import RunFolder
from ..stages import all_stages
from ..stages.stage import Stage
from .terminal import command_line, facts, heading, out, print_lines, table

_STATES = {"complete": "trained", "stopped": "stopped", "none": "not yet"}
_SLUG, _WIDTH = 16, 80  # widths, in characters, of the column of slugs and of a line


# The path


def path_rows(root: Path, stages: Sequence[Stage] | None = None) -> list[dict[str, Any]]:
    """Returns one row per stage, for `llmpath list` and its `--json`."""
    return [_path_row(stage, RunFolder(root / stage.folder_name)) for stage in stages or all_stages()]


def _path_row(stage: Stage, folder: RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = {
        "stage": stage.number,
        "slug": stage.slug,
        "title": stage.title,
        "phase": stage.phase,
        "model_type": stage.model_type,
        "state": _STATES[folder.state],
        "folder": str(folder.path),
        "main": stage.main,
    }
    # A stage without a run has the same keys, with null as their values in JSON.
    row |= dict.fromkeys(("value", "baseline", "seconds", "preset", "goals", "goals_met"))
    if not folder.is_complete:
        return row
    try:
        report = folder.report
    except UserError:
        return row | {"state": "damaged"}
    main = report["main"]
    return row | {
        "main": main,
        "value": report["metrics"][main],
        "baseline": report["baselines"].get(main),
        "seconds": report["seconds"],
        "preset": report["preset"],
        "goals": len(report["goals"]),
        "goals_met": sum(goal["met"] for goal in report["goals"]),
    }


def path_lines(rows: list[dict[str, Any]]) -> Iterator[Text]:
    """Yields the path, phase by phase, with two lines of 80 columns per stage."""
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
    """Puts one text at the left end of a line and another at its right end."""
    if not right:
        return left
    return left.append(" " * max(2, _WIDTH - len(left) - len(right))).append(right, style="dim")


def _result(row: dict[str, Any]) -> Text:
    """Returns the main number with its baseline, and the number of goals that are met."""
    if row["value"] is None:
        stopped = row["state"] == "stopped"
        return Text(f"continue with: llmpath run {row['slug']} --resume" if stopped else "", style="dim")
    baseline = "" if row["baseline"] is None else f", baseline {number(row['baseline'])}"
    result = Text.assemble(words(row["main"]), " ", (number(row["value"]), "bold"), baseline)
    if row["goals"]:
        style = "green" if row["goals_met"] == row["goals"] else "bold red"
        result.append(", ").append(f"{row['goals_met']} of {row['goals']} goals", style)
    return result


def print_path(stages: Sequence[Stage], root: Path) -> None:
    """Prints the results at the end of a run of several stages."""
    print_lines(path_lines(path_rows(root, stages)))
    out.print()
    for stage in stages:
        _print_missed(RunFolder(root / stage.folder_name).report, f"stage {stage.number} missed: ")
    facts(
        [
            ("Files", f"{root}/NN-STAGE/: model/  figures/  README.md (the card)  metrics.json"),
            ("Next", _show(stages[-1], root)),
            ("", command_line("demo", output_dir=root) + "  # see them work"),
        ]
    )


# One run


def metrics_table(report: dict[str, Any], everything: bool = True) -> Table:
    """Returns a table of metrics with value, baseline, and goal; the main metric comes first.

    Args:
        report: content of metrics.json.
        everything: whether to list all metrics, or only the main one and those with a baseline or a goal.
    """
    metrics, baselines, main = report["metrics"], report["baselines"], report["main"]
    goals = {goal["name"]: goal for goal in report["goals"]}
    names = [name for name in metrics if not name.endswith(("_sd", "_seeds"))]
    rows = []
    for name in sorted(names, key=lambda name: name != main):  # False sorts first; the rest keeps its order
        if everything or name in goals or name in baselines or name == main:
            baseline = number(baselines[name]) if name in baselines else ""
            goal = goals.get(name)
            verdict = "" if goal is None else "met" if goal["met"] else "missed"
            rows.append(
                (
                    words(name),
                    measured(metrics, name),
                    baseline,
                    target(goal) if goal else "",
                    Text(verdict, style="bold red" if verdict == "missed" else "green"),
                )
            )
    return table(["metric", "this run", "baseline", "goal", ""], rows, right=[1, 2, 3])


def _print_missed(report: dict[str, Any], label: str = "missed: ") -> None:
    for goal in report["goals"]:
        if not goal["met"]:
            text = f"{words(goal['name'])} is {number(goal['value'])}, the goal is {target(goal)}"
            out.print(Text.assemble((label, "bold red"), text), soft_wrap=True)


def _show(stage: Stage, root: Path) -> str:
    line = command_line("show", stage.slug, output_dir=root)
    return f"{line}  # all numbers, and the code that loads the model"


def summary(stage: Stage, folder: RunFolder) -> Text:
    """Summarizes a run in one line."""
    row = _path_row(stage, folder)
    return Text("  ").append(_result(row)).append(f", {duration(row['seconds'])}\n")


def print_run(stage: Stage, folder: RunFolder) -> None:
    """Prints the results at the end of a run: its main numbers, its files, and what to do next."""
    report, root = folder.report, folder.path.parent
    out.print(metrics_table(report, everything=False))
    _print_missed(report)
    others = "  models/" if (folder.path / "models").is_dir() else ""
    pictures = f"figures/ ({len(folder.figures)} pictures)"
    rows = [
        ("Took", _took(report)),
        ("Files", f"{folder.path}/"),
        ("", f"model/{others}  {pictures}  README.md (the card)  metrics.json"),
        ("Next", command_line("demo", stage.slug, output_dir=root) + "  # see it work"),
    ]
    if (folder.model_dir / "chat_template.jinja").exists():
        rows.append(("", command_line("chat", output_dir=root) + "  # talk to it"))
    elif stage.auto_class == "AutoModelForCausalLM":
        rows.append(("", command_line("generate", stage.slug, output_dir=root) + "  # let it write"))
    rows.append(("", _show(stage, root)))
    following = next((other for other in all_stages() if other.number > stage.number), None)
    if following is not None:
        rows.append(("", command_line("run", following.slug, output_dir=root) + "  # the next stage"))
    facts(rows)


def print_all(stage: Stage, folder: RunFolder) -> None:
    """Prints everything that is known about the last run of a stage."""
    report = document(stage, folder)
    heading(f"Stage {stage.number} · {stage.title}")
    data = report["dataset"]
    facts(
        [
            ("phase", stage.phase),
            ("state", "trained" if folder.state == "complete" else "trained; a later run was stopped"),
            ("preset", f"{report['preset']}, seed {report['seed']}"),
            ("data", f"{data['name']} (fingerprint {data.get('fingerprint', 'unknown')})"),
            ("took", _took(report)),
            ("on", report["hardware"]),
            ("command", report["command"]),
        ]
    )
    out.print()
    out.print(metrics_table(report))
    heading("Files")
    files = [folder.path / name for name in ("model", "README.md", "metrics.json", "history.jsonl")]
    for path in (*files, *sorted((folder.path / "models").glob("*")), *folder.figures):
        out.print(f"  {path}", soft_wrap=True)
    out.print()
    heading("Load the model")
    out.print(Text(report["load"]), soft_wrap=True)


def _took(report: dict[str, Any]) -> str:
    return f"{duration(report['seconds'])}, {report['peak_memory_mb']:,.0f} MB of memory"


def document(stage: Stage, folder: RunFolder) -> dict[str, Any]:
    """Returns metrics.json together with title, paths of model and pictures, and code to load the model."""
    return {
        "title": stage.title,
        "phase": stage.phase,
        "state": _path_row(stage, folder)["state"],
        **folder.report,
        "folder": str(folder.path),
        "model": str(folder.model_dir),
        "figures": [str(path) for path in folder.figures],
        "load": snippet_of_run(stage, folder),
    }


# Settings


def setting_rows(stage: Stage) -> list[dict[str, Any]]:
    """Returns name, type, value in each preset, and meaning of every setting of a stage."""
    quick, full = stage.settings.quick().as_dict(), stage.settings.full().as_dict()
    return [
        {"name": name, "type": kind, "quick": quick[name], "full": full[name], "help": text}
        for name, kind, _, text in stage.settings.describe()
    ]


def settings_table(rows: list[dict[str, Any]]) -> Table:
    """Returns a table of settings; the full preset is shown where it differs from the quick preset."""
    cells = []
    for row in rows:
        full = "" if row["full"] == row["quick"] else _setting(row["full"])
        cells.append((row["name"], row["type"], _setting(row["quick"]), full, row["help"]))
    return table(["--set", "type", "quick", "full", "meaning"], cells)


def _setting(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
