"""A stage that is stopped and resumed ends with the same files as one that was left alone, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hf_llmpath.runs import NoProgress, RunFolder
from hf_llmpath.stages import all_stages, get_stage
from hf_llmpath.stages.runner import run_stage
from tests.support.small import TINY, Killed, tiny_settings

ROOT = Path(__file__).parents[2]
STOPPED_IN = {  # the training in which each stage is stopped, after others are done where it has several
    "neural-network": "circles",
    "backpropagation": "spirals-0",
    "optimizers": "images-nesterov",
    "deep-networks": "reader-0",
    "regularization": "all_augmentation-0",
    "sequences": "gru-0",
    "rnn": "rnn",
    "lstm-gru": "gru-0",
    "attention": "without_attention-0",
    "transformer": "reader-0",
    "pretraining": "pretrained-300-0",
    "embeddings": "contextual",
    "fine-tuning": "lora-0",
    "inference": "student-0",
    "scaling": "main",
    "rlhf": "ppo-0",
    "architectures": "t5-0-classifier",
}
STARTS_ANEW = "optimizers"  # its trainings take moments and keep no checkpoints
MEASURED = ("second", "_ms", "speedup", "data_share", "memory")  # in names of what differs from run to run


class StopIn(NoProgress):
    """Progress display that ends the run in one of its trainings: once that has a checkpoint, or at its 100th
    step if it keeps none.
    """

    def __init__(self, job: str, folder: Path, has_checkpoints: bool):
        self.job, self.folder, self.has_checkpoints = (
            job,
            folder / "checkpoints" / "parts" / job,
            has_checkpoints,
        )
        self.name = ""

    def task(self, name: str, total: int):
        self.name = name
        return super().task(name, total)

    def update(self, step: int, **values: float) -> None:
        checkpoint = list(self.folder.glob("checkpoint-*/complete")) if self.has_checkpoints else step >= 100
        if self.name == self.job and checkpoint:
            raise Killed


def same_files(resumed: RunFolder, whole: RunFolder) -> None:
    """Checks that two runs have the same weights, numbers and figure data, what was timed excepted."""
    assert resumed.state == whole.state == "complete"
    weights = [path.relative_to(whole.path) for path in whole.path.rglob("*.safetensors")]
    assert Path("model/model.safetensors") in weights
    for path in weights:
        assert (resumed.path / path).read_bytes() == (whole.path / path).read_bytes(), path
    assert repeatable(resumed.metrics) == repeatable(whole.metrics)
    for path in (whole.path / "figures").glob("*.json"):
        figures = [json.loads((run.path / "figures" / path.name).read_text()) for run in (resumed, whole)]
        assert repeatable(figures[0]) == repeatable(figures[1]), path.name


def repeatable(data: Any) -> Any:
    """The data without what was measured with a clock."""
    if isinstance(data, dict):
        return {
            name: repeatable(value)
            for name, value in data.items()
            if not any(word in name for word in MEASURED)
        }
    return [repeatable(value) for value in data] if isinstance(data, list) else data


@pytest.mark.parametrize("slug", list(STOPPED_IN))
def test_a_stopped_stage_ends_with_the_same_files(tiny_run, tiny_text, tmp_path, slug):
    job, overrides = STOPPED_IN[slug], tiny_settings(slug, tiny_text)
    folder = tmp_path / get_stage(slug).folder_name
    stop = StopIn(job, folder, has_checkpoints=slug != STARTS_ANEW)
    with pytest.raises(Killed):
        run_stage(slug, overrides=overrides, output_dir=tmp_path, progress=stop)
    assert not (folder / "checkpoints" / "parts" / job / "result.json").exists()
    assert RunFolder(folder).state == "stopped"
    same_files(run_stage(slug, overrides=overrides, output_dir=tmp_path, resume=True), tiny_run(slug))


PROGRAM = """
import json, sys
from hf_llmpath.stages.runner import run_stage
slug, overrides, root, resume = json.loads(sys.argv[1])
run_stage(slug, overrides=overrides, output_dir=root, resume=resume)
"""
# One stage for each way to train: in NumPy, by the Trainer, by Accelerate.
KILLED = [
    pytest.param("neural-network", {"epochs": 20_000}, "circles", id="neural-network"),
    pytest.param("rnn", {"training.steps": 400}, "rnn", id="rnn"),
    pytest.param("deep-networks", {"training.epochs": 60, "dropout": 0.3}, "reader-0", id="deep-networks"),
]


def command(slug: str, overrides: dict, root: Path, resume: bool = False) -> list[str]:
    return [sys.executable, "-c", PROGRAM, json.dumps([slug, overrides, str(root), resume])]


@pytest.mark.slow
@pytest.mark.parametrize("slug, changes, job", KILLED)
def test_a_killed_process_ends_with_the_same_files(tiny_text, tmp_path, slug, changes, job):
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    overrides = tiny_settings(slug, tiny_text) | changes
    whole = command(slug, overrides, tmp_path / "whole")
    subprocess.run(whole, env=env, check=True, capture_output=True)
    folder = tmp_path / "killed" / get_stage(slug).folder_name
    training = folder / "checkpoints" / "parts" / job

    killed = command(slug, overrides, tmp_path / "killed")
    process = subprocess.Popen(killed, env=env, stderr=subprocess.PIPE, text=True)
    try:
        while not list(training.glob("checkpoint-*/complete")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (training / "result.json").exists(), "the training was over before it could be killed"
    assert RunFolder(folder).state == "stopped" and not RunFolder(folder).is_complete

    resume = command(slug, overrides, tmp_path / "killed", resume=True)
    subprocess.run(resume, env=env, check=True, capture_output=True)
    same_files(RunFolder(folder), RunFolder(tmp_path / "whole" / folder.name))


def test_every_stage_has_tiny_settings_and_is_stopped():
    assert set(TINY) == set(STOPPED_IN) == {stage.slug for stage in all_stages()}


@pytest.mark.parametrize("slug", list(TINY))
def test_a_tiny_run_is_a_complete_run(tiny_run, slug):
    folder = tiny_run(slug)
    assert folder.state == "complete"
    for name, value in TINY[slug].items():
        assert folder.report["settings"][name] == (list(value) if isinstance(value, tuple) else value)
        assert f"{name}={value}" in folder.report["command"]
    assert len(folder.figures) >= 3 and (folder.path / "README.md").exists()
