"""Ctrl-C: a run continues where it stopped and ends with the same weights, bit for bit; a demo just ends."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from hf_llmpath.cli.main import main
from hf_llmpath.runs import RunFolder


def interrupt_when(condition, command: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Starts `command`, sends SIGINT once `condition()` holds; returns its exit code and stderr."""
    env = env | {"PYTHONFAULTHANDLER": "1"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not condition():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        try:
            _, printed = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # faulthandler says where each thread stands
            pytest.fail(f"it did not end after SIGINT: {process.communicate()[1]}")
    finally:
        process.kill()
    return process.returncode, printed


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_ends_with_the_same_weights(trained, llmpath, small_run, tmp_path):
    history = tmp_path / "07-rnn" / "checkpoints" / "parts" / "rnn" / "history.jsonl"
    command = [sys.executable, "-m", "hf_llmpath", *small_run(tmp_path, 1200)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    code, printed = interrupt_when(
        lambda: history.exists() and history.read_text().count("\n") > 12, command, env
    )
    assert code == 130
    assert "Traceback" not in printed
    said = printed.splitlines()[-1]
    assert said.startswith("stopped; nothing is lost, continue with: llmpath run rnn"), printed
    folder = RunFolder(tmp_path / "07-rnn")
    assert folder.state == "stopped" and not folder.is_complete
    before = len(history.read_text().splitlines())
    assert before < 100

    resumed = llmpath(*shlex.split(said.partition(": ")[2])[1:])
    assert resumed.returncode == 0, resumed.stderr
    assert folder.state == "complete"
    weights = "model/model.safetensors"
    assert (folder.path / weights).read_bytes() == (trained.folder.path / weights).read_bytes()
    changing = ("training_seconds",)
    metrics = {name: value for name, value in folder.metrics.items() if name not in changing}
    assert metrics == {name: value for name, value in trained.folder.metrics.items() if name not in changing}
    # Each entry of the history is the mean of the steps since the one before: of those in which the run
    # stopped, the resumed Trainer has only the rest.
    lines = [
        [(row["step"], row["loss"]) for row in run.history if "loss" in row]
        for run in (folder, trained.folder)
    ]
    steps = [step for step, _ in lines[0]]
    assert steps == sorted(set(steps))
    assert sum(one != other for one, other in zip(*lines, strict=True)) <= 1


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.slow
def test_the_demo_answers_until_ctrl_c(trained):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["demo", "rnn", "--no-browser", "--port", str(port), "--output-dir", str(trained.root)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "hf_llmpath", *arguments]
    code, printed = interrupt_when(lambda: answers(f"http://127.0.0.1:{port}/"), command, env)
    assert code == 0 and printed == ""


HANGING = """
import sys, time
from hf_llmpath.cli.main import main
from hf_llmpath.ui import app

def launch_stage(*_, **__):
    print("starting", flush=True)
    time.sleep(60)

app.launch_stage = launch_stage
sys.exit(main(["demo"]))
"""


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_demo_whose_start_hangs():
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", HANGING], env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "starting\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=50) == 130
    finally:
        process.kill()
        process.stdout.close()


def test_a_stopped_run_is_listed_and_named_with_the_command_that_goes_on(a_run, capsys):
    root = a_run.path.parent
    identity = {name: a_run.report[name] for name in ("stage", "slug", "preset", "settings", "command")}
    (a_run.path / "metrics.json").unlink()
    (a_run.path / "checkpoints").mkdir()
    (a_run.path / "checkpoints" / "run.json").write_text(json.dumps(identity))
    assert main(["list", "--output-dir", str(root)]) == 0
    assert "llmpath run rnn --resume" in capsys.readouterr().out
    assert main(["show", "rnn", "--output-dir", str(root)]) == 2
    assert f"continue it with: llmpath run rnn --resume --output-dir {root}" in capsys.readouterr().err


def test_resume_with_other_settings_is_refused(refused, a_run, small_run):
    identity = {name: a_run.report[name] for name in ("stage", "slug", "preset", "settings", "command")}
    (a_run.path / "checkpoints").mkdir()
    (a_run.path / "checkpoints" / "run.json").write_text(json.dumps(identity))
    line = refused(*small_run(a_run.path.parent, 50), "--resume")
    assert "--resume needs the settings of the stopped run: training.steps was 1200, is 50" in line
    assert RunFolder(a_run.path).state == "stopped"
