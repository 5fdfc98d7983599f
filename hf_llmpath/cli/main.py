"""Joins the commands of `llmpath` and turns every error into one line.

Heavy libraries are imported inside of the functions that need them, so `--help` and `list` answer at once.
"""

import io
import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..errors import UserError
from .bench import bench
from .chat import chat
from .demo import demo
from .doctor import doctor
from .export import export, quantize
from .generate import generate
from .publish import push, space
from .run import run
from .show import list_stages, show
from .terminal import print_error

app = typer.Typer(
    name="llmpath",
    help="The path into large language models as runnable stages. STAGE is a number or a name: 7 or rnn.",
    epilog="Start with: llmpath list, then llmpath run rnn.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks; may stand anywhere on the line.")
    ] = False,
) -> None:
    if version:
        print(f"hf_llmpath {__version__}")
        raise typer.Exit()


app.command("list")(list_stages)
for command in (run, show, demo, generate, export, quantize, bench, chat, push, space, doctor):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `llmpath` and returns its exit code.

    Args:
        arguments: the words after `llmpath` on the command line; the arguments of this process by default.

    Returns:
        0 for success, 2 for an error that the user can fix, 1 for an unexpected error, 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Typer would accept -v only in front of the command; taken out here, it may stand anywhere.
    verbose = bool({"-v", "--verbose"} & set(given))
    given = [argument for argument in given if argument not in ("-v", "--verbose")]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows question marks
    if not verbose:
        _quiet_libraries()
    try:
        # Outside of standalone mode, Typer raises errors instead of printing them.
        return app(given, prog_name="llmpath", standalone_mode=False) or 0
    except UserError as error:
        print_error(error, error if verbose else None)
        return 2
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's own: a wrong option or argument
            print_error(error.format_message(), error if verbose else None)
            return getattr(error, "exit_code", 2)
        hint = "" if verbose else "; run again with -v for the traceback"
        print_error(f"unexpected {type(error).__name__}: {error}{hint}", error if verbose else None)
        return 1


def _quiet_libraries() -> None:
    """Hides messages of libraries that mean nothing to the user; `-v` shows them.

    bitsandbytes reports a missing optional kernel wherever the Trainer is imported, huggingface_hub counts
    its retries, datasets adds a traceback to its error, and peft uses a deprecated name.
    """
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    for name in ("bitsandbytes", "huggingface_hub.utils", "datasets.packaged_modules"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
