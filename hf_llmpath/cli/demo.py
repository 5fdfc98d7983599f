"""`llmpath demo`: serves the page of a stage, or the whole path, until the user presses Ctrl-C."""

import signal
import threading
from typing import Annotated

import typer

from ..stages import get_stage
from . import terminal
from .options import OutputDir, check_output_dir
from .terminal import RUNS


def demo(
    stage: Annotated[
        str | None, typer.Argument(metavar="[STAGE]", help="Open this stage; by default the whole path.")
    ] = None,
    output_dir: OutputDir = RUNS,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Serve on this port of 127.0.0.1; by default on the first free one from 7860.",
        ),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Make a public link through Gradio's servers.")
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Open the demo of a stage, or of the whole path, on this machine."""
    slug = get_stage(stage).slug if stage is not None else None
    check_output_dir(output_dir)
    from ..ui.app import launch_stage

    # A KeyboardInterrupt can be lost in a callback while the server starts; an event cannot.
    stopped = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)  # a second Ctrl-C interrupts a start that hangs

    signal.signal(signal.SIGINT, stop)
    try:
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
        while not stopped.wait(1):  # the server runs in threads of this process
            pass
    finally:
        signal.signal(signal.SIGINT, before)
