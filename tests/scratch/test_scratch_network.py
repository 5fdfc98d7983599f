"""Networks: whole passes equal torch's, XOR is learned, weights and training state can be kept."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_llmpath import scratch
from hf_llmpath.data.points import XOR_INPUTS, XOR_LABELS

ROOT = Path(__file__).parents[2]


def xor_network(seed, hidden=8):
    rng = np.random.default_rng(seed)
    if not hidden:
        return scratch.Network([scratch.Dense(2, 1, rng)])
    return scratch.Network([scratch.Dense(2, hidden, rng), scratch.Tanh(), scratch.Dense(hidden, 1, rng)])


def right_on_xor(network, seed, epochs=300):
    optimizer = scratch.Adam(network, 0.05)
    rng, loss = np.random.default_rng(seed), scratch.BinaryCrossEntropy()
    for _ in scratch.fit(network, XOR_INPUTS, XOR_LABELS[:, None], loss, optimizer, epochs, 4, rng):
        pass
    return int(np.sum((network.predict(XOR_INPUTS)[:, 0] > 0) == XOR_LABELS))


def test_one_hidden_layer_solves_xor_on_twenty_seeds():
    assert [right_on_xor(xor_network(seed), seed) for seed in range(20)] == [4] * 20


def test_a_single_layer_gets_at_most_three_points_of_xor():
    assert max(right_on_xor(xor_network(seed, hidden=0), seed) for seed in range(20)) <= 3


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_a_deep_network_equals_torch(dtype, tolerance):
    rng = np.random.default_rng(0)
    sizes, layers, theirs = (6, 10, 8, 3), [], []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [scratch.Dense(inputs, outputs, rng, dtype=dtype), scratch.GELU()]
        theirs += [torch.nn.Linear(inputs, outputs), torch.nn.GELU()]
    ours, reference = scratch.Network(layers[:-1]), torch.nn.Sequential(*theirs[:-1])
    reference.to(getattr(torch, np.dtype(dtype).name))
    reference.load_state_dict({name: torch.tensor(value) for name, value in ours.state_dict().items()})
    x, labels = rng.normal(size=(9, 6)).astype(dtype), rng.integers(0, 3, 9)
    expected = torch.nn.functional.cross_entropy(reference(torch.tensor(x)), torch.tensor(labels))
    expected.backward()
    assert ours.gradient(x, labels, scratch.CategoricalCrossEntropy()) == pytest.approx(
        expected.item(), abs=tolerance
    )
    for name, _, gradient in ours.parameters():
        assert gradient.dtype == dtype
        np.testing.assert_allclose(
            gradient, reference.get_parameter(name).grad.numpy(), rtol=0, atol=tolerance
        )


def test_predicting_in_batches_changes_nothing():
    rng = np.random.default_rng(0)
    norm = scratch.BatchNorm(4)
    network = scratch.Network([scratch.Dense(3, 4, rng), norm, scratch.ReLU(), scratch.Dropout(0.5, rng)])
    x = rng.normal(size=(25, 3))
    network.forward(x, training=True)
    np.testing.assert_allclose(network.predict(x, batch_size=10), network.forward(x), rtol=0, atol=1e-6)
    assert len(network.predict(x, batch_size=10)) == 25


def test_a_state_dict_makes_a_copy_of_the_network():
    one, other = xor_network(0), xor_network(1)
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one.predict(XOR_INPUTS), other.predict(XOR_INPUTS))
    other.layers[0].params["weight"][...] = 0
    assert np.any(one.layers[0].params["weight"] != 0)
    with pytest.raises(ValueError, match="0.weight has shape"):
        one.load_state_dict(xor_network(0, hidden=3).state_dict())
    with pytest.raises(ValueError, match="the weights are named"):
        one.load_state_dict({"0.weight": np.zeros((8, 2))})


def test_importing_the_engine_loads_neither_torch_nor_transformers():
    heavy = ("torch", "transformers", "sklearn")
    code = f"import sys, hf_llmpath.scratch; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_engine_imports_numpy_and_the_standard_library_only():
    for path in (ROOT / "hf_llmpath" / "scratch").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, f"{path.name}: {ast.unparse(node)}"
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [node.module]
                    if isinstance(node, ast.ImportFrom)
                    else [alias.name for alias in node.names]
                )
                assert {name.partition(".")[0] for name in names} <= {"numpy", *sys.stdlib_module_names}, (
                    path.name
                )
