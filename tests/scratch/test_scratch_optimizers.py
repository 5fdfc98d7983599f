"""Optimizers take the steps of torch.optim's."""

import numpy as np
import pytest
import torch

from hf_llmpath import scratch

CASES = [
    ("SGD", scratch.SGD, {"weight_decay": 0.1}, torch.optim.SGD, {"weight_decay": 0.1}),
    ("Momentum", scratch.Momentum, {"momentum": 0.8}, torch.optim.SGD, {"momentum": 0.8}),
    (
        "Nesterov",
        scratch.Momentum,
        {"nesterov": True, "weight_decay": 0.1},
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    ("RMSprop", scratch.RMSprop, {"weight_decay": 0.1}, torch.optim.RMSprop, {"weight_decay": 0.1}),
    ("Adam", scratch.Adam, {"weight_decay": 0.1}, torch.optim.Adam, {"weight_decay": 0.1}),
    ("AdamW", scratch.AdamW, {"weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
]


def start():
    return np.random.default_rng(0).normal(size=(3, 4))


@pytest.mark.parametrize("name, ours, options, theirs, their_options", CASES, ids=[case[0] for case in CASES])
def test_steps_equal_torch(name, ours, options, theirs, their_options):
    value, gradient = start(), np.zeros((3, 4))
    optimizer = ours([("w", value, gradient)], 0.05, **options)
    weight = torch.nn.Parameter(torch.tensor(start()))
    reference = theirs([weight], lr=0.05, **their_options)
    for _ in range(25):
        gradient[...] = value**3 - np.sin(value)
        optimizer.step()
        weight.grad = weight.detach() ** 3 - torch.sin(weight.detach())
        reference.step()
    np.testing.assert_allclose(value, weight.detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name, ours, options", [case[:3] for case in CASES], ids=[case[0] for case in CASES])
def test_a_kept_state_goes_on_bit_for_bit(name, ours, options):
    def take(value, gradient, optimizer, steps):
        for _ in range(steps):
            gradient[...] = value**3 - np.sin(value)
            optimizer.step()

    whole, gradient = start(), np.zeros((3, 4))
    take(whole, gradient, ours([("w", whole, gradient)], 0.05, **options), 12)
    value = start()
    first = ours([("w", value, gradient)], 0.05, **options)
    take(value, gradient, first, 5)
    second = ours([("w", value, gradient)], 0.05, **options)
    second.load_state_dict({name: array.copy() for name, array in first.state_dict().items()})
    take(value, gradient, second, 7)
    np.testing.assert_array_equal(value, whole)


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_learning_rate_that_cannot_work_is_refused(rate):
    with pytest.raises(ValueError, match="learning_rate is .*; it must be a finite number"):
        scratch.Adam([("w", start(), start())], rate)
