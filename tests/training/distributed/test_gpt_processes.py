"""Two processes train what one does: batches shared out by Trainer, Accelerate and Lightning, weights by
`fully_shard`.

And what becomes of a training in which one of them dies, does not answer, or is not there any more.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from hf_llmpath import LLMPathGPTConfig
from hf_llmpath.data.batches.token_file import TokenBlocks
from hf_llmpath.errors import UserError
from hf_llmpath.runs import Job
from hf_llmpath.training.checkpoints import newest_checkpoint
from hf_llmpath.training.distributed.fully_shard import fit_sharded
from hf_llmpath.training.recipes.gpt import fit_with_accelerate, new_model
from hf_llmpath.training.trainer import fit
from tests.support.gpt_in_processes import RECIPE, SIZES
from tests.support.small import same, tokens_of, weights_of

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tests" / "support" / "gpt_in_processes.py"
pytestmark = pytest.mark.slow
LIGHTNING = pytest.param("lightning", marks=pytest.mark.skipif(not find_spec("lightning"), reason="an extra"))


def command_of(way: str, processes: int, folder: Path, *options: str) -> tuple[list[str], dict[str, str]]:
    """The command that trains in some processes, and its environment."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
    ]
    return [*command, str(SCRIPT), way, str(folder), *options], env


def launched(way: str, processes: int, folder: Path, *options: str) -> subprocess.CompletedProcess:
    command, env = command_of(way, processes, folder, *options)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)


def kept_in(folder: Path):
    """What the first process told, and the weights."""
    return json.loads((folder / "told.json").read_text()), torch.load(
        folder / "weights.pt", weights_only=True
    )


def trained(way: str, processes: int, folder: Path, *options: str):
    done = launched(way, processes, folder, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    told, weights = kept_in(folder)
    assert told["world"] == processes
    return told, weights


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, by the Trainer: what it told, the weights, and the folder."""
    folder = tmp_path_factory.mktemp("alone")
    return *trained("trainer", 1, folder), folder


def compare(told, weights, alone) -> None:
    expected, whole, _ = alone
    assert len(told["losses"]) == RECIPE.steps and told["losses"][-1] < told["losses"][0] - 0.1
    assert told["losses"] == pytest.approx(expected["losses"], abs=1e-4)
    before = weights_of(new_model(LLMPathGPTConfig(**SIZES), seed=0))
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-4)
        assert (value - before[name]).abs().max() > 1e-3  # they moved much further


@pytest.mark.parametrize("way", ["trainer", "accelerate", LIGHTNING])
@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "accumulated"])
def test_two_processes_are_one(alone, tmp_path, way, pieces):
    told, weights = trained(way, 2, tmp_path, "--pieces", str(pieces))
    compare(told, weights, alone)


def test_sharded_weights_are_whole_ones(alone, tmp_path):
    """Each of two processes holds half of the weights; Muon makes whole matrices orthogonal all the same."""
    told, weights = trained("sharded", 2, tmp_path)
    compare(told, {name: value for name, value in weights.items()}, alone)
    parameters = sum(value.numel() for name, value in weights.items() if name != "lm_head.weight")
    assert 0.45 * parameters < told["local"] < 0.62 * parameters


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resumed_alone(way: str, folder: Path) -> None:
    """The training that was begun in `folder`, in this process alone."""
    model = new_model(LLMPathGPTConfig(**SIZES), seed=0)
    blocks = TokenBlocks(tokens_of(2000), 12, RECIPE.batch_size, RECIPE.steps, seed=0)
    if way == "accelerate":
        fit_with_accelerate(model, blocks, RECIPE, Job(folder, "job"), 0)
    elif way == "lightning":
        from hf_llmpath.stages.s15_scaling.lightning_loop import fit_with_lightning

        fit_with_lightning(model, blocks, RECIPE, Job(folder, "job"), 0)
    elif way == "sharded":
        dist.init_process_group(
            "gloo", init_method=f"file://{folder.parent / 'meeting'}", rank=0, world_size=1
        )
        try:
            fit_sharded(model, blocks, RECIPE, Job(folder, "job"))
        finally:
            dist.destroy_process_group()
    else:
        fit(model, blocks, RECIPE, Job(folder, "job"), 0)


@pytest.mark.parametrize("way", ["trainer", "accelerate", "sharded", LIGHTNING])
def test_a_killed_process_stops_the_others_and_two_go_on_bit_for_bit(tmp_path, way):
    """With dropout. One process alone is refused, and leaves everything as it was."""
    began = time.monotonic()
    done = launched(way, 2, tmp_path, "--dropout", "0.2", "--kill", "8")
    assert time.monotonic() - began < 120 and done.returncode != 0
    killed = tmp_path / "killed"
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    found = re.fullmatch(
        r"error: worker 1 \(process \d+ on \S+\) is gone, so worker 0 stops too; "
        r"(\S+) is complete: start all of them again with --resume, and they continue from there",
        line,
    )
    assert found and found[1] == str(killed / "checkpoint-6") and not (killed / "told.json").exists()
    before = contents(killed)
    with pytest.raises(
        UserError,
        match=r"checkpoint-6 was written by 2 processes and cannot be continued by 1: .*_per_node 2\)",
    ):
        resumed_alone(way, killed)
    assert contents(killed) == before
    told, weights = trained(way, 2, killed, "--dropout", "0.2")
    expected, whole = kept_in(tmp_path / "whole")
    assert expected["first"] == 1 and told["first"] == 7
    assert told["losses"] == expected["losses"] and same(weights, whole)


def test_a_process_that_does_not_answer_is_not_waited_for(tmp_path):
    """Longer than the patience that was set, 3 seconds here."""
    command, env = command_of("accelerate", 2, tmp_path, "--hang", "5")
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as torchrun:
        line = next(line for line in torchrun.stderr if line.startswith("error: "))
        found = re.match(
            r"error: none of worker 1 \(process (\d+) on \S+\) answers in time, so worker 0 stops \(", line
        )
        assert found and "Timed out" in line and line.endswith("and they continue from there\n")
        os.kill(int(found[1]), signal.SIGKILL)  # torchrun would, after half a minute
        torchrun.stderr.read()
    assert torchrun.returncode != 0
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-3"


def test_one_process_is_not_gone_on_from_by_two(alone, tmp_path):
    folder = tmp_path / "begun"
    shutil.copytree(alone[2], folder)
    before = contents(folder)
    done = launched("trainer", 2, folder)
    assert done.returncode != 0 and contents(folder) == before
    message = "checkpoint-10 was written by 1 process and cannot be continued by 2: that would be another"
    assert f"{message} training; start 1 (without" in done.stderr
