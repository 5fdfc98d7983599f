"""A page without a run trains one: progress, one at a time, stop and continue, failures in one line."""

import re
import threading
from functools import partial

import pytest

from hf_llmpath.errors import UserError
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import all_stages, get_stage, runner
from hf_llmpath.ui import live_training
from hf_llmpath.ui.app import gallery
from tests.ui.conftest import serve

SMALL = {"max_steps": 12, "hidden_size": 16, "embedding_size": 8, "batch_size": 4, "context": 16}


@pytest.fixture
def released(monkeypatch):
    """Trainings of this test take steps until the event is set or they are stopped, and save nothing."""
    event = threading.Event()

    def run_stage(stage, preset, output_dir, resume, progress):
        with progress.task("rnn-0", 1000) as task:
            for step in range(1, 1000):
                task.update(step, loss=5 / step, tokens_per_second=1234.0)
                if event.wait(0.02):
                    return

    monkeypatch.setattr(runner, "run_stage", run_stage)
    yield event
    event.set()
    if (under_way := live_training.current()) is not None:
        under_way.join()


@pytest.fixture
def untrained(browser, tmp_path):
    """The path with no run at all."""
    app = gallery(tmp_path)
    yield serve(app), tmp_path
    app.close()


@pytest.mark.slow
def test_a_page_trains_and_then_shows_the_demo(untrained, visit, monkeypatch):
    address, root = untrained
    monkeypatch.setattr(runner, "run_stage", partial(runner.run_stage, overrides=SMALL))
    page = visit(f"{address}rnn")
    assert page.get_by_label("Text").count() == 0
    page.get_by_role("button", name="Train it here").click()
    page.get_by_role("progressbar").wait_for()
    page.locator("#colored figure").wait_for(timeout=120_000)
    assert page.get_by_role("button", name="Train it here").count() == 0
    assert "trained" in page.locator(".lp-header").inner_text()
    folder = RunFolder(root / "07-rnn")
    shown = page.locator("#colored figcaption").inner_text()
    assert f"unit {folder.metrics['readable_unit']}" in shown
    assert folder.report["preset"] == "quick"


def test_the_landing_page_says_what_is_not_trained(untrained, visit):
    page = visit(untrained[0])
    assert page.get_by_text("not trained yet").count() == len(all_stages())
    assert page.locator(".lp-journey").is_visible()


def test_progress_is_drawn_and_stop_offers_to_continue(untrained, visit, released):
    address, root = untrained
    page = visit(f"{address}rnn")
    page.get_by_role("button", name="Train it here").click()
    page.get_by_text(
        re.compile(r"step \d+ of 1,000 .* left of this part · 1,234 tokens per second")
    ).wait_for()
    page.get_by_role("img", name=re.compile("from 5 at step 1 to")).wait_for()
    page.reload()  # the training continues, and the page finds it again
    page.get_by_role("progressbar").wait_for()
    (root / "07-rnn" / "checkpoints").mkdir(parents=True)
    (root / "07-rnn" / "checkpoints" / "run.json").write_text("{}")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Continue the stopped run").wait_for()
    assert live_training.current() is None


def test_a_second_page_joins_and_another_stage_waits(untrained, visit, released):
    address, _ = untrained
    first, second = visit(f"{address}rnn"), visit(f"{address}sequences")
    first.get_by_role("button", name="Train it here").click()
    first.get_by_role("progressbar").wait_for()
    second.get_by_role("button", name="Train it here").click()
    second.get_by_text("Recurrent neural networks is being trained").wait_for()


def test_a_failure_is_shown_in_one_line(untrained, visit, monkeypatch):
    def run_stage(*_, **__):
        raise UserError("cannot write to there: no space left; choose another --output-dir")

    monkeypatch.setattr(runner, "run_stage", run_stage)
    page = visit(f"{untrained[0]}rnn")
    page.get_by_role("button", name="Train it here").click()
    page.get_by_text("no space left").wait_for()


def test_one_training_at_a_time(tmp_path, released):
    folder = RunFolder(tmp_path / "07-rnn")
    training = live_training.start(get_stage("rnn"), folder)
    assert live_training.start(get_stage("rnn"), folder) is training
    with pytest.raises(UserError, match="Recurrent neural networks is being trained"):
        live_training.start(get_stage("sequences"), RunFolder(tmp_path / "06-sequences"))
    training.stop()
    training.join()
    assert training.stopped and not training.error
    assert live_training.current() is None
