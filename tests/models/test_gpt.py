"""The decoder's own promises; what every model must do is in test_common.py, GPT-2's layout in
tests/convert/test_gpt2.py.
"""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from hf_llmpath import LLMPathGPTConfig, LLMPathGPTForCausalLM

SMALL = {"vocab_size": 23, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def gpt(**changes) -> LLMPathGPTForCausalLM:
    torch.manual_seed(0)
    return LLMPathGPTForCausalLM(LLMPathGPTConfig(**SMALL | changes))


def test_the_layouts_are_what_they_say():
    modern, gpt2 = gpt(), gpt(layout="gpt2")
    names = [{name.split(".")[-2] for name, _ in model.named_parameters()} for model in (modern, gpt2)]
    assert "embed_positions" not in names[0] and "q_norm" in names[0]
    assert "embed_positions" in names[1] and "q_norm" not in names[1]
    assert not any(name.endswith("bias") for name, _ in modern.named_parameters())
    assert sum(name.endswith("bias") for name, _ in gpt2.named_parameters()) == 2 * (6 + 2) + 1


def test_a_modern_model_guesses_evenly_at_first():
    """Projections into the stream start at zero: the first logits are products of embeddings alone."""
    model = gpt(zero_init_projections=True).eval()
    ids = torch.randint(0, 23, (2, 9))
    alone = F.rms_norm(model.model.embed_tokens(ids), (32,), eps=1e-5)
    torch.testing.assert_close(model(input_ids=ids).logits, model.lm_head(alone))


def test_first_weights_into_the_stream_shrink_with_depth():
    model = gpt(layout="gpt2", num_hidden_layers=8, hidden_size=128)
    layer = model.model.layers[3]
    for linear, expected in (
        (layer.mlp.up_proj, 0.02),
        (layer.mlp.down_proj, 0.005),
        (layer.attention.o_proj, 0.005),
    ):
        assert linear.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_grouped_heads_equal_repeated_ones():
    few = gpt(num_key_value_heads=2, zero_init_projections=False, initializer_range=0.2).eval()
    many = gpt(zero_init_projections=False, initializer_range=0.2).eval()
    state = few.state_dict()
    for name in list(state):
        if name.endswith(("k_proj.weight", "v_proj.weight")):
            state[name] = state[name].view(2, 1, 8, 32).expand(2, 2, 8, 32).reshape(32, 32)
    many.load_state_dict(state)
    ids = torch.randint(0, 23, (2, 9))
    torch.testing.assert_close(few(input_ids=ids).logits, many(input_ids=ids).logits, rtol=0, atol=1e-5)


def test_swiglu_is_its_formula():
    mlp = gpt(hidden_act="swiglu").model.layers[0].mlp
    torch.nn.init.normal_(mlp.down_proj.weight)
    x = torch.randn(3, 5, 32)
    gate, up = x @ mlp.gate_proj.weight.t(), x @ mlp.up_proj.weight.t()
    torch.testing.assert_close(mlp(x), (gate * gate.sigmoid() * up) @ mlp.down_proj.weight.t())
    assert mlp.up_proj.out_features == 85  # two thirds of four times the width


def test_only_the_wanted_logits_are_computed():
    model, ids = gpt(zero_init_projections=False).eval(), torch.randint(0, 23, (2, 9))
    whole = model(input_ids=ids).logits
    torch.testing.assert_close(model(input_ids=ids, logits_to_keep=2).logits, whole[:, -2:])
    torch.testing.assert_close(
        model(input_ids=ids, logits_to_keep=torch.tensor([1, 4])).logits, whole[:, [1, 4]]
    )


def test_the_classifier_reads_the_last_token_that_is_not_padding():
    torch.manual_seed(0)
    config = LLMPathGPTConfig(
        **SMALL, num_labels=1, pad_token_id=0, initializer_range=0.3, zero_init_projections=False
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.randint(1, 23, (1, 6))
    plain = model(input_ids=ids).logits
    for left, right in ((0, 3), (2, 0), (2, 3)):
        padded = F.pad(ids, (left, right))
        torch.testing.assert_close(model(input_ids=padded, attention_mask=(padded != 0).long()).logits, plain)
    torch.testing.assert_close(model(input_ids=F.pad(ids, (0, 3))).logits, plain)  # told by the padding token


@pytest.mark.slow
def test_it_compiles_in_one_piece():
    torch._dynamo.reset()
    model, ids = gpt(zero_init_projections=False).eval(), torch.randint(0, 23, (2, 9))
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(input_ids=ids, use_cache=False).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"num_key_value_heads": 3}, "multiple of num_key_value_heads"),
        ({"hidden_size": 30}, "multiple of num_attention_heads"),
        ({"hidden_size": 20}, "even head size"),
        ({"hidden_act": "rellu"}, "hidden_act .*rellu.* must be one of: swiglu"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
    ],
)
def test_impossible_sizes_are_told(changes, said):
    with pytest.raises(Exception, match=said):
        AutoModelForCausalLM.from_config(LLMPathGPTConfig(**SMALL | changes))
