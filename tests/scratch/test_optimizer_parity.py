"""The NumPy optimizers against torch.optim on a network: the same weights after every one of 200 steps,
in float64.
"""

import numpy as np
import pytest
import torch

from hf_llmpath import scratch
from hf_llmpath.stages.s03_optimizers import parity
from hf_llmpath.stages.s03_optimizers.descent import OPTIMIZERS

STEPS = 200
SGD = torch.optim.SGD
CASES = [
    ("SGD", {}, SGD, {}),
    ("SGD", {"weight_decay": 0.1}, SGD, {"weight_decay": 0.1}),
    ("Momentum", {"momentum": 0.8}, SGD, {"momentum": 0.8}),
    ("Momentum", {"weight_decay": 0.1}, SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    ("Momentum", {"nesterov": True}, SGD, {"momentum": 0.9, "nesterov": True}),
    (
        "Momentum",
        {"nesterov": True, "weight_decay": 0.1},
        SGD,
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    ("RMSprop", {}, torch.optim.RMSprop, {}),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}, torch.optim.RMSprop, "same"),
    ("Adam", {}, torch.optim.Adam, {}),
    ("Adam", {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}, torch.optim.Adam, "same"),
    ("AdamW", {}, torch.optim.AdamW, {}),
    ("AdamW", {"betas": (0.7, 0.9), "weight_decay": 0.5}, torch.optim.AdamW, "same"),
]
IDS = [f"{name}-{'-'.join(options) or 'plain'}" for name, options, *_ in CASES]


def digits_like(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(300, 12)), rng.integers(0, 4, 300)


@pytest.mark.parametrize("name, options, theirs, their_options", CASES, ids=IDS)
def test_numpy_equals_torch_for_200_steps(name, options, theirs, their_options):
    x, labels = digits_like()
    rng = np.random.default_rng(1)
    network = scratch.feed_forward((12, 9, 4), "tanh", rng, np.float64)
    twin = torch.nn.Sequential(torch.nn.Linear(12, 9), torch.nn.Tanh(), torch.nn.Linear(9, 4)).double()
    twin.load_state_dict({key: torch.tensor(value) for key, value in network.state_dict().items()})
    before = [value.copy() for value in network.state_dict().values()]
    optimizer = getattr(scratch, name)(network, 0.02, **options)
    reference = theirs(twin.parameters(), lr=0.02, **(options if their_options == "same" else their_options))
    loss = scratch.CategoricalCrossEntropy()
    for step in range(1, STEPS + 1):
        rows = rng.integers(0, 300, 16)
        network.gradient(x[rows], labels[rows], loss)
        optimizer.step()
        reference.zero_grad()
        torch.nn.functional.cross_entropy(
            twin(torch.from_numpy(x[rows])), torch.from_numpy(labels[rows])
        ).backward()
        reference.step()
        for key, value in network.state_dict().items():
            assert np.abs(value - twin.state_dict()[key].numpy()).max() <= 1e-10, (step, key)
    after = network.state_dict().values()
    assert max(np.abs(one - other).max() for one, other in zip(before, after, strict=True)) > 0.01


@pytest.mark.parametrize("gradient", [1e-3, -5.0, 2e4])
def test_the_first_step_of_adam_is_the_learning_rate(gradient):
    """Both averages are corrected for their start at zero: the first step is η · sign(g) for any g."""
    value = np.zeros(1)
    scratch.Adam([("w", value, np.array([gradient]))], 0.01).step()
    assert value[0] == pytest.approx(-0.01 * np.sign(gradient), rel=1e-4)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_the_run_finds_ours_equal_to_torch(name):
    found = parity.largest_difference(name, *digits_like(), seed=3)
    assert 0 <= found["torch"] <= 1e-10 and 0 < found["numpy"] <= 1e-10


def test_the_run_would_find_a_wrong_rule(monkeypatch):
    """One that shrinks the weights by a ten-millionth too much."""
    right = scratch.Adam.update

    def wrong(self, value, gradient, **memory):
        right(self, value, gradient, **memory)
        value *= 1 - 1e-7

    monkeypatch.setattr(scratch.Adam, "update", wrong)
    assert parity.largest_difference("adam", *digits_like(), seed=3)["numpy"] > 1e-10
