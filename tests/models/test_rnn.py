"""The recurrent models beyond what the common suite checks."""

import time

import pytest
import torch
from torch.nn import functional as F

from hf_llmpath import (
    LLMPathRNNConfig,
    LLMPathRNNForCausalLM,
    LLMPathRNNForTimeSeriesPrediction,
    LLMPathRNNModel,
)
from tests.support.small import VOCAB, model_of

CELLS = ("rnn", "gru", "lstm")


def small(cell="lstm", **options):
    torch.manual_seed(0)
    defaults = {"vocab_size": 23, "hidden_size": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    return LLMPathRNNForCausalLM(LLMPathRNNConfig(cell=cell, **defaults | options)).eval()


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"hiden_size": 8}, "no argument 'hiden_size'; did you mean 'hidden_size'"),
        ({"color": "red"}, "no argument 'color'; it has: cell"),
        ({"hidden_size": "8"}, "expected int, got str"),
        ({"hidden_size": 0}, r"hidden_size \(0\) must be at least 1"),
        ({"cell": "lsmt"}, "expected one of"),
        ({"dropout": 1.0}, r"dropout \(1.0\) must be at least 0 and below 1"),
        ({"tie_word_embeddings": True, "embedding_size": 8}, "tie_word_embeddings needs embedding_size"),
        ({"lags_sequence": [0]}, "lags_sequence"),
    ],
)
def test_config_refuses(arguments, message):
    with pytest.raises(Exception, match=message):
        LLMPathRNNConfig(**arguments)


def test_loss_is_the_cross_entropy_of_the_next_token():
    model = small()
    ids = torch.randint(2, 23, (3, 9))
    output = model(ids, labels=ids)
    expected = F.cross_entropy(output.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(output.loss, expected)
    shifted = model(ids[:, :-1], shift_labels=ids[:, 1:].contiguous())
    torch.testing.assert_close(shifted.loss, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_initial_weights(cell):
    model = small(cell, hidden_size=32)
    layer = model.model.layers[0]
    for block in layer.weight_hh.split(32):
        torch.testing.assert_close(block @ block.T, torch.eye(32), rtol=0, atol=1e-5)
    biases = layer.bias_ih + layer.bias_hh
    assert biases.sum().item() == (32.0 if cell == "lstm" else 0.0)
    if cell == "lstm":
        assert biases[32:64].eq(1).all()
    assert model.model.embed_tokens.weight[0].eq(0).all()


@pytest.mark.parametrize("cell", CELLS)
def test_gates_are_returned_and_explain_the_state(cell):
    model = small(cell, num_hidden_layers=2)
    ids = torch.randint(2, 23, (2, 7))
    outputs = model.model(ids, output_gates=True, output_hidden_states=True)
    assert len(outputs.gates) == 2 and len(outputs.hidden_states) == 3
    gates, states = outputs.gates[-1], outputs.hidden_states[-1]
    torch.testing.assert_close(states, model.model(ids).last_hidden_state)
    if cell == "lstm":
        rebuilt = gates["output_gate"] * gates["cell_state"].tanh()
    elif cell == "gru":
        before = F.pad(states[:, :-1], (0, 0, 1, 0))
        rebuilt = (1 - gates["update_gate"]) * gates["candidate"] + gates["update_gate"] * before
    else:
        rebuilt = gates["hidden_state"]
    torch.testing.assert_close(rebuilt, states, rtol=0, atol=1e-6)


def test_state_goes_on_from_call_to_call():
    model = small("gru", num_hidden_layers=2)
    ids = torch.randint(2, 23, (2, 12))
    whole = model(ids).logits
    first = model(ids[:, :5], use_cache=True)
    second = model(ids[:, 5:], cache=first.cache, use_cache=True)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole, rtol=0, atol=1e-6)
    assert second.cache.get_seq_length() == 12


@pytest.mark.parametrize("cell", CELLS)
def test_generation_costs_linear_time(cell, monkeypatch):
    """Every step after the prompt reads exactly one token, however long the text has become."""
    model = small(cell)
    lengths = []
    forward = LLMPathRNNModel.forward
    monkeypatch.setattr(
        LLMPathRNNModel,
        "forward",
        lambda self, input_ids=None, **kw: (
            lengths.append(input_ids.shape[1]),
            forward(self, input_ids=input_ids, **kw),
        )[1],
    )
    began = time.perf_counter()
    output = model.generate(torch.tensor([[3, 4, 5]]), max_new_tokens=1000, do_sample=True, eos_token_id=None)
    assert output.shape == (1, 1003)
    assert lengths == [3] + [1] * 999
    assert time.perf_counter() - began < 60


def test_assisted_decoding_is_refused():
    model = small()
    with pytest.raises(ValueError, match="[Ss]tateful|assist"):
        model.generate(torch.tensor([[3, 4]]), assistant_model=small(), max_new_tokens=4, do_sample=False)


def series_model(**options):
    torch.manual_seed(0)
    return LLMPathRNNForTimeSeriesPrediction(
        LLMPathRNNConfig(cell="gru", vocab_size=0, hidden_size=8, **options)
    )


def test_untrained_forecast_is_the_seasonal_naive_one():
    model = series_model(lags_sequence=[4, 1], log_values=True, value_mean=1.0, value_std=2.0).eval()
    values = torch.rand(2, 15) + 0.5
    predictions = model(past_values=values).prediction_outputs
    assert predictions.shape == (2, 12)
    torch.testing.assert_close(predictions, values[:, :12])
    torch.testing.assert_close(model.forecast(values, 6), torch.cat([values[:, -4:], values[:, -4:-2]], 1))


def test_forecast_sees_only_the_past():
    model = series_model(lags_sequence=[1, 3]).eval()
    torch.nn.init.normal_(model.head.weight)
    values = torch.randn(1, 20)
    changed = values.clone()
    changed[:, 10] += 1
    before, after = (
        model(past_values=values).prediction_outputs,
        model(past_values=changed).prediction_outputs,
    )
    # Entry j forecasts position 3 + j.
    assert torch.equal(before[:, : 10 - 3 + 1], after[:, : 10 - 3 + 1])
    assert not torch.allclose(before[:, 11 - 3], after[:, 11 - 3])


def test_series_loss_is_the_error_of_the_standardized_values():
    model = series_model(lags_sequence=[1], value_mean=3.0, value_std=2.0)
    values = torch.randn(2, 9) * 2 + 3
    output = model(past_values=values, labels=values)
    expected = ((output.prediction_outputs[:, :-1] - values[:, 1:]) / 2).square().mean()
    torch.testing.assert_close(output.loss, expected)
    with pytest.raises(ValueError, match="needs at least"):
        series_model(lags_sequence=[12])(past_values=values)


def test_forecast_carries_its_state():
    """One step at a time from the kept state equals reading everything again for every value."""
    model = series_model(lags_sequence=[1, 3], num_hidden_layers=2).eval()
    torch.nn.init.normal_(model.head.weight)
    values = again = torch.randn(2, 12)
    for _ in range(7):
        again = torch.cat([again, model(past_values=again).prediction_outputs[:, -1:]], dim=1)
    torch.testing.assert_close(model.forecast(values, 7), again[:, 12:], rtol=0, atol=1e-5)


def test_the_old_name_of_the_cache_is_read_too():
    """Code written for transformers before 5.24 calls it `past_key_values`."""
    model = model_of("gru").eval()
    ids = torch.randint(3, VOCAB, (2, 6))
    state = model(ids[:, :4], use_cache=True).cache
    ahead = model(ids[:, 4:], past_key_values=state, use_cache=True).logits
    torch.testing.assert_close(ahead, model(ids).logits[:, 4:], rtol=0, atol=1e-6)
