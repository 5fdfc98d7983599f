"""A stage killed in the middle and resumed ends with the same files, bit for bit, as one that was left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import all_stages, get_stage
from tests.support.small import TINY, tiny_settings

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from hf_llmpath.stages.runner import run_stage
slug, overrides, root, resume = json.loads(sys.argv[1])
run_stage(slug, overrides=overrides, output_dir=root, resume=resume)
"""
# The part in whose training the process is killed, after others are done where a stage has several.
CASES = [
    pytest.param("neural-network", {"epochs": 20_000}, "circles", id="neural-network"),
    pytest.param("backpropagation", {"epochs": 20_000}, "spirals-0", id="backpropagation"),
    pytest.param("deep-networks", {"epochs": 60, "dropout": 0.3}, "reader-0", id="deep-networks"),
    pytest.param("regularization", {"table_epochs": 500}, "all_augmentation-0", id="regularization"),
    pytest.param("sequences", {"max_steps": 400, "sample_by": "line"}, "gru-0", id="sequences-documents"),
    pytest.param("rnn", {"max_steps": 400}, "rnn", id="rnn"),
    pytest.param("lstm-gru", {"max_steps": 300}, "gru-0", id="lstm-gru"),
    pytest.param("transformer", {"max_steps": 20, "reader_steps": 300}, "reader-0", id="transformer"),
    pytest.param(
        "pretraining", {"max_steps": 20, "fine_tuning_steps": 300}, "pretrained-300-0", id="pretraining"
    ),
    pytest.param("scaling", {"max_steps": 300, "dropout": 0.1}, "main", id="scaling"),
    pytest.param("architectures", {"fine_tuning_steps": 200}, "t5-0-classifier", id="architectures"),
    pytest.param("fine-tuning", {"comparisons": ("lora",), "max_steps": 300}, "lora-0", id="fine-tuning"),
    pytest.param("rlhf", {"steps": 60, "methods": ("ppo",)}, "ppo-0", id="rlhf"),
]


def command(slug: str, overrides: dict, root: Path, resume: bool = False) -> list[str]:
    return [sys.executable, "-c", PROGRAM, json.dumps([slug, overrides, str(root), resume])]


@pytest.mark.slow
@pytest.mark.parametrize("slug, changes, part", CASES)
def test_a_killed_stage_ends_with_the_same_files(tiny_text, tmp_path, slug, changes, part):
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    overrides = tiny_settings(slug, tiny_text) | changes
    subprocess.run(
        command(slug, overrides, tmp_path / "whole"), env=env, check=True, timeout=240, capture_output=True
    )
    folder = tmp_path / "killed" / get_stage(slug).folder_name
    training = folder / "checkpoints" / "parts" / part

    process = subprocess.Popen(
        command(slug, overrides, tmp_path / "killed"), env=env, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 200
        while not list(training.glob("checkpoint-*/complete")):
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (training / "result.json").exists(), "the training was over before it could be killed"
    killed = RunFolder(folder)
    assert killed.state == "stopped" and not killed.is_complete

    resume = command(slug, overrides, tmp_path / "killed", resume=True)
    subprocess.run(resume, env=env, check=True, timeout=240, capture_output=True)
    whole = RunFolder(tmp_path / "whole" / folder.name)
    assert killed.state == whole.state == "complete"
    files = [path.relative_to(whole.path) for path in whole.path.rglob("*.safetensors")]
    assert Path("model/model.safetensors") in files
    for path in files:
        assert (killed.path / path).read_bytes() == (whole.path / path).read_bytes(), path
    for name in whole.metrics.keys() | killed.metrics.keys():
        if not name.endswith(("seconds", "data_share", "per_second")):
            assert killed.metrics[name] == whole.metrics[name], name
    for path in (whole.path / "figures").glob("*.json"):
        assert (killed.path / "figures" / path.name).read_text() == path.read_text(), path.name


def test_every_stage_has_tiny_settings():
    assert set(TINY) == {stage.slug for stage in all_stages()}


@pytest.mark.parametrize("slug", list(TINY))
def test_a_tiny_run_is_a_complete_run(tiny_run, slug):
    folder = tiny_run(slug)
    assert folder.state == "complete"
    for name, value in TINY[slug].items():
        assert folder.report["settings"][name] == (list(value) if isinstance(value, tuple) else value)
        assert f"{name}={value}" in folder.report["command"]
    assert len(folder.figures) >= 3 and (folder.path / "README.md").exists()
