"""Two processes train what one does: batches shared out by Trainer and Accelerate, weights shared out by `fully_shard`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hf_llmpath import LLMPathGPTConfig
from hf_llmpath.training.gpt import new_model
from tests.support.gpt_in_processes import RECIPE, SIZES
from tests.support.small import weights_of

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "support" / "gpt_in_processes.py"
pytestmark = pytest.mark.slow


def trained(way: str, processes: int, folder: Path):
    """What the first of some processes tells, and the weights."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    done = subprocess.run(
        [*command, str(SCRIPT), way, str(folder)], env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads((folder / "told.json").read_text())
    assert told["world"] == processes
    return told, torch.load(folder / "weights.pt", weights_only=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, by the Trainer."""
    return trained("trainer", 1, tmp_path_factory.mktemp("alone"))


def compare(told, weights, alone) -> None:
    expected, whole = alone
    assert len(told["losses"]) == RECIPE.steps and told["losses"][-1] < told["losses"][0] - 0.1
    assert told["losses"] == pytest.approx(expected["losses"], abs=1e-4)
    before = weights_of(new_model(LLMPathGPTConfig(**SIZES), seed=0))
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-4)
        assert (value - before[name]).abs().max() > 1e-3  # they moved much further


@pytest.mark.parametrize("way", ["trainer", "accelerate"])
def test_two_processes_are_one(alone, tmp_path, way):
    told, weights = trained(way, 2, tmp_path)
    compare(told, weights, alone)


def test_sharded_weights_are_whole_ones(alone, tmp_path):
    """Each of two processes holds half of the weights; Muon makes whole matrices orthogonal all the same."""
    told, weights = trained("sharded", 2, tmp_path)
    compare(told, {name: value for name, value in weights.items()}, alone)
    parameters = sum(value.numel() for name, value in weights.items() if name != "lm_head.weight")
    assert 0.45 * parameters < told["local"] < 0.62 * parameters
