"""The gradient check exposes a wrong gradient, insists on float64, and runs as a program."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hf_llmpath import scratch
from hf_llmpath.stages.s02_backpropagation.gradient_check import (
    LAYERS,
    LOSSES,
    check_gradients,
    gradient_errors,
)


def test_the_gradient_check_finds_a_wrong_gradient():
    class Wrong(scratch.Tanh):
        def backward(self, grad):
            return grad * (1 - self._y)

    rng = np.random.default_rng(0)
    network = scratch.Network([scratch.Dense(2, 3, rng, dtype=np.float64), Wrong()])
    errors = check_gradients(network, scratch.MeanSquaredError(), rng.normal(size=(4, 2)), np.zeros((4, 3)))
    assert errors["0.weight"] > 0.01


def test_gradients_are_checked_in_float64_only():
    network = scratch.Network([scratch.Dense(2, 1, np.random.default_rng(0))])
    with pytest.raises(ValueError, match="float64; the network is float32"):
        check_gradients(network, scratch.MeanSquaredError(), np.zeros((1, 2)), np.zeros((1, 1)))


def test_the_gradient_check_runs_as_a_program():
    command = [sys.executable, "-m", "hf_llmpath.stages.s02_backpropagation.gradient_check"]
    root = Path(__file__).parents[3]
    lines = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True).stdout.splitlines()
    assert len(lines) == 5
    assert all(float(line.split()[-1]) < 1e-7 for line in lines)


def test_the_check_of_every_gradient_covers_every_layer_and_loss():
    rows = gradient_errors(seed=11)
    assert [(row["layer"], row["loss"]) for row in rows] == [
        (layer, loss) for layer in LAYERS for loss in LOSSES
    ]
    assert max(row["central_difference"] for row in rows) < 1e-7
    assert max(row["autograd"] for row in rows) < 1e-10
    assert min(row["central_difference"] for row in rows) > 0
