"""`llmpath list` and `llmpath show`: show the path, and the run or the settings of one stage."""

from typing import Annotated

import typer

from ..stages import get_stage
from . import report, terminal
from .options import AsJson, OutputDir, StageName, check_output_dir, complete_run
from .terminal import RUNS, command_line


def list_stages(output_dir: OutputDir = RUNS, as_json: AsJson = False) -> None:
    """Show the path: every stage, the state of its run, and its main number with the baseline."""
    check_output_dir(output_dir)
    rows = report.path_rows(output_dir)
    if as_json:
        terminal.print_json(rows)
        return
    terminal.print_lines(report.path_lines(rows))
    untrained = [row["slug"] for row in rows if row["value"] is None]
    command = ["run", untrained[0]] if untrained else ["demo"]
    terminal.out.print()
    terminal.facts([("Next", command_line(*command, output_dir=output_dir))])


def show(
    stage: StageName,
    output_dir: OutputDir = RUNS,
    settings: Annotated[
        bool, typer.Option("--settings", help="Show the settings of the stage instead of its run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last run of a stage: metrics, baselines, goals, pictures, and the code to load the model."""
    if settings:
        rows = report.setting_rows(get_stage(stage))
        terminal.print_json(rows) if as_json else terminal.out.print(report.settings_table(rows))
        return
    shown, folder = complete_run(stage, output_dir)
    if as_json:
        terminal.print_json(report.document(shown, folder))
    else:
        report.print_all(shown, folder)
