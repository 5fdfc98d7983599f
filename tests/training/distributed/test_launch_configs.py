"""The files for larger machines: read by the libraries that they are for, and run where a CPU can."""

import argparse
import json
import os
import socket
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_llmpath import LLMPathGPTConfig, LLMPathGPTForCausalLM
from hf_llmpath.training.distributed.script import main
from tests.support.small import text_of_hats

ROOT = Path(__file__).parents[3]
CONFIGS = Path(str(files("hf_llmpath") / "training" / "distributed" / "configs"))
TINY = ["--hidden-size", "16", "--num-hidden-layers", "1", "--num-attention-heads", "1", "--context", "16"]
TINY += ["--batch-size", "4", "--max-steps", "12"]


def launched_with(name: str, monkeypatch) -> argparse.Namespace:
    """The arguments of `accelerate launch --config_file NAME`; its workers' environment is that of this
    process.
    """
    monkeypatch.chdir(CONFIGS)
    arguments, defaults, _ = _validate_launch_command(
        launch_command_parser().parse_args(["--config_file", name, "x.py"])
    )
    if arguments.use_deepspeed:
        arguments.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        _, found = prepare_deepspeed_cmd_env(arguments)
    else:
        found = prepare_multi_gpu_env(arguments)
    for variable, value in found.items():
        monkeypatch.setenv(variable, value)
    return arguments


def test_a_worker_of_the_fsdp2_file_shards_the_layers_of_the_model(monkeypatch):
    arguments = launched_with("accelerate_fsdp2.yaml", monkeypatch)
    assert arguments.use_fsdp and arguments.mixed_precision == "bf16" and arguments.num_processes == 8
    plugin = FullyShardedDataParallelPlugin()  # what Accelerator makes, from the environment
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "FULL_STATE_DICT" and not plugin.activation_checkpointing
    model = LLMPathGPTForCausalLM(LLMPathGPTConfig(vocab_size=11, hidden_size=16, num_attention_heads=2))
    plugin.set_auto_wrap_policy(model)  # raises if the model has no layer of that name
    wrapped = [
        type(module)
        for module in model.modules()
        if plugin.auto_wrap_policy(module, recurse=False, nonwrapped_numel=0)
    ]
    assert wrapped == [type(layer) for layer in model.model.layers]


def test_a_worker_of_the_deepspeed_files_trains_with_zero_3(monkeypatch):
    arguments = launched_with("accelerate_deepspeed.yaml", monkeypatch)
    assert arguments.use_deepspeed and arguments.num_processes == 8
    plugin = DeepSpeedPlugin()
    assert plugin.zero_stage == 3 and plugin.zero3_init_flag is False
    assert plugin.deepspeed_config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True


def test_deepspeed_files_fit_together():
    config = load_config_from_file(str(CONFIGS / "accelerate_deepspeed.yaml"))
    assert config.distributed_type.value == "DEEPSPEED"
    path = CONFIGS / config.deepspeed_config["deepspeed_config_file"]
    zero = HfDeepSpeedConfig(str(path))
    assert zero.is_zero3() and not zero.is_offload()
    assert zero.get_value("zero_optimization.stage3_gather_16bit_weights_on_model_save") is True
    # What the loop decides is left to it.
    for name in ("gradient_clipping", "gradient_accumulation_steps", "train_batch_size", "bf16.enabled"):
        assert zero.get_value(name) == "auto", name
    assert "optimizer" not in json.loads(path.read_text())


def test_the_yaml_files_say_how_they_are_used():
    for path in CONFIGS.glob("*.yaml"):
        text = path.read_text()
        assert f"--config_file {path.name} -m hf_llmpath.training.distributed.script" in text
        assert yaml.safe_load(text)["use_cpu"] is False


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "hats.txt"
    path.write_text(text_of_hats())
    return path


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths, "PYTHON": sys.executable}
    return os.environ | own


@pytest.mark.slow
def test_the_script_for_many_machines_trains_on_one_with_two_processes(text, tmp_path):
    """And its model is the one that a single process trains."""
    alone, many = tmp_path / "alone", tmp_path / "many"
    command = [sys.executable, "-m", "hf_llmpath.training.distributed.script", str(text), str(alone), *TINY]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    one_machine = environment() | {
        "NODES": "1",
        "NODE_RANK": "0",
        "MAIN": "localhost",
        "PROCESSES": "2",
        "PORT": "0",
    }
    command = ["bash", str(CONFIGS / "multi_node.sh"), str(text), str(many), *TINY]
    done = subprocess.run(command, env=one_machine, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in (many / "tokens").iterdir()} == {"0", "1"}
    losses = [json.loads((folder / "losses.json").read_text()) for folder in (alone, many)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4) and losses[0][-1] < losses[0][0] - 0.3
    weights = [load_file(folder / "model.safetensors") for folder in (alone, many)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)
    assert AutoModelForCausalLM.from_pretrained(many).config.hidden_size == 16
    assert (
        AutoTokenizer.from_pretrained(many).decode(AutoTokenizer.from_pretrained(many).encode("hat")) == "hat"
    )


@pytest.mark.slow
def test_the_script_for_many_machines_joins_two_launchers(text, tmp_path):
    """Two machines, as far as one can play both: two launchers that find each other by address, a process
    each.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    together, command = tmp_path / "together", ["bash", str(CONFIGS / "multi_node.sh"), str(text)]
    machines = []
    for rank in ("0", "1"):
        place = {"NODES": "2", "NODE_RANK": rank, "MAIN": "localhost", "PROCESSES": "1", "PORT": port}
        machines.append(
            subprocess.Popen(
                [*command, str(together), *TINY], env=environment() | place, stderr=subprocess.PIPE, text=True
            )
        )
    for machine in machines:
        _, told = machine.communicate(timeout=240)
        assert machine.returncode == 0, told[-2000:]
    assert {path.name for path in (together / "tokens").iterdir()} == {"0", "1"}
    main([str(text), str(tmp_path / "alone"), *TINY])
    weights = [load_file(folder / "model.safetensors") for folder in (tmp_path / "alone", together)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)


def test_what_is_missing_for_many_machines_is_told(text, tmp_path):
    done = subprocess.run(
        ["bash", str(CONFIGS / "multi_node.sh"), str(text), str(tmp_path)],
        env={
            name: value for name, value in environment().items() if name not in ("NODES", "NODE_RANK", "MAIN")
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "how many machines" in done.stderr
