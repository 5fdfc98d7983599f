"""Serves the app: the page of one stage, or the whole path with a page per stage.

    launch_stage(None)          the path, as `llmpath demo` and spaces/00-llmpath show it
    launch_stage("rnn")         one stage, as `llmpath demo rnn` and spaces/07-rnn show it

Each page reads its run folder when it is opened, so a run that ends later appears without a restart.
"""

import os
import socket
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import UserError
from ..runs import RunFolder
from ..stages import all_stages, get_stage
from ..stages.stage import Stage
from . import landing, live_training
from .page import Page, html
from .theme import CSS, theme

_FIRST_PORT, _PORTS = 7860, 100  # Gradio's own first port, and how many ports are tried
Page.trainer = live_training  # without the app, pages offer no training


def gallery(runs_root: Path | str, stages: tuple[Stage, ...] | None = None) -> gr.Blocks:
    """Builds the whole path: a landing page, and the page of each stage under its slug (`/rnn`)."""
    runs_root, stages = Path(runs_root), stages or all_stages()
    with gr.Blocks(title="hf_llmpath: from XOR to RLHF", analytics_enabled=False) as app:
        html(landing.navigation(stages))
        hero = html(landing.hero(stages, runs_root))
        path = html(landing.path(stages, runs_root), elem_id="path")
        voice = html(landing.voice(stages, runs_root))
        # Whoever opens the landing page later sees the runs as they are then.
        app.load(
            lambda: [draw(stages, runs_root) for draw in (landing.hero, landing.path, landing.voice)],
            None,
            [hero, path, voice],
            show_progress="hidden",
            api_visibility="private",
        )
    for stage in stages:
        page = stage.demo(RunFolder(runs_root / stage.folder_name))
        with app.route(stage.title, "/" + stage.slug, show_in_navbar=False):
            html(landing.navigation(stages, stage.slug))
            page.render()
            html(landing.neighbors(stages, stage.slug))
    return app


def build_stage(slug: str | int, runs_root: Path | str = "runs", model_id: str | None = None) -> gr.Blocks:
    """Builds the page of one stage.

    The page shows the model `model_id` from the Hub if it can be fetched, otherwise the local run. Without
    either, it offers to train the stage.

    Raises:
        UserError: no stage has this name or number.
    """
    stage = get_stage(slug)
    folder = None
    if model_id:
        from ..hub.fetch import fetch_run

        folder = fetch_run(model_id)
    if folder is None:
        return stage.demo(RunFolder(Path(runs_root) / stage.folder_name))
    return stage.module("demo").build(folder, model_id)


def launch_stage(
    slug: str | int | None,
    model_id: str | None = None,
    runs_root: Path | str = "runs",
    port: int | None = None,
    share: bool = False,
    open_browser: bool = False,
    **options: Any,
) -> Any:
    """Builds the page of a stage (without a slug, the whole path) and serves it until it is stopped.

    Only this machine can reach the page, unless `share` asks for a public link or this is a Hugging Face
    Space. `options` go to `gradio.Blocks.launch`, whose result is returned.

    Raises:
        UserError: no stage has this name or number, or the port is in use.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # A Space is reached from outside its container; anywhere else, only this machine may connect.
    host = "0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1"
    if port is not None and not _is_free(host, port):
        raise UserError(f"port {port} is in use; {_free_port(host)} is free: --port {_free_port(host)}")
    app = gallery(runs_root) if slug is None else build_stage(slug, runs_root, model_id)
    app.queue(default_concurrency_limit=2, max_size=32)
    return app.launch(**launch_options(host, port) | {"share": share, "inbrowser": open_browser} | options)


def launch_options(host: str, port: int | None = None) -> dict[str, Any]:
    """Returns the launch options of every app of this package: our look, no server-side rendering."""
    return {
        "server_name": host,
        "server_port": port,
        "theme": theme(),
        "css": CSS,
        "ssr_mode": False,
        "run_history": False,
        "footer_links": [],
    }


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # Otherwise a port that was used a moment ago (TIME_WAIT) would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_port(host: str) -> int:
    return next(port for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS) if _is_free(host, port))
