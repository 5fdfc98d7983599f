"""Defines options and arguments that several commands share, and checks the folder that they name."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from ..runs import RunFolder
from ..settings import LARGEST_SEED
from ..stages import get_stage
from ..stages.stage import Stage
from .terminal import command_line

StageName = Annotated[str, typer.Argument(metavar="STAGE", help="The number or the name of a stage.")]
OutputDir = Annotated[
    Path, typer.Option("--output-dir", "-o", help="The folder that contains the run folders.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
FurtherModel = Annotated[
    str | None, typer.Option(help="Take this one of the stage's further models (models/NAME).")
]
Seed = Annotated[int | None, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same text.")]


def check_output_dir(output_dir: Path) -> None:
    """Checks that a folder can contain run folders.

    Raises:
        UserError: it is a file, or itself a run folder.
    """
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"{output_dir} cannot be a folder: a file is in the way; choose another --output-dir")
    if output_dir.is_dir() and RunFolder(output_dir).state != "none":
        raise UserError(
            f"{output_dir} is itself a run folder; --output-dir takes the folder above it: "
            f"--output-dir {shlex.quote(str(output_dir.resolve().parent))}"
        )


def complete_run(name: str, output_dir: Path) -> tuple[Stage, RunFolder]:
    """Returns the stage called `name` and its run folder.

    Raises:
        UserError: no stage has this name, or it has no complete run; the message names the command that
            trains it.
    """
    stage = get_stage(name)
    check_output_dir(output_dir)
    folder = RunFolder(output_dir / stage.folder_name)
    if not folder.is_complete:
        stopped = folder.state == "stopped"
        line = command_line("run", stage.slug, *(["--resume"] if stopped else []), output_dir=output_dir)
        advice = "it was stopped, continue it" if stopped else "train it"
        raise UserError(f"no complete run in {folder.path}; {advice} with: {line}")
    if folder.report["slug"] != stage.slug:
        raise UserError(
            f"{folder.path} is a run folder of stage '{folder.report['slug']}', not of '{stage.slug}'"
        )
    return stage, folder
