"""Attention equals the reference, value for value and gradient for gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModel, BertConfig, PreTrainedConfig
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from hf_llmpath.models.layers_attention import (
    AdditiveAttention,
    MultiHeadAttention,
    causal_mask,
    eager_attention,
    eager_attention_forward,
    scaled_dot_product_attention,
)
from hf_llmpath.models.layers_positions import RotaryPositions

BATCH, HEADS, QUERIES, KEYS, D = 2, 4, 5, 7, 6
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6}


def tensors(dtype, key_value_heads=HEADS, queries=QUERIES, keys=KEYS, value_size=D):
    torch.manual_seed(0)
    shapes = [(HEADS, queries, D), (key_value_heads, keys, D), (key_value_heads, keys, value_size)]
    return [torch.randn(BATCH, *shape, dtype=dtype, requires_grad=True) for shape in shapes]


def boolean(dtype):
    torch.manual_seed(1)
    return torch.rand(BATCH, 1, QUERIES, KEYS) > 0.4


def with_empty_row(dtype):
    mask = boolean(dtype)
    mask[0, :, 2] = False
    return mask


def additive(dtype):
    torch.manual_seed(2)
    return torch.randn(BATCH, HEADS, QUERIES, KEYS, dtype=dtype)


def additive_with_empty_row(dtype):
    return torch.zeros(BATCH, 1, QUERIES, KEYS, dtype=dtype).masked_fill(
        ~with_empty_row(dtype), float("-inf")
    )


def compare(inputs, ours, reference, dtype):
    """The outputs, and the gradients of the inputs for the same gradient of the output."""
    torch.manual_seed(3)
    gradient = torch.randn_like(reference)
    tolerance = {"rtol": 0, "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(ours, reference, **tolerance)
    ours = torch.autograd.grad(ours, inputs, gradient)
    reference = torch.autograd.grad(reference, inputs, gradient)
    for one, other in zip(ours, reference, strict=True):
        assert torch.isfinite(one).all()
        # Float32 gradients add up many products in another order: relative to their size.
        torch.testing.assert_close(
            one, other, rtol=0, atol=TOLERANCE[dtype] * max(1.0, other.abs().max().item())
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    "mask",
    [None, boolean, with_empty_row, additive, additive_with_empty_row],
    ids=lambda f: getattr(f, "__name__", ""),
)
@pytest.mark.parametrize("scale", [None, 0.7])
def test_scaled_dot_product_attention_equals_torch(dtype, mask, scale):
    inputs = tensors(dtype)
    mask = mask and mask(dtype)
    ours, weights = scaled_dot_product_attention(*inputs, mask=mask, scale=scale)
    compare(inputs, ours, F.scaled_dot_product_attention(*inputs, attn_mask=mask, scale=scale), dtype)
    seen = (weights > 0).any(-1)
    torch.testing.assert_close(weights.sum(-1), seen.to(dtype), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("queries, keys", [(6, 6), (5, 7), (7, 5)])
def test_causal_attention_equals_torch(dtype, queries, keys):
    inputs = tensors(dtype, queries=queries, keys=keys)
    ours, weights = scaled_dot_product_attention(*inputs, is_causal=True)
    compare(inputs, ours, F.scaled_dot_product_attention(*inputs, is_causal=True), dtype)
    assert (weights.masked_select(~causal_mask(queries, keys)) == 0).all()


@pytest.mark.parametrize("key_value_heads", [1, 2])
@pytest.mark.parametrize("mask", [None, boolean, additive], ids=lambda f: getattr(f, "__name__", ""))
def test_grouped_heads_equal_torch(key_value_heads, mask):
    inputs = tensors(torch.float64, key_value_heads, value_size=3)
    mask = mask and mask(torch.float64)
    ours, _ = scaled_dot_product_attention(*inputs, mask=mask)
    compare(
        inputs, ours, F.scaled_dot_product_attention(*inputs, attn_mask=mask, enable_gqa=True), torch.float64
    )


def test_dropout_equals_torch_with_the_same_random_numbers():
    inputs = tensors(torch.float64)
    torch.manual_seed(5)
    ours, weights = scaled_dot_product_attention(*inputs, dropout=0.3)
    torch.manual_seed(5)
    with sdpa_kernel(SDPBackend.MATH):
        reference = F.scaled_dot_product_attention(*inputs, dropout_p=0.3)
    compare(inputs, ours, reference, torch.float64)
    torch.testing.assert_close(weights.sum(-1), torch.ones(BATCH, HEADS, QUERIES, dtype=torch.float64))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("mask", [None, boolean, additive], ids=lambda f: getattr(f, "__name__", ""))
@pytest.mark.parametrize("biased", [False, True])
def test_the_eager_function_equals_the_sdpa_function(groups, is_causal, mask, biased):
    """With every kind of mask that transformers makes, and a position bias on top."""
    module = nn.Module()
    module.num_key_value_groups, module.is_causal = groups, is_causal
    query, key, value = tensors(torch.float64, HEADS // groups)
    bias = torch.randn(1, HEADS, QUERIES, KEYS, dtype=torch.float64) if biased else None
    if is_causal and mask is None:
        key, value, bias = (
            key[:, :, :QUERIES],
            value[:, :, :QUERIES],
            None if bias is None else bias[..., :QUERIES],
        )
    options = {"attention_mask": mask and mask(torch.float64), "scaling": 0.5, "position_bias": bias}
    ours, weights = eager_attention_forward(module, query, key, value, **options)
    reference, _ = sdpa_attention_forward(module, query, key, value, **options)
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-12)
    assert weights.shape == (BATCH, HEADS, QUERIES, key.shape[2])


def test_additive_attention_is_its_formula():
    torch.manual_seed(0)
    attention = AdditiveAttention(query_size=3, key_size=4, hidden_size=5).double()
    query, key = torch.randn(2, 3, 3).double(), torch.randn(2, 6, 4).double()
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    context, weights = attention(query, key, mask=mask)
    W, b, U, v = (
        attention.q_proj.weight,
        attention.q_proj.bias,
        attention.k_proj.weight,
        attention.score.weight[0],
    )
    for row, keys in ((0, 6), (1, 4)):
        for step in range(3):
            scores = torch.stack(
                [v @ torch.tanh(W @ query[row, step] + b + U @ key[row, j]) for j in range(keys)]
            )
            expected = scores.exp() / scores.exp().sum()
            torch.testing.assert_close(weights[row, step, :keys], expected, rtol=0, atol=1e-12)
            torch.testing.assert_close(context[row, step], expected @ key[row, :keys], rtol=0, atol=1e-12)
            assert (weights[row, step, keys:] == 0).all()
    again, _ = attention(
        query, key, mask=mask.unsqueeze(1).expand(2, 3, 6), projected_key=attention.k_proj(key)
    )
    torch.testing.assert_close(again, context, rtol=0, atol=1e-12)


def config(**changes):
    values = {
        "hidden_size": 24,
        "num_attention_heads": 4,
        "attn_implementation": "eager",
        "num_hidden_layers": 1,
    }
    return PreTrainedConfig(**values | changes)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("is_cross", [False, True])
def test_multi_head_attention_equals_torch(implementation, is_cross):
    """Values and gradients of nn.MultiheadAttention with the same weights, padding masked."""
    torch.manual_seed(0)
    reference = nn.MultiheadAttention(24, 4, batch_first=True).double()
    nn.init.normal_(reference.in_proj_bias)
    ours = MultiHeadAttention(config(attn_implementation=implementation)).double()
    with torch.no_grad():
        for name, weight, bias in zip(
            ("q_proj", "k_proj", "v_proj"),
            reference.in_proj_weight.chunk(3),
            reference.in_proj_bias.chunk(3),
            strict=True,
        ):
            getattr(ours, name).weight.copy_(weight)
            getattr(ours, name).bias.copy_(bias)
        ours.o_proj.load_state_dict(reference.out_proj.state_dict())
    x, y = (torch.randn(3, length, 24, dtype=torch.float64, requires_grad=True) for length in (5, 7))
    source = y if is_cross else x
    padding = torch.zeros(3, source.shape[1], dtype=torch.bool)
    padding[1, 3:] = True
    expected, expected_weights = reference(
        x, source, source, key_padding_mask=padding, average_attn_weights=False
    )
    output, weights = ours(x, ~padding[:, None, None], source if is_cross else None)
    inputs = [x, y] if is_cross else [x]
    compare(inputs, output, expected, torch.float64)
    if implementation == "eager":
        torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-12)
    else:
        assert weights is None


@pytest.mark.parametrize("key_value_heads", [4, 2])
@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.parametrize("is_rotary", [False, True])
def test_training_in_16_bits_on_a_cpu_is_the_formula_and_close_to_32(
    monkeypatch, key_value_heads, is_padded, is_rotary
):
    torch.manual_seed(0)
    sizes = {"num_key_value_heads": key_value_heads, "qk_norm": is_rotary, "layer_norm_eps": 1e-6}
    module = MultiHeadAttention(config(attn_implementation="sdpa", **sizes), is_causal=True)
    x = torch.randn(3, 8, 24, requires_grad=True)
    rotation = RotaryPositions(6)(torch.arange(8)[None]) if is_rotary else None
    mask = None
    if is_padded:
        mask = torch.ones(8, 8, dtype=torch.bool).tril().expand(3, 1, 8, 8).clone()
        mask[1, :, :, :3] = False
        mask[1, :, :3, 0] = True
    expected, _ = module(x, mask, rotation=rotation)
    exact = torch.autograd.grad(expected.sum(), [x, *module.parameters()])

    def kernel(*_, **__):
        raise AssertionError("torch's kernel was called")

    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            kept, _ = module(x, mask, rotation=rotation)
        monkeypatch.setattr(F, "scaled_dot_product_attention", kernel)
        output, weights = module(x, mask, rotation=rotation)
        with torch.no_grad(), pytest.raises(AssertionError, match="was called"):
            module(x, mask, rotation=rotation)
    assert weights is None and output.dtype is torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.01)
    torch.testing.assert_close(kept.float(), expected, rtol=0.05, atol=0.01)
    found = torch.autograd.grad(output.float().sum(), [x, *module.parameters()])
    for ours, reference in zip(found, exact, strict=True):
        assert (ours - reference).norm() <= 0.03 * reference.norm() + 0.02  # that of the keys' bias is 0


@pytest.mark.parametrize("key_value_heads", [4, 2, 1])
def test_cached_steps_equal_one_pass(key_value_heads):
    """Self-attention, causal and rotary: token by token with a cache as all at once."""
    torch.manual_seed(0)
    settings = config(num_key_value_heads=key_value_heads)
    attention = MultiHeadAttention(settings, layer_idx=0, is_causal=True).double()
    rotary = RotaryPositions(attention.head_dim)
    x, positions = torch.randn(2, 6, 24, dtype=torch.float64), torch.arange(6).unsqueeze(0)
    whole, _ = attention(x, rotation=rotary(positions, torch.float64))
    for cache in (DynamicCache(), EncoderDecoderCache(DynamicCache(), DynamicCache())):
        steps = [
            attention(x[:, i : i + 1], cache=cache, rotation=rotary(positions[:, i : i + 1], torch.float64))[
                0
            ]
            for i in range(6)
        ]
        torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=0, atol=1e-12)
        assert cache.get_seq_length() == 6


def test_keys_and_values_of_an_encoder_are_projected_once():
    torch.manual_seed(0)
    attention = MultiHeadAttention(config(), layer_idx=0)
    x, source = torch.randn(2, 3, 24), torch.randn(2, 5, 24)
    whole, _ = attention(x, key_value_states=source)
    cache, calls = EncoderDecoderCache(DynamicCache(), DynamicCache()), []
    attention.k_proj.register_forward_hook(lambda *_: calls.append(1))
    steps = [attention(x[:, i : i + 1], key_value_states=source, cache=cache)[0] for i in range(3)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    assert len(calls) == 1


def test_attention_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    attention = MultiHeadAttention(config(attention_dropout=0.5))
    x = torch.randn(2, 6, 24)
    assert not torch.equal(attention(x)[0], attention(x)[0])
    attention.eval()
    assert torch.equal(attention(x)[0], attention(x)[0])


def test_eager_attention_switches_there_and_back():
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    model = AutoModel.from_config(BertConfig(vocab_size=11, **sizes)).eval()
    assert model.config._attn_implementation == "sdpa"
    ids = torch.arange(5).unsqueeze(0)
    with eager_attention(model):
        attentions = model(ids, output_attentions=True).attentions
        assert len(attentions) == 2 and attentions[0].shape == (1, 2, 5, 5)
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(RuntimeError), eager_attention(model):
        raise RuntimeError
    assert model.config._attn_implementation == "sdpa"
