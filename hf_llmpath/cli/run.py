"""`llmpath run`: trains stages, shows the progress, and says how to continue a run that was stopped."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UserError
from ..runs import RunFolder
from ..settings import PRESETS
from ..stages import all_stages, get_stage
from ..stages.stage import Stage
from . import report, terminal
from .options import AsJson, OutputDir, check_output_dir
from .terminal import RUNS, command_line

_OWN_OPTIONS = ("dataset", "seed", "model", "text_column", "label_column")  # settings that need no --set


def run(
    stages: Annotated[
        list[str], typer.Argument(metavar="STAGE...", help="Numbers or names of stages, or 'all'.")
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(PRESETS),
            show_default="quick",
            help="How much to train: a minute on embedded data, or everything.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Train on this embedded set, Hub id, local file or folder.")
    ] = None,
    output_dir: OutputDir = RUNS,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the weights, the batches and the samples.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of the stage; llmpath show STAGE --settings lists them.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Fine-tune this pretrained model, a folder or a Hub id, where a stage does so."),
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="The column of a table with the text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="The column of a table with the label.")] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue a stopped run; of several stages, keep the complete ones."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train stages, measure them, draw their pictures and write their model cards."""
    chosen = list(all_stages()) if "all" in stages else list(dict.fromkeys(map(get_stage, stages)))
    named = dict(zip(_OWN_OPTIONS, (dataset, seed, model, text_column, label_column), strict=True))
    overrides = _overrides({name: value for name, value in named.items() if value is not None}, sets or [])
    check_output_dir(output_dir)
    several = len(chosen) > 1
    for stage in chosen:  # a setting that is wrong for the last stage should not come up hours later
        with _naming(stage, several), _renamed_settings_shown():
            stage.settings.preset(preset or PRESETS[0]).updated(**overrides)

    done: list[RunFolder] = []
    try:
        for stage in chosen:
            folder = RunFolder(output_dir / stage.folder_name)
            # Of several stages, only those that were stopped are resumed. The others start, or are complete.
            resumes = resume and (not several or folder.state == "stopped")
            wanted = preset or PRESETS[0], overrides
            if resumes and folder.stopped and preset is None and not overrides:
                wanted = folder.stopped["preset"], folder.stopped["settings"]
            terminal.heading(f"Stage {stage.number} · {stage.title} · {wanted[0]}", terminal.err)
            if resume and several and _is_complete(folder, stage, *wanted):
                terminal.err.print("  complete already", style="dim")
            else:
                with _naming(stage, several):
                    folder = _train(stage, *wanted, output_dir, resumes)
            done.append(folder)
            if several:
                terminal.err.print(report.summary(stage, folder), soft_wrap=True)
    except KeyboardInterrupt:
        # A single stopped run has recorded its options. A stage that never began needs them again.
        kept = not several and folder.state == "stopped"
        given = [] if kept else _options(preset or PRESETS[0], overrides)
        line = command_line("run", *stages, *given, output_dir=output_dir)
        terminal.note(
            f"stopped; nothing is lost, continue with: {line} --resume"
            if folder.state == "stopped"
            else f"stopped before the training began; start again with: {line}",
            style="",
        )
        raise typer.Exit(130) from None  # 128 + SIGINT, as shells expect
    finally:  # also after Ctrl-C or an error: the stages that are done are worth reporting
        if as_json:
            terminal.print_json([folder.report | {"folder": str(folder.path)} for folder in done])
    if as_json:
        return
    if several:
        report.print_path(chosen, output_dir)
    else:
        report.print_run(chosen[0], done[0])


def _train(stage: Stage, preset: str, overrides: dict[str, Any], output_dir: Path, resume: bool) -> RunFolder:
    from ..stages.runner import run_stage

    command = command_line("run", stage.slug, *_options(preset, overrides))
    progress = terminal.progress()
    try:
        return run_stage(stage, preset, overrides, output_dir, resume, progress, command)
    finally:
        progress.close()


def _overrides(named: dict[str, Any], sets: list[str]) -> dict[str, Any]:
    overrides = dict(named)
    for entry in sets:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise UserError(f"--set takes KEY=VALUE, not '{entry}'")
        if name in overrides:
            raise UserError(f"{name} is given twice: {overrides[name]} and {value}")
        overrides[name] = value
    return overrides


def _options(preset: str, overrides: dict[str, Any]) -> list[str]:
    """Returns the options of `llmpath run` that ask for these settings."""
    options = ["--preset", preset]
    for name, value in overrides.items():
        if name in _OWN_OPTIONS:
            options += ["--" + name.replace("_", "-"), str(value)]
        else:
            options += ["--set", f"{name}={value}"]
    return options


@contextmanager
def _naming(stage: Stage, several: bool) -> Iterator[None]:
    """Puts the name of the stage in front of a `UserError` if there are several stages."""
    try:
        yield
    except UserError as error:
        if not several:
            raise
        raise UserError(f"stage {stage.number} ({stage.slug}): {error}") from error


@contextmanager
def _renamed_settings_shown() -> Iterator[None]:
    """Shows the user which settings have been renamed; Python hides a DeprecationWarning by default."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeprecationWarning)
        yield
    for warning in caught:
        terminal.note(f"  {warning.message}")


def _is_complete(folder: RunFolder, stage: Stage, preset: str, overrides: dict[str, Any]) -> bool:
    """Returns whether `folder` has a complete run of these settings and no later run that was stopped."""
    if folder.state != "complete" or folder.slug_of_report is None or folder.report["preset"] != preset:
        return False
    try:
        settings = stage.settings.noted(folder.report["settings"])
    except UserError:  # the run has a setting that no longer exists
        return False
    return settings == stage.settings.preset(preset).updated(**overrides)
