"""The adding problem: its inputs have the answer in them, and only there."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_llmpath.data.algorithmic import adding_problem


@given(st.integers(1, 20), st.integers(2, 60), st.integers(0, 2**31))
def test_adding_problem_is_solved_by_its_rule(examples, length, seed):
    inputs, targets = adding_problem(examples, length, torch.Generator().manual_seed(seed))
    assert inputs.shape == (examples, length, 2) and targets.shape == (examples,)
    numbers, markers = inputs.unbind(-1)
    assert torch.allclose((numbers * markers).sum(1), targets)
    assert set(markers.unique().tolist()) <= {0.0, 1.0}
    half = length // 2
    assert (markers[:, :half].sum(1) == 1).all() and (markers[:, half:].sum(1) == 1).all()
    assert ((numbers >= 0) & (numbers < 1)).all()


def test_always_answering_one_gives_a_sixth():
    _, targets = adding_problem(100_000, 2, torch.Generator().manual_seed(0))
    assert (targets - 1).square().mean().item() == pytest.approx(1 / 6, rel=0.02)


def test_markers_stand_everywhere():
    inputs, _ = adding_problem(4000, 10, torch.Generator().manual_seed(0))
    share = inputs[..., 1].mean(0)
    assert torch.allclose(share, torch.full((10,), 0.2), atol=0.03)


def test_the_same_generator_state_gives_the_same_examples():
    one, other = (adding_problem(3, 9, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
