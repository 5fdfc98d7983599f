"""Runs a stage: opens its run folder, trains, draws, writes the card, and publishes the results there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..runs import NoProgress, Run, RunFolder
from . import get_stage
from .stage import Stage


def run_stage(
    stage: Stage | str | int,
    preset: str = "quick",
    overrides: dict[str, Any] | None = None,
    output_dir: Path | str = "runs",
    resume: bool = False,
    progress: NoProgress | None = None,
    command: str | None = None,
) -> RunFolder:
    """Trains a stage and returns its run folder.

    Args:
        stage: a stage, its number or its slug.
        preset: `"quick"` or `"full"`.
        overrides: settings that differ from the preset; strings are read as the type of the setting.
        output_dir: the folder that contains the run folders.
        resume: continue the stopped run of this stage.
        progress: shows progress.
        command: the command line of this run, for metrics.json and the card.

    Raises:
        UserError: something that the user can fix, in one line.
        KeyboardInterrupt: stopped by Ctrl-C; the run can be resumed.
    """
    from ..hub.cards import render

    stage = stage if isinstance(stage, Stage) else get_stage(stage)
    settings = stage.settings.preset(preset).updated(**(overrides or {}))
    identity = {
        "stage": stage.number,
        "slug": stage.slug,
        "preset": preset,
        "settings": settings.as_dict(),
        "command": command or _command(stage, preset, overrides or {}),
    }
    _quiet_libraries()
    run = Run.start(Path(output_dir) / stage.folder_name, identity, resume, progress, stage.settings.renamed)
    try:
        with _configuration_errors_explained():
            stage.train(settings, run)
    except BaseException:
        run.pause()
        raise
    run.write_report()
    run.progress.say("drawing")
    stage.draw(RunFolder(run.new))
    run.write_card(render(stage, run.new))
    return run.commit()


@contextmanager
def _configuration_errors_explained() -> Iterator[None]:
    """Turns a configuration's refusal into a `UserError`: its sizes come from the user's settings."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except StrictDataclassError as error:
        raise UserError(str(error.__cause__ or error).strip().splitlines()[-1].strip()) from error


def _command(stage: Stage, preset: str, overrides: dict[str, Any]) -> str:
    sets = "".join(f" --set {name}={value}" for name, value in overrides.items())
    return f"llmpath run {stage.slug} --preset {preset}{sets}"


def _quiet_libraries() -> None:
    """Silences progress bars and warnings of the libraries; the run shows its own."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
