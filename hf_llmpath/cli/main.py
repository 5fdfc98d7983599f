"""`llmpath`: each command is a thin call into the package.

What is heavy is imported inside the functions, so that `--help` and `list` answer at once.
"""

import io
import json
import logging
import shlex
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import UserError
from ..runs import RunFolder
from ..settings import LARGEST_SEED, PRESETS
from ..stages import all_stages, get_stage
from ..stages.stage import Stage
from . import terminal
from .terminal import RUNS, command_line

app = typer.Typer(
    name="llmpath",
    help="The path into large language models as runnable stages. STAGE is a number or a name: 7 or rnn.",
    epilog="Start with: llmpath list, then llmpath run rnn.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StageName = Annotated[str, typer.Argument(metavar="STAGE", help="Number or name of a stage.")]
OutputDir = Annotated[Path, typer.Option("--output-dir", "-o", help="The folder that holds the run folders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
RepoId = Annotated[str, typer.Argument(metavar="REPO_ID", help="NAME or OWNER/NAME on the Hub.")]
Private = Annotated[bool, typer.Option("--private", help="Make a private repository.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks; goes anywhere on the line.")
    ] = False,
) -> None:
    if version:
        print(f"hf_llmpath {__version__}")
        raise typer.Exit()


@app.command("list")
def list_stages(output_dir: OutputDir = RUNS, as_json: AsJson = False) -> None:
    """Show the path: every stage, the state of its run, and its main number beside the baseline."""
    from .report import path_lines, path_rows

    _check_output_dir(output_dir)
    rows = path_rows(output_dir)
    if as_json:
        terminal.print_json(rows)
        return
    terminal.print_lines(path_lines(rows))
    untrained = [row["slug"] for row in rows if row["value"] is None]
    command = ["run", untrained[0]] if untrained else ["demo"]
    terminal.out.print()
    terminal.facts([("Next", command_line(*command, output_dir=output_dir))])


@app.command()
def run(
    stages: Annotated[
        list[str], typer.Argument(metavar="STAGE...", help="Numbers or names of stages, or 'all'.")
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(PRESETS), show_default="quick", help="A minute on embedded data, or everything."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Embedded name, Hub id, or local file or folder.")
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
            help="Another setting of the stage; see llmpath show STAGE --settings.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Pretrained model to start from, where a stage fine-tunes one: folder or Hub id."),
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of a table that holds the text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of a table that holds the label.")] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a stopped run; of several stages, keep those that are complete."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train stages: measure them, draw their pictures and write their cards."""
    from .report import print_path, print_run, summary

    chosen = _stages(stages)
    named = {"dataset": dataset, "seed": seed, "text_column": text_column, "label_column": label_column}
    named["model"] = model
    overrides = _overrides({name: value for name, value in named.items() if value is not None}, sets or [])
    _check_output_dir(output_dir)
    several = len(chosen) > 1
    for stage in chosen:  # nothing is trained before everything that is asked for makes sense
        with _about(stage, several):
            stage.settings.preset(preset or PRESETS[0]).updated(**overrides)

    done: list[RunFolder] = []
    try:
        for stage in chosen:
            folder = RunFolder(output_dir / stage.folder_name)
            go_on = resume and (not several or folder.state == "stopped")
            wanted = preset or PRESETS[0], overrides
            if go_on and folder.stopped and preset is None and not overrides:
                wanted = folder.stopped["preset"], folder.stopped["settings"]
            terminal.heading(f"Stage {stage.number} · {stage.title} · {wanted[0]}", terminal.err)
            if resume and several and _holds(folder, stage, *wanted):
                terminal.err.print("  complete already", style="dim")
            else:
                with _about(stage, several):
                    folder = _train(stage, *wanted, output_dir, go_on)
            done.append(folder)
            if several:
                terminal.err.print(summary(stage, folder), soft_wrap=True)
    except KeyboardInterrupt:
        # What a single stopped run was given is kept with it; what never began has to be asked for again.
        kept = not several and folder.state == "stopped"
        options = [] if kept else _options(preset or PRESETS[0], overrides)
        _say_how_to_resume(folder, command_line("run", *stages, *options, output_dir=output_dir))
        raise typer.Exit(130) from None
    finally:
        if as_json:
            terminal.print_json([folder.report | {"folder": str(folder.path)} for folder in done])
    if as_json:
        return
    if several:
        print_path(chosen, output_dir)
    else:
        print_run(chosen[0], done[0])


def _train(stage: Stage, preset: str, overrides: dict[str, Any], output_dir: Path, resume: bool) -> RunFolder:
    from ..stages.runner import run_stage

    command = command_line("run", stage.slug, *_options(preset, overrides))
    progress = terminal.progress()
    try:
        return run_stage(stage, preset, overrides, output_dir, resume, progress, command)
    finally:
        progress.close()


@app.command()
def show(
    stage: StageName,
    output_dir: OutputDir = RUNS,
    settings: Annotated[
        bool, typer.Option("--settings", help="The settings of the stage, instead of its run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last run of a stage: metrics, baselines, goals, pictures, and the code that loads the model."""
    from . import report

    found = get_stage(stage)
    if settings:
        rows = report.setting_rows(found)
        terminal.print_json(rows) if as_json else terminal.out.print(report.settings_table(rows))
        return
    folder = _complete(found, output_dir)
    if as_json:
        terminal.print_json(report.document(found, folder))
    else:
        report.print_all(found, folder)


@app.command()
def demo(
    stage: Annotated[
        str | None, typer.Argument(metavar="[STAGE]", help="A stage; the whole path if none.")
    ] = None,
    output_dir: OutputDir = RUNS,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1; the first free one from 7860.")
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Make a public link through Gradio's servers.")
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Open the demo, of a stage or of the whole path, on this machine."""
    slug = get_stage(stage).slug if stage is not None else None
    _check_output_dir(output_dir)
    from ..ui.app import launch_stage

    with suppress(KeyboardInterrupt):
        _, local, public = launch_stage(
            slug,
            runs_root=output_dir,
            port=port,
            share=share,
            open_browser=not no_browser,
            quiet=True,
            prevent_thread_lock=True,
        )
        terminal.facts([("Open", local), *([("Public", public)] if public else []), ("Stop", "Ctrl-C")])
        while True:
            time.sleep(1)


@app.command()
def generate(
    stage: StageName,
    prompt: Annotated[str, typer.Argument(help="How the text begins; may be empty.")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens to write.")] = 400,
    temperature: Annotated[float, typer.Option(min=0.01, help="Below 1 safer, above 1 wilder.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample from the k likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Sample from the likeliest tokens with this mass.")
    ] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always take the likeliest token.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="The same seed writes the same text.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="One of the stage's further models (models/NAME).")
    ] = None,
    output_dir: OutputDir = RUNS,
) -> None:
    """Write text with a trained model, as it comes."""
    found = get_stage(stage)
    folder = _complete(found, output_dir)
    from .generate import stream

    sampling = (
        {"do_sample": False}
        if greedy
        else {"temperature": temperature, "top_k": top_k or 0, "top_p": top_p or 1.0}
    )
    stream(
        found, folder, prompt, model, seed, {"do_sample": True, "max_new_tokens": max_new_tokens} | sampling
    )


@app.command()
def export(
    stage: StageName,
    int8: Annotated[bool, typer.Option("--int8", help="Also with matrices in 8-bit integers.")] = False,
    model: Annotated[
        str | None, typer.Option(help="One of the stage's further models (models/NAME).")
    ] = None,
    output_dir: OutputDir = RUNS,
    as_json: AsJson = False,
) -> None:
    """Write a trained model as an ONNX file, a decoder with its cache; checked against the model before
    it is kept.
    """
    found = get_stage(stage)
    folder = _complete(found, output_dir)
    from .delivery import export as make

    _print_made(make(folder, model, int8), as_json)


@app.command()
def quantize(
    stage: StageName,
    scheme: Annotated[str, typer.Option("--to", metavar="int8|nf4", help="8 or 4 bits.")] = "int8",
    model: Annotated[
        str | None, typer.Option(help="One of the stage's further models (models/NAME).")
    ] = None,
    output_dir: OutputDir = RUNS,
    as_json: AsJson = False,
) -> None:
    """Save a trained model with its linear layers in 8 or 4 bits (bitsandbytes); checked before and after
    it is saved.
    """
    found = get_stage(stage)
    folder = _complete(found, output_dir)
    from .delivery import quantize as make

    _print_made(make(folder, scheme, model), as_json)


@app.command()
def bench(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="What to measure; there is: inference.")
    ] = "inference",
    stage: Annotated[str, typer.Option(help="The stage whose trained model is measured.")] = "inference",
    tokens: Annotated[int, typer.Option(min=2, help="Tokens written in each measurement.")] = 48,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements, whose median counts.")] = 9,
    output_dir: OutputDir = RUNS,
    as_json: AsJson = False,
) -> None:
    """Measure a trained model in every form: speed, size, perplexity, agreement; as a table and a picture."""
    if name != "inference":
        raise UserError(f"no benchmark '{name}'; there is: inference")
    found = get_stage(stage)
    folder = _complete(found, output_dir)
    from .delivery import bench as measure

    rows, picture = measure(folder, tokens, repeats)
    if as_json:
        terminal.print_json(rows)
        return
    names = ("tokens_per_second", "first_token_ms", "megabytes", "perplexity", "agreement")
    forms = ("{:,.0f}", "{:.2f}", "{:.2f}", "{:.4g}", "{:.1%}")
    cells = [
        [form, *(way.format(row[n]) for n, way in zip(names, forms, strict=True))]
        for form, row in rows.items()
    ]
    columns = ["form", "tokens/s", "first token, ms", "MB", "perplexity", "as 32 bits"]
    terminal.out.print(terminal.table(columns, cells, right=[1, 2, 3, 4, 5]))
    terminal.facts([("Picture", str(picture))])


@app.command()
def chat(
    prompt: Annotated[
        list[str] | None, typer.Argument(help="What to answer; if none, what you type.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest word.")] = 0.7,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same reply.")
    ] = 0,
    save_to: Annotated[
        Path | None, typer.Option(help="File for the preferences; thumbs.jsonl in the run.")
    ] = None,
    output_dir: OutputDir = RUNS,
) -> None:
    """Talk to the chatbot before and after its alignment, and say which reply is better."""
    folder = _complete(get_stage("rlhf"), output_dir)
    from .chat import chat as talk

    with suppress(KeyboardInterrupt):
        talk(folder, prompt or [], temperature, seed, save_to)


@app.command()
def push(
    stage: StageName,
    repo_id: RepoId,
    output_dir: OutputDir = RUNS,
    private: Private = False,
    dry_run: DryRun = False,
) -> None:
    """Send a trained model with its card to the Hugging Face Hub."""
    found = get_stage(stage)
    folder = _complete(found, output_dir)
    from ..hub.push import push as send

    _print_sent(send(found, folder, repo_id, private=private, dry_run=dry_run))


@app.command()
def space(
    stage: Annotated[
        str, typer.Argument(metavar="STAGE|all", help="A stage, or 'all' for the whole path in one Space.")
    ],
    repo_id: RepoId,
    private: Private = False,
    dry_run: DryRun = False,
) -> None:
    """Send the demo of a stage, or of the whole path, to the Hub as a Gradio Space."""
    found = None if stage in ("all", "gallery") else get_stage(stage)
    from ..hub.space import push_space

    _print_sent(push_space(found, repo_id, private=private, dry_run=dry_run))


@app.command()
def doctor(
    online: Annotated[bool, typer.Option("--online", help="Ask the Hub, too.")] = False,
    output_dir: OutputDir = RUNS,
    as_json: AsJson = False,
) -> None:
    """Check what works on this machine, what is missing, and how to mend it."""
    from .doctor import examine, print_checks

    checks = examine(output_dir, online)
    if as_json:
        terminal.print_json([check.as_dict() for check in checks])
    else:
        print_checks(checks)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `llmpath` with these arguments (those of the process if none) and returns its exit code:
    0; 2 for what the user can mend; 1 for what nobody expected; 130 after Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    verbose = bool({"-v", "--verbose"} & set(given))
    given = [argument for argument in given if argument not in ("-v", "--verbose")]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows question marks
    if not verbose:
        _quiet_libraries()
    try:
        return app(given, prog_name="llmpath", standalone_mode=False) or 0
    except UserError as error:
        terminal.print_error(error, error if verbose else None)
        return 2
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's own: a wrong option or argument
            terminal.print_error(error.format_message(), error if verbose else None)
            return error.exit_code
        hint = "" if verbose else "; run again with -v for the traceback"
        terminal.print_error(f"unexpected {type(error).__name__}: {error}{hint}", error if verbose else None)
        return 1


def _quiet_libraries() -> None:
    """What they log on the way to an answer is for `-v`: bitsandbytes misses an optional kernel wherever
    the Trainer is imported, huggingface_hub counts its retries, datasets adds a traceback to its error,
    peft asks by an old name."""
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    for name in ("bitsandbytes", "huggingface_hub.utils", "datasets.packaged_modules"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _stages(names: list[str]) -> list[Stage]:
    if "all" in names:
        return list(all_stages())
    return list(dict.fromkeys(get_stage(name) for name in names))


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


@contextmanager
def _about(stage: Stage, several: bool) -> Iterator[None]:
    """Says which stage a `UserError` is about if there are several."""
    try:
        yield
    except UserError as error:
        if not several:
            raise
        raise UserError(f"stage {stage.number} ({stage.slug}): {error}") from error


def _check_output_dir(output_dir: Path) -> None:
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"{output_dir} cannot be a folder: a file is in the way; choose another --output-dir")
    if output_dir.is_dir() and RunFolder(output_dir).state != "none":
        raise UserError(
            f"{output_dir} is itself a run folder; --output-dir takes the folder above it: "
            f"--output-dir {shlex.quote(str(output_dir.resolve().parent))}"
        )


def _holds(folder: RunFolder, stage: Stage, preset: str, overrides: dict[str, Any]) -> bool:
    """Whether the complete run in `folder` is the one that is asked for, with none stopped after it."""
    if folder.state != "complete" or folder.slug_of_report is None:
        return False
    wanted = json.loads(json.dumps(stage.settings.preset(preset).updated(**overrides).as_dict()))
    return folder.report["preset"] == preset and folder.report["settings"] == wanted


def _complete(stage: Stage, output_dir: Path) -> RunFolder:
    """The run folder of a stage that has a complete run."""
    _check_output_dir(output_dir)
    folder = RunFolder(output_dir / stage.folder_name)
    if not folder.is_complete:
        go_on = folder.state == "stopped"
        line = command_line("run", stage.slug, *(["--resume"] if go_on else []), output_dir=output_dir)
        raise UserError(
            f"no complete run in {folder.path}; {'it was stopped, go on' if go_on else 'train it'} with: {line}"
        )
    if folder.report["slug"] != stage.slug:
        raise UserError(
            f"{folder.path} is a run folder of stage '{folder.report['slug']}', not of '{stage.slug}'"
        )
    return folder


def _options(preset: str, overrides: dict[str, Any]) -> list[str]:
    """The options of `llmpath run` that ask for these settings."""
    options = ["--preset", preset]
    for name, value in overrides.items():
        if name in ("dataset", "seed", "model", "text_column", "label_column"):
            options += ["--" + name.replace("_", "-"), str(value)]
        else:
            options += ["--set", f"{name}={value}"]
    return options


def _say_how_to_resume(folder: RunFolder, line: str) -> None:
    if folder.state == "stopped":
        terminal.err.print(
            f"stopped; nothing is lost, go on with: {line} --resume", soft_wrap=True, markup=False
        )
    else:
        terminal.err.print(
            f"stopped before the training began; start again with: {line}", soft_wrap=True, markup=False
        )


def _print_made(made: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        terminal.print_json(made)
        return
    for entry in made:
        numbers = {name.replace("_", " "): value for name, value in entry.items() if name != "path"}
        said = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
        terminal.facts([("Wrote", entry["path"]), ("Checked", said)])


def _print_sent(result: Any) -> None:
    rows = [(name, terminal.size(count)) for name, count in result.files]
    terminal.out.print(terminal.table(["file", "size"], rows, right=[1]))
    if result.url is None:
        terminal.facts([("Dry run", f"nothing was sent to {result.repo_id}")])
    else:
        terminal.facts([("Sent to", result.url)])
