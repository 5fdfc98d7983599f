"""Frozen weights stay, rates fall downwards, low-rank updates start at nothing and merge into the weights."""

import pytest
import torch

from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.modeling_bert import LLMPathBertForQuestionAnswering
from hf_llmpath.training.adaptation import (
    depths,
    freeze,
    layer_wise,
    layer_wise_muon,
    trainable_share,
    with_lora,
)
from tests.support.small import weights_of

LAYERS = 3


def model_of(**changes):
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    still = {"dropout": 0.0, "attention_dropout": 0.0, "initializer_range": 0.3}
    return LLMPathBertForQuestionAnswering(LLMPathBertConfig(**sizes | still | changes))


def a_batch():
    torch.manual_seed(1)
    return {
        "input_ids": torch.randint(1, 40, (4, 9)),
        "start_positions": torch.tensor([1, 2, 3, 0]),
        "end_positions": torch.tensor([2, 4, 3, 0]),
    }


@pytest.mark.parametrize("norm_position", ["post", "pre"])
@pytest.mark.parametrize("frozen", range(LAYERS + 1))
def test_frozen_weights_stay_and_the_others_move(frozen, norm_position):
    model = freeze(model_of(norm_position=norm_position), frozen)
    before, height = weights_of(model), depths(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**a_batch()).loss.backward()
    optimizer.step()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {name for name, place in height.items() if place > frozen}
    assert {height[name] for name in moved} == set(range(frozen + 1, LAYERS + 2))
    assert any(name.startswith("qa_outputs") for name in moved)


def test_more_layers_than_there_are_cannot_be_frozen():
    with pytest.raises(UserError, match="4 layers cannot be frozen; the encoder has 3"):
        freeze(model_of(), 4)


def test_the_rate_falls_from_layer_to_layer():
    model = model_of()
    optimizer = layer_wise(model, 0.01, 0.5, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates, decays = {}, {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            rates[names[id(parameter)]], decays[names[id(parameter)]] = group["lr"], group["weight_decay"]
    assert rates.keys() == dict(model.named_parameters()).keys()
    for name, place in depths(model).items():
        assert rates[name] == pytest.approx(0.01 * 0.5 ** (LAYERS + 1 - place)), name
    assert rates["qa_outputs.weight"] == 0.01 and rates["model.embeddings.tokens.weight"] == pytest.approx(
        0.01 / 16
    )
    assert decays["qa_outputs.weight"] == 0.1 and decays["model.layers.0.attention.q_proj.bias"] == 0.0

    before = weights_of(model)  # Adam's first step is as long as the rate
    optimizer = layer_wise(model, 0.01, 0.5)
    model(**a_batch()).loss.backward()
    optimizer.step()
    for name, rate in (("qa_outputs.weight", 0.01), ("model.layers.0.up_proj.weight", 0.01 / 8)):
        moved = (model.get_parameter(name).detach() - before[name]).abs().max().item()
        assert moved == pytest.approx(rate, rel=0.01), name


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_muon_moves_the_matrices_of_the_layers_and_both_rates_fall(decay):
    model = model_of()
    optimizer = layer_wise_muon(model, 0.02, 0.01, decay, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names[id(parameter)]: group for group in optimizer.param_groups for parameter in group["params"]}
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, place in depths(model).items():
        is_hidden = name.startswith("model.layers.") and name.endswith("_proj.weight")
        group = found[name]
        assert group["use_muon"] is is_hidden, name
        assert group["weight_decay"] == (0.1 if is_hidden else 0.0)
        assert group["lr"] == pytest.approx((0.02 if is_hidden else 0.01) * decay ** (LAYERS + 1 - place)), (
            name
        )


def test_lora_starts_as_the_model_and_merges_into_one_of_the_same_values():
    plain = model_of().eval()
    logits = plain(**a_batch()).start_logits.detach()
    before = weights_of(plain)
    adapted = with_lora(plain, 2, "qa_outputs")
    assert torch.equal(adapted(**a_batch()).start_logits, logits)
    learning = {name for name, value in adapted.named_parameters() if value.requires_grad}
    assert all("lora_" in name or "qa_outputs" in name for name in learning)
    assert len([name for name in learning if "lora_A" in name]) == 6 * LAYERS
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        adapted(**a_batch()).loss.backward()
        optimizer.step()
    trained = adapted(**a_batch()).start_logits.detach()
    assert not torch.allclose(trained, logits, atol=1e-3)
    merged = adapted.merge_and_unload()
    assert type(merged) is LLMPathBertForQuestionAnswering and merged.state_dict().keys() == before.keys()
    torch.testing.assert_close(merged(**a_batch()).start_logits, trained, rtol=0, atol=1e-5)
    for name in before:
        changed = not torch.equal(merged.state_dict()[name], before[name])
        assert changed == (name.endswith("_proj.weight") or name.startswith("qa_outputs")), name


def test_low_rank_updates_are_saved_and_loaded(tmp_path):
    import peft

    adapted = with_lora(model_of().eval(), 2, "qa_outputs")
    with torch.no_grad():
        for value in adapted.parameters():
            if value.requires_grad:
                value.add_(0.1)
    adapted.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 40_000
    again = peft.PeftModel.from_pretrained(model_of().eval(), tmp_path)
    assert torch.equal(again(**a_batch()).start_logits, adapted.eval()(**a_batch()).start_logits)


def test_the_share_counts_the_weights_of_the_plain_model():
    model = model_of()
    whole = model.num_parameters()
    assert trainable_share(model) == (whole, 1.0)
    adapted = with_lora(model, 2, "qa_outputs")
    per_layer = 2 * (
        4 * (16 + 16) + 2 * (16 + 64)
    )  # A and B of four square matrices and two of the feed-forward part
    head = 16 * 2 + 2
    assert trainable_share(adapted) == (LAYERS * per_layer + head, (LAYERS * per_layer + head) / whole)
