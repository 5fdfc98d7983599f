"""The script for launchers: what it takes up again, what it refuses, and a process of it that is killed
from outside.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hf_llmpath.data.batches.token_file import TokenBlocks
from hf_llmpath.errors import UserError
from hf_llmpath.training.checkpoints import newest_checkpoint
from hf_llmpath.training.distributed.script import main
from tests.support.small import Killed, text_of_hats

ROOT = Path(__file__).parents[3]
TINY = ["--hidden-size", "16", "--num-hidden-layers", "1", "--num-attention-heads", "1", "--context", "16"]
TINY += ["--batch-size", "4", "--max-steps", "20"]


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "hats.txt"
    path.write_text(text_of_hats())
    return path


@pytest.fixture
def stopped(text, tmp_path, monkeypatch) -> Path:
    """The folder of a training that ended as it read the 15th batch; it saves every fourth step."""
    read = TokenBlocks.__getitems__

    def until(blocks: TokenBlocks, indices: list[int]):
        if max(indices) >= 14 * 4:
            raise Killed
        return read(blocks, indices)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TokenBlocks, "__getitems__", until)
        main([str(text), str(tmp_path / "stopped"), *TINY])
    return tmp_path / "stopped"


def model_in(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_stopped_training_goes_on_to_the_same_model_and_leaves_no_checkpoints(text, stopped, tmp_path):
    main([str(text), str(tmp_path / "whole"), *TINY])
    assert newest_checkpoint(stopped / "checkpoints").name == "checkpoint-12"
    main([str(text), str(stopped), *TINY, "--resume"])
    assert model_in(stopped) == model_in(tmp_path / "whole")
    losses = [(folder / "losses.json").read_text() for folder in (stopped, tmp_path / "whole")]
    assert losses[0] == losses[1]
    assert not (stopped / "checkpoints").exists() and not (tmp_path / "whole" / "checkpoints").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (
            [],
            r"checkpoint-12 belongs to a training that was stopped: "
            r"continue it with --resume, or remove \S+checkpoints$",
        ),
        (
            ["--resume", "--batch-size", "8"],
            "--resume needs the settings of the stopped run: batch_size was 4, is 8",
        ),
    ],
)
def test_what_would_spoil_a_stopped_training_is_refused(text, stopped, options, message):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=message):
        main([str(text), str(stopped), *TINY, *options])
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_nothing_to_resume_is_told(text, tmp_path):
    with pytest.raises(UserError, match="nothing to resume in .*; run without --resume"):
        main([str(text), str(tmp_path / "new"), *TINY, "--resume"])


def torchrun(*arguments: str) -> subprocess.Popen:
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "hf_llmpath.training.distributed.script", *arguments]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_process_that_is_killed_from_outside_ends_the_other_within_seconds(text, tmp_path):
    """The training would take hours; its last checkpoint is complete."""
    folder = tmp_path / "many"
    with torchrun(str(text), str(folder), *TINY, "--max-steps", "1000000", "--saves", "50000") as launcher:
        try:
            until = time.monotonic() + 120
            while newest_checkpoint(folder / "checkpoints") is None:
                assert launcher.poll() is None and time.monotonic() < until
                time.sleep(0.1)
            (victim,) = [
                child
                for child in psutil.Process(launcher.pid).children()
                if child.environ().get("RANK") == "1"
            ]
            victim.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            (line,) = [line for line in launcher.stderr.read().splitlines() if line.startswith("error: ")]
            assert launcher.wait(60) != 0 and time.monotonic() - killed < 20
        finally:
            launcher.terminate()
    assert re.match(
        rf"error: worker 1 \(process {victim.pid} on \S+\) is gone, so worker 0 stops too; ", line
    )
    newest = newest_checkpoint(folder / "checkpoints")
    assert f"{newest} is complete: start all of them again with --resume" in line
    with pytest.raises(
        UserError, match=rf"{newest.name} was written by 2 processes and cannot be continued by 1"
    ):
        main([str(text), str(folder), *TINY, "--max-steps", "1000000", "--saves", "50000", "--resume"])
