"""`llmpath export` and `llmpath quantize`: write the model of a run in another form, and check it."""

from typing import Annotated, Any

import typer

from . import terminal
from .options import AsJson, FurtherModel, OutputDir, StageName, complete_run
from .terminal import RUNS


def export(
    stage: StageName,
    int8: Annotated[
        bool, typer.Option("--int8", help="Write a second file with the matrices in 8-bit integers.")
    ] = False,
    model: FurtherModel = None,
    output_dir: OutputDir = RUNS,
    as_json: AsJson = False,
) -> None:
    """Write a trained model as an ONNX file, a decoder with its cache, and check it against the model."""
    _, folder = complete_run(stage, output_dir)
    from ..deploy import delivery

    _print_files(delivery.export(folder, model, int8), as_json)


def quantize(
    stage: StageName,
    scheme: Annotated[
        str, typer.Option("--to", metavar="int8|nf4", help="Store the weights in 8 or 4 bits.")
    ] = "int8",
    model: FurtherModel = None,
    output_dir: OutputDir = RUNS,
    as_json: AsJson = False,
) -> None:
    """Save a trained model with its linear layers in 8 or 4 bits (bitsandbytes), checked before and after."""
    _, folder = complete_run(stage, output_dir)
    from ..deploy import delivery

    _print_files(delivery.quantize(folder, scheme, model), as_json)


def _print_files(files: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        terminal.print_json(files)
        return
    for entry in files:
        numbers = [f"{name.replace('_', ' ')} {n:.3g}" for name, n in entry.items() if name != "path"]
        terminal.facts([("Wrote", entry["path"]), ("Checked", ", ".join(numbers))])
