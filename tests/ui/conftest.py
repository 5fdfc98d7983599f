"""One server and one browser for all pages; each test gets a page that must stay free of errors and of
other hosts.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hf_llmpath.stages import all_stages
from tests.ui.standin import STAND_INS, make_run

BROWSER_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# What Gradio's client says when a page is left while it still listens to the server; the last one when a
# session's stream closes at the moment at which its next event is queued (gradio/routes.py,
# queue_data_helper): that event is lost, and the page's timer sends the next one.
LEAVING = re.compile("AbortError|Connection errored out|Unexpected error 404: Not Found")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A page that waited in vain is opened once more: Gradio now and then loses a click.

    That happens where the stream of the session's last event closes in the moment in which the next event
    is queued: the server has the answer and the page no stream to read it from, until somebody clicks
    again.
    """
    for item in items:
        if "/ui/" in item.nodeid:
            item.add_marker(
                pytest.mark.flaky(
                    reruns=1, only_rerun=["TimeoutError", "Locator expected", "did not change its state"]
                )
            )


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def serve(app) -> str:
    """Serves the app in this process; returns its address."""
    from hf_llmpath.ui.app import launch_options

    app.queue(default_concurrency_limit=2)
    _, address, _ = app.launch(**launch_options("127.0.0.1"), prevent_thread_lock=True, quiet=True)
    return address


@pytest.fixture(scope="session")
def runs_root(tiny_run: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Complete runs of all stages: stand-ins with untrained models where there are some, else tiny runs."""
    root = tmp_path_factory.mktemp("runs")
    for stage in all_stages():
        if stage.slug in STAND_INS:
            make_run(root, stage.slug)
        else:
            shutil.copytree(tiny_run(stage.slug).path, root / stage.folder_name)
    return root


@pytest.fixture(scope="session")
def browser() -> Iterator:
    found = _chromium()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs a chromium for the tests of the pages")
        pytest.skip("no chromium found; the pages are tested in one (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(BROWSER_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(runs_root: Path, browser) -> Iterator[str]:
    """The whole path, served on this machine."""
    from hf_llmpath.ui.app import gallery

    app = gallery(runs_root)
    yield serve(app)
    app.close()


@pytest.fixture
def visit(browser) -> Iterator[Callable]:
    """`visit(url, width=1280, dark=False)` opens a page; at the end of the test it must have been a clean
    visit.
    """
    contexts, complaints = [], []

    def open_page(url: str, width: int = 1280, dark: bool = False):
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on(
            "console",
            lambda m: m.type == "error" and not LEAVING.search(m.text) and complaints.append(m.text),
        )
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: _from_elsewhere(request.url) and complaints.append(request.url))
        page.goto(url)
        page.locator(".lp-header, .lp-hero").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def _from_elsewhere(url: str) -> bool:
    return not re.match(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:", url)
