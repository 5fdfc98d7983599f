"""Positions equal their formulas and transformers' implementations."""

import math

import pytest
import torch
from transformers import LlamaConfig, T5Config
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention

from hf_llmpath.models.layers_positions import (
    LearnedPositions,
    RelativePositionBias,
    RotaryPositions,
    relative_position_bucket,
    sinusoidal_positions,
)
from hf_llmpath.models.ops_fused import rotate


def test_sinusoidal_positions_are_their_formula():
    table = sinusoidal_positions(torch.arange(50), 8)
    for position in (0, 1, 7, 49):
        for i in range(4):
            angle = position / 10_000 ** (2 * i / 8)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_a_shift_of_sinusoidal_positions_is_one_rotation():
    """PE(p + k) is the same linear map of PE(p) for every p, as section 3.5 says; so a head can look k
    tokens back.
    """
    table = sinusoidal_positions(torch.arange(40), 16).double()
    shift = torch.linalg.lstsq(table[:30], table[5:35]).solution
    torch.testing.assert_close(table[:35] @ shift, table[5:], rtol=0, atol=1e-4)


def test_learned_positions_end_where_the_model_ends():
    positions = LearnedPositions(8, 4)
    assert positions(torch.arange(8).unsqueeze(0)).shape == (1, 8, 4)
    with pytest.raises(ValueError, match=r"the sequence has 9 tokens; .* max_position_embeddings \(8\)"):
        positions(torch.arange(9).unsqueeze(0))


@pytest.mark.parametrize("base", [10_000.0, 500.0])
def test_rotary_positions_equal_llamas(base):
    torch.manual_seed(0)
    parameters = {"rope_type": "default", "rope_theta": base}
    config = LlamaConfig(hidden_size=32, num_attention_heads=4, rope_parameters=parameters)
    query, key = torch.randn(2, 2, 4, 9, 8)
    positions = torch.stack([torch.arange(9), torch.arange(3, 12)])
    expected = apply_rotary_pos_emb(query, key, *LlamaRotaryEmbedding(config)(query, positions))
    rotation = RotaryPositions(8, base)(positions)
    for one, other in zip((rotate(query, *rotation), rotate(key, *rotation)), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_the_gradient_of_a_rotation_is_that_of_its_formula():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)
    cos, sin = RotaryPositions(8)(torch.arange(5).unsqueeze(0), torch.float64)
    first, second = x.chunk(2, dim=-1)
    expected = x * cos + torch.cat([-second, first], dim=-1) * sin
    torch.testing.assert_close(rotate(x, cos, sin), expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: rotate(x, cos, sin), x)


def test_rotary_scores_depend_on_the_distance_alone():
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 16).double()
    rotary = RotaryPositions(16)

    def score(m, n):
        turned = [rotate(x, *rotary(torch.tensor([[p]]), torch.float64)) for x, p in ((query, m), (key, n))]
        return (turned[0] * turned[1]).sum().item()

    for distance in (0, 1, 5):
        scores = [score(m, m + distance) for m in (0, 3, 10)]
        assert max(scores) - min(scores) < 1e-5
    assert abs(score(0, 5) - score(0, 1)) > 1e-2
    assert score(4, 4) == pytest.approx((query * key).sum().item())


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_buckets, max_distance", [(32, 128), (16, 40)])
def test_buckets_equal_t5s(bidirectional, num_buckets, max_distance):
    distance = torch.arange(-300, 301)
    expected = T5Attention._relative_position_bucket(distance, bidirectional, num_buckets, max_distance)
    assert torch.equal(relative_position_bucket(distance, bidirectional, num_buckets, max_distance), expected)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_bias_equals_t5s(bidirectional):
    torch.manual_seed(0)
    config = T5Config(d_model=16, d_kv=4, num_heads=4, is_decoder=not bidirectional)
    reference = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    ours = RelativePositionBias(4, bidirectional)
    ours.bias.load_state_dict(reference.relative_attention_bias.state_dict())
    assert torch.equal(ours(40, 50), reference.compute_bias(40, 50))
    assert torch.equal(ours(1, 41, past=40), ours(41, 41)[:, :, 40:])
