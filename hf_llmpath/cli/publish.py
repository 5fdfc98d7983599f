"""`llmpath push` and `llmpath space`: send a trained model with its card, or a demo, to the Hub."""

from typing import Annotated, Any

import typer

from ..stages import get_stage
from . import terminal
from .options import OutputDir, StageName, complete_run
from .terminal import RUNS

RepoId = Annotated[str, typer.Argument(metavar="REPO_ID", help="The repository, NAME or OWNER/NAME.")]
Private = Annotated[bool, typer.Option("--private", help="Make the repository private if it is new.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")]


def push(
    stage: StageName,
    repo_id: RepoId,
    output_dir: OutputDir = RUNS,
    private: Private = False,
    dry_run: DryRun = False,
) -> None:
    """Send a trained model with its card to the Hugging Face Hub."""
    pushed, folder = complete_run(stage, output_dir)
    from ..hub.push import push as send

    _print_result(send(pushed, folder, repo_id, private=private, dry_run=dry_run))


def space(
    stage: Annotated[
        str, typer.Argument(metavar="STAGE|all", help="A stage, or 'all' for the whole path in one Space.")
    ],
    repo_id: RepoId,
    private: Private = False,
    dry_run: DryRun = False,
) -> None:
    """Send the demo of a stage, or of the whole path, to the Hub as a Gradio Space."""
    shown = None if stage in ("all", "gallery") else get_stage(stage)
    from ..hub.space import push_space

    _print_result(push_space(shown, repo_id, private=private, dry_run=dry_run))


def _print_result(result: Any) -> None:
    rows = [(name, terminal.size(count)) for name, count in result.files]
    terminal.out.print(terminal.table(["file", "size"], rows, right=[1]))
    if result.url is None:
        terminal.facts([("Dry run", f"nothing was sent to {result.repo_id}")])
    else:
        terminal.facts([("Sent to", result.url)])
