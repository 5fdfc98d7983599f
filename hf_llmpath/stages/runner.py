"""Runs a stage: trains it, draws its pictures, writes its model card, and moves the results into place."""

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
        stage: a stage, its number, or its slug.
        preset: `"quick"` or `"full"`.
        overrides: settings that differ from the preset; a string is parsed as the type of its setting.
        output_dir: the folder that contains the run folders.
        resume: whether to continue the stopped run of this stage.
        progress: the display that shows progress; nothing is shown if None.
        command: the command line of this run, for metrics.json and the card.

    Raises:
        UserError: If something is wrong that the user can fix; the message is one line.
        KeyboardInterrupt: If Ctrl-C was pressed; the run can be resumed.
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
    except BaseException:  # including KeyboardInterrupt: any stopped run can be resumed
        run.pause()
        raise
    run.write_report()
    run.progress.say("drawing")
    stage.draw(RunFolder(run.new))  # `new` is laid out like a run folder, so the charts read it as one
    run.write_card(render(stage, run.new))
    return run.commit()  # only now do the results replace those of an earlier run


@contextmanager
def _configuration_errors_explained() -> Iterator[None]:
    """Turns the error of an invalid model configuration into a `UserError`.

    The sizes in a configuration come from the user's settings, so the user can correct them.
    """
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except StrictDataclassError as error:
        # The last line of the cause says what is wrong; the error only adds the name of a validator.
        raise UserError(str(error.__cause__ or error).strip().splitlines()[-1].strip()) from error


def _command(stage: Stage, preset: str, overrides: dict[str, Any]) -> str:
    sets = "".join(f" --set {name}={value}" for name, value in overrides.items())
    return f"llmpath run {stage.slug} --preset {preset}{sets}"


def _quiet_libraries() -> None:
    """Silences the progress bars and warnings of the libraries; the run shows its own progress."""
    # Without this, tokenizers warns whenever the process forks after a parallel tokenization.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
