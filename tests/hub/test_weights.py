import pickle

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from hf_llmpath.errors import UserError
from hf_llmpath.hub.model_folder import INDEX, WEIGHTS, check_model_folder, parameter_count
from hf_llmpath.runs import write_json


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    write_json(folder / "config.json", {})
    save_file({"a": np.zeros((3, 4)), "b": np.zeros(5)}, folder / WEIGHTS)
    return folder


def problem(path):
    with pytest.raises(UserError) as raised:
        check_model_folder(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_good_folder(model):
    check_model_folder(model)
    assert parameter_count(model) == 17


def test_not_there_and_not_a_folder(model):
    assert "no model folder" in problem(model / "none")
    assert "is a file" in problem(model / "config.json")


def test_config(model):
    (model / "config.json").write_text("{")
    assert "not readable as JSON" in problem(model)
    (model / "config.json").unlink()
    assert "no config.json" in problem(model)


@pytest.mark.parametrize("size", [0, 4, 40, -1])
def test_truncated_weights(model, size):
    data = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(data[:size])
    assert "truncated or damaged" in problem(model)


def test_missing_weights(model):
    (model / WEIGHTS).unlink()
    assert "weights are missing" in problem(model)


def test_pickled_weights_are_refused_unread(model, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (model / WEIGHTS).unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert "pickled weights (pytorch_model.bin)" in problem(model)
    (model / WEIGHTS).write_bytes(pickle.dumps(Trap()))
    assert "pickle under another name" in problem(model)
    torch.save({"a": torch.zeros(3)}, model / WEIGHTS)
    assert "pickle under another name" in problem(model)
    assert not (tmp_path / "sprung").exists()


def test_every_shard_is_checked(model):
    (model / WEIGHTS).rename(model / "model-1.safetensors")
    save_file({"c": np.zeros(7)}, model / "model-2.safetensors")
    shards = {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}
    write_json(model / INDEX, {"weight_map": shards})
    check_model_folder(model)
    assert parameter_count(model) == 24
    (model / "model-2.safetensors").unlink()
    assert "has no model-2.safetensors" in problem(model)
