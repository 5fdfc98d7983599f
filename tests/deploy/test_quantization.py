"""Weights in 8 and 4 bits: close to the original, saved and loaded as they are, on any processor."""

import json
import math

import bitsandbytes
import pytest
import torch
from transformers import AutoModelForCausalLM, set_seed

from hf_llmpath.decoding.generation import greedy
from hf_llmpath.deploy.quantization import (
    SCHEMES,
    compare,
    load_quantized,
    quantized,
    quantized_layers,
    without_cpu_packing,
)
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_gpt import LLMPathGPTConfig
from hf_llmpath.models.configuration_rnn import LLMPathRNNConfig
from hf_llmpath.models.configuration_word2vec import LLMPathWord2VecConfig
from hf_llmpath.models.modeling_gpt import LLMPathGPTForCausalLM
from hf_llmpath.models.modeling_rnn import LLMPathRNNForCausalLM
from hf_llmpath.models.modeling_word2vec import LLMPathWord2VecModel


def _save(folder, hidden_size=64):
    set_seed(0)
    config = LLMPathGPTConfig(
        vocab_size=97, hidden_size=hidden_size, num_hidden_layers=2, num_attention_heads=4,
        zero_init_projections=False, initializer_range=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LLMPathGPTForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _save(tmp_path_factory.mktemp("gpt"))


@pytest.fixture(scope="module")
def ids():
    torch.manual_seed(1)
    return torch.randint(3, 97, (4, 20))


@pytest.mark.parametrize("scheme, most_error, share", [("int8", 0.03, 0.5), ("nf4", 0.4, 0.4)])
def test_a_quantized_model_is_near_the_original_and_smaller(folder, ids, scheme, most_error, share):
    original, small = AutoModelForCausalLM.from_pretrained(folder).eval(), quantized(folder, scheme)
    assert len(quantized_layers(small)) == 2 * 6 and "lm_head" not in quantized_layers(small)
    with torch.no_grad():
        expected, found = original(ids).logits, small(ids).logits
    assert 0 < float((found - expected).norm() / expected.norm()) < most_error
    assert small.get_memory_footprint() < share * original.get_memory_footprint()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_quantized_model_is_saved_and_loaded_as_it_is(folder, ids, scheme, tmp_path):
    """After it has been used: that is when a packed layer would be saved wrong."""
    small = quantized(folder, scheme)
    with torch.no_grad():
        before = small(ids).logits
    text = greedy(small, ids, max_new_tokens=8)
    small.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(small(ids).logits, before)  # what is in memory stays right, too
    again = load_quantized(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(ids).logits, before)
    assert torch.equal(greedy(again, ids, max_new_tokens=8), text)
    assert (
        sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
        < 0.75 * (folder / "model.safetensors").stat().st_size
    )


def test_no_layer_is_packed_for_one_kind_of_processor(folder, ids):
    small = quantized(folder, "nf4")
    packing = [module for module in small.modules() if hasattr(module, "support_avx512bf16_for_cpu")]
    assert len(packing) == 12 and not any(module.support_avx512bf16_for_cpu for module in packing)
    for module in packing:
        module.support_avx512bf16_for_cpu = True
    assert without_cpu_packing(small) is small
    with torch.no_grad():
        small(ids)
    small(ids).logits.sum().backward()  # packed weights refuse it
    assert small.model.embed_tokens.weight.grad is not None


def test_layers_that_come_back_wrong_in_4_bits_stay_in_32(ids, tmp_path):
    """Those with a number of inputs that is no multiple of 64: 48 here, but for the last layer of the
    feed-forward part.
    """
    folder = _save(tmp_path, hidden_size=48)
    original, small = AutoModelForCausalLM.from_pretrained(folder).eval(), quantized(folder, "nf4")
    assert quantized_layers(small) == [f"model.layers.{layer}.mlp.down_proj" for layer in range(2)]
    with torch.no_grad():
        expected, found = original(ids).logits, small(ids).logits
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.3
    assert len(quantized_layers(quantized(folder, "int8"))) == 12


@pytest.mark.parametrize("inputs", [64, 192])
def test_a_layer_in_4_bits_has_its_weights(inputs):
    """The error of nf4 on normal weights, whatever the scales of the rows are."""
    torch.manual_seed(0)
    weights = torch.randn(96, inputs) * torch.rand(96, 1)
    found = bitsandbytes.functional.dequantize_4bit(
        *bitsandbytes.functional.quantize_4bit(weights, quant_type="nf4")
    )
    assert float((found - weights).norm() / weights.norm()) < 0.11


def test_a_model_that_lost_itself_is_refused(folder, ids):
    original, other = (AutoModelForCausalLM.from_pretrained(folder).eval() for _ in range(2))
    assert compare(original, other, {"input_ids": ids}, 0.1).relative_error == 0
    with torch.no_grad():
        other.model.layers[0].mlp.up_proj.weight.mul_(3)
    with pytest.raises(UserError, match="logits are .* away from the original's, more than 10%"):
        compare(original, other, {"input_ids": ids}, 0.1)
    with torch.no_grad():
        other.model.norm.weight.fill_(math.nan)
    with pytest.raises(UserError, match="away from the original's"):
        compare(original, other, {"input_ids": ids}, 0.1)


def test_what_cannot_be_quantized_is_said_in_one_line(folder, tmp_path):
    with pytest.raises(UserError, match="unknown scheme 'int4'; did you mean"):
        quantized(folder, "int4")
    rnn, vectors = tmp_path / "rnn", tmp_path / "vectors"
    LLMPathRNNForCausalLM(LLMPathRNNConfig(vocab_size=9, hidden_size=8)).save_pretrained(rnn)
    with pytest.raises(
        UserError, match="LLMPathRNNForCausalLM has no layer .*the weights here are in .*RecurrentLayer"
    ):
        quantized(rnn, "int8")
    LLMPathWord2VecModel(LLMPathWord2VecConfig(vocab_size=9, hidden_size=8)).save_pretrained(vectors)
    with pytest.raises(UserError, match="LLMPathWord2VecModel has no layer"):
        quantized(vectors, "int8")
    with pytest.raises(UserError, match="no layer here has a multiple of 64 inputs .they have 24, 96"):
        quantized(_save(tmp_path / "gpt", hidden_size=24), "nf4")
    with pytest.raises(UserError, match="is not quantized"):
        load_quantized(folder)
    small = tmp_path / "small"
    quantized(folder, "int8").save_pretrained(small)
    with pytest.raises(UserError, match="is quantized already"):
        quantized(small, "int8")
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config  # the original is as it was
