"""The app: the page of one stage, or the whole path with a page per stage.

launch_stage(None)          the path, as `llmpath demo` and spaces/00-llmpath show it
launch_stage("rnn")         one stage, as `llmpath demo rnn` and spaces/07-rnn show it
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

_FIRST_PORT, _PORTS = 7860, 100
Page.trainer = live_training


def gallery(runs_root: Path | str, stages: tuple[Stage, ...] | None = None) -> gr.Blocks:
    """The whole path: a landing page, and each stage's page under its slug (`/rnn`)."""
    runs_root, stages = Path(runs_root), stages or all_stages()
    with gr.Blocks(title="hf_llmpath: from XOR to RLHF", analytics_enabled=False) as app:
        html(landing.navigation(stages))
        hero = html(landing.hero(stages, runs_root))
        path = html(landing.path(stages, runs_root), elem_id="path")
        voice = html(landing.voice(stages, runs_root))
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
    """The page of one stage.

    It shows the model `model_id` of the Hub if that can be had, else the local run. Without either, it offers
    to train.

    Raises:
        UserError: no such stage.
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

    It is reachable from this machine only, unless `share` asks for a public link or this is a Hugging Face
    Space. `options` go to `gradio.Blocks.launch`, whose result is returned.

    Raises:
        UserError: no such stage, or the port is in use.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    host = "0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1"
    if port is not None and not _is_free(host, port):
        raise UserError(f"port {port} is in use; {_free_port(host)} is free: --port {_free_port(host)}")
    app = gallery(runs_root) if slug is None else build_stage(slug, runs_root, model_id)
    app.queue(default_concurrency_limit=2, max_size=32)
    return app.launch(**launch_options(host, port) | {"share": share, "inbrowser": open_browser} | options)


def launch_options(host: str, port: int | None = None) -> dict[str, Any]:
    """How every app of this package is served: our look, no server-side rendering."""
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
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_port(host: str) -> int:
    return next(port for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS) if _is_free(host, port))
