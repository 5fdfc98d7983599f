"""Memory is counted tensor by tensor, and checkpointing and 16 bits save it without changing the loss."""

import pytest
import torch

from hf_llmpath import LLMPathGPTConfig, LLMPathGPTForCausalLM
from hf_llmpath.stages.s15_scaling.footprint import MODES, PeakMemory, step_footprints

MB = 4 * 1000 * 250


def test_what_is_freed_no_longer_counts():
    with PeakMemory() as memory:
        a = torch.ones(1000, 250)
        b = a + 1
        assert (memory.now, memory.peak) == (2 * MB, 2 * MB)
        c = b * 2
        del a, b
        assert (memory.now, memory.peak) == (MB, 3 * MB)
        d = c.view(250, 1000)  # the same storage
        c.add_(1)
        assert (memory.now, memory.peak) == (MB, 3 * MB)
        del c
        assert memory.now == MB and d.sum() == 5 * 250_000
        del d
    assert memory.now <= 4


def test_what_the_backward_pass_needs_stays():
    x = torch.ones(1000, 250, requires_grad=True)
    with PeakMemory() as memory:
        y = x.exp().exp()
        held = memory.now
        y.sum().backward()
    assert held == 2 * MB  # exp keeps its result
    assert memory.peak >= 3 * MB  # and a gradient on the way


def test_checkpointing_and_16_bits_save_memory_and_keep_the_loss():
    torch.manual_seed(0)
    model = LLMPathGPTForCausalLM(
        LLMPathGPTConfig(vocab_size=50, hidden_size=64, num_hidden_layers=6, num_attention_heads=2)
    )
    ids = torch.randint(0, 50, (8, 65))
    batch = {"input_ids": ids[:, :-1].contiguous(), "shift_labels": ids[:, 1:].contiguous()}
    found = step_footprints(model, batch, repeats=1)
    assert list(found) == list(MODES)
    memory = {mode: row["peak_memory_mb"] for mode, row in found.items()}
    assert memory["checkpointing"] < 0.5 * memory["float32"]
    assert memory["bf16"] < 0.95 * memory["float32"]
    assert found["checkpointing"]["loss"] == pytest.approx(found["float32"]["loss"], abs=1e-6)
    assert found["bf16"]["loss"] == pytest.approx(found["float32"]["loss"], rel=0.01)
    assert all(row["milliseconds"] > 0 for row in found.values())
    assert not model.is_activation_checkpointing
    assert all(parameter.grad is None for parameter in model.parameters())
