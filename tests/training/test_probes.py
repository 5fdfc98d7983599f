"""Looking into a model: what the probes show is what the model does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hf_llmpath.data.tokenizers.characters import encode_characters, train_character_tokenizer
from hf_llmpath.training.probes import (
    gates_of,
    gradient_by_lag,
    hidden_states_of,
    next_characters,
    one_hot,
    readable_unit,
    sample_text,
    text_features,
    unit_activations,
)
from tests.support.small import model_of, text_of_hats, tokens_of

TEXT = text_of_hats()


@pytest.fixture(scope="module")
def tokenizer():
    return train_character_tokenizer([TEXT], byte_fallback=False)


@pytest.fixture(scope="module")
def ids(tokenizer) -> np.ndarray:
    return encode_characters(tokenizer, [TEXT])[0]


class Prepared(torch.nn.Module):
    """A model whose hidden states over a text are given; it reads on where the window before ended."""

    def __init__(self, states: np.ndarray):
        super().__init__()
        self.states = torch.from_numpy(states).float()

    def model(self, input_ids, cache=None, use_cache=True):
        start = cache or 0
        end = start + input_ids.shape[1]
        return SimpleNamespace(last_hidden_state=self.states[None, start:end], cache=end)


def test_one_hot_times_weights_is_the_embedding_look_up(tokenizer):
    model = model_of(vocab_size=len(tokenizer))
    shown = one_hot(tokenizer, "Anna had")
    rows = torch.tensor(shown["rows"], dtype=torch.float32)
    assert rows.shape == (8, len(tokenizer)) and (rows.sum(1) == 1).all()
    looked_up = model.model.embed_tokens(torch.tensor(tokenizer.encode("Anna had")))
    assert torch.equal(rows @ model.model.embed_tokens.weight, looked_up)
    assert "".join(shown["characters"]) == "Anna had"
    assert [shown["vocabulary"][row.argmax()] for row in rows] == list("Anna had")


def test_temperature_divides_the_logits(tokenizer):
    model = model_of(vocab_size=len(tokenizer)).eval()
    shown = next_characters(model, tokenizer, "Anna", (0.01, 0.5, 1.0, 2.0, 1e6), top=len(tokenizer))
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode("Anna")]])
    logits = model(ids).logits[0, -1]
    order = tokenizer.convert_tokens_to_ids(shown["characters"])
    assert order == logits.argsort(descending=True).tolist()
    found = {float(t): torch.tensor(p) for t, p in shown["probabilities"].items()}
    for temperature, probabilities in found.items():
        scaled = (logits / temperature).exp()
        torch.testing.assert_close(probabilities, (scaled / scaled.sum())[order], atol=1e-6, rtol=1e-4)
    assert found[0.01][0] > 0.99  # cold: the most probable one
    torch.testing.assert_close(
        found[1e6], torch.full((len(order),), 1 / len(order)), atol=1e-4, rtol=0
    )  # hot: any
    assert (found[0.5][0] > found[1.0][0]) and (found[1.0][0] > found[2.0][0])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_gradient_by_lag_equals_autograd_jacobian(cell, layers):
    length, windows, seed = 6, 3, 4
    model, tokens = model_of(cell, num_hidden_layers=layers).eval(), tokens_of(50)
    found = gradient_by_lag(model, tokens, length, seed, windows)
    starts = np.random.default_rng(seed).integers(0, len(tokens) - length - 1, size=windows)
    norms = torch.zeros(length)
    for start in starts:
        window = torch.from_numpy(tokens[start : start + length + 1])
        below = model.model.embed_tokens(window[None, :-1])
        for layer in model.model.layers[:-1]:
            below = layer(below)[0]
        top = model.model.layers[-1]
        for lag in range(length):
            # The state after step t - k, from a run of its own; then the loss as a function of that state.
            _, state, _ = top(below[:, : length - lag].detach())
            rest = below[:, length - lag :].detach()

            def loss_of(*state, top=top, rest=rest, target=window[-1:]):
                states = top(rest, state)[0][:, -1] if rest.shape[1] else state[0]
                return F.cross_entropy(model.lm_head(states), target)

            jacobians = torch.autograd.functional.jacobian(loss_of, tuple(part.detach() for part in state))
            norms[lag] += torch.cat(jacobians, dim=-1).norm() / windows
    torch.testing.assert_close(torch.tensor(found), norms / norms[0], rtol=1e-4, atol=1e-6)


def test_the_gradient_of_small_recurrent_weights_vanishes_and_the_model_is_left_as_it_was():
    model = model_of("rnn").eval()
    with torch.no_grad():
        model.model.layers[0].weight_hh.mul_(
            0.5
        )  # orthogonal times 0.5: each step back halves the gradient, or worse
    lags = gradient_by_lag(model, tokens_of(200), length=12, seed=0)
    assert lags[0] == 1
    assert all(lag <= 0.5**k + 1e-6 for k, lag in enumerate(lags))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gates_are_those_of_the_formulas(tokenizer, ids):
    sigmoid, tanh = (lambda x: 1 / (1 + np.exp(-x))), np.tanh
    for cell in ("lstm", "gru"):
        model = model_of(cell, vocab_size=len(tokenizer), num_hidden_layers=2)
        shown = gates_of(model, tokenizer, ids[:30], units=4)
        layer = model.model.layers[-1]
        w, u, b, c = (p.detach().double().numpy() for p in layer.parameters())
        with torch.no_grad():
            below = model.model.layers[0](model.model.embed_tokens(torch.from_numpy(ids[None, :30])))[0][0]
        h = memory = np.zeros(model.config.hidden_size)
        gates: dict[str, list[np.ndarray]] = {}
        for x in below.double().numpy():
            a, r = w @ x + b, u @ h + c
            if cell == "lstm":
                i, f, g, o = np.split(a + r, 4)
                memory = sigmoid(f) * memory + sigmoid(i) * tanh(g)
                h = sigmoid(o) * tanh(memory)
                step = {"input_gate": sigmoid(i), "forget_gate": sigmoid(f), "output_gate": sigmoid(o)}
                step |= {"cell_candidate": tanh(g), "cell_state": memory}
            else:
                (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3), np.split(r, 3)
                reset, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)
                n = tanh(a_n + reset * b_n)
                h = (1 - z) * n + z * h
                step = {"reset_gate": reset, "update_gate": z, "candidate": n}
            for name, values in step.items():
                gates.setdefault(name, []).append(values)
        assert shown["text"] == TEXT[:30]
        assert shown["mean"].keys() == shown["units"].keys() == gates.keys()
        for name, values in gates.items():
            values = np.array(values)  # (time, unit)
            np.testing.assert_allclose(shown["mean"][name], values.mean(1), atol=1e-4)
            np.testing.assert_allclose(shown["units"][name], values[:, shown["indices"]].T, atol=1e-4)
        keeping = np.array(gates["forget_gate" if cell == "lstm" else "update_gate"])
        persistence = [np.corrcoef(unit[1:], unit[:-1])[0, 1] for unit in keeping.T]
        others = np.delete(persistence, shown["indices"])
        assert len(shown["indices"]) == 4 and min(np.array(persistence)[shown["indices"]]) > np.median(others)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_units_are_read_from_end_to_end(cell):
    model, tokens = model_of(cell).eval(), tokens_of(70)
    whole = model.model(torch.from_numpy(tokens[None])).last_hidden_state[0].detach().numpy()
    np.testing.assert_allclose(unit_activations(model, tokens, length=16), whole, atol=1e-6)


def test_a_planted_unit_is_found(tokenizer, ids):
    random = np.random.default_rng(0)
    states = random.standard_normal((len(ids), 50))
    inside = np.cumsum(np.array(list(TEXT)) == '"') % 2
    states[:, 17] = -3 * inside + 0.5 * random.standard_normal(len(ids))
    found = readable_unit(Prepared(states), tokenizer, ids)
    assert (found["unit"], found["feature"]) == (17, "inside quotation")
    half = len(ids) // 2
    assert found["correlation"] == pytest.approx(np.corrcoef(states[half:, 17], inside[half:])[0, 1])
    assert found["correlation"] < -0.9


def test_choosing_among_many_random_units_does_not_flatter(tokenizer, ids):
    states = np.random.default_rng(1).standard_normal((len(ids), 2000))
    found = readable_unit(Prepared(states), tokenizer, ids)
    feature = text_features(TEXT)[found["feature"]]
    flattering = max(abs(np.corrcoef(unit, feature)[0, 1]) for unit in states.T)
    noise = 1 / np.sqrt(len(ids) // 2)
    assert abs(found["correlation"]) < 3.5 * noise
    assert all(abs(row["correlation"]) < 3.5 * noise for row in found["table"])
    assert np.mean([abs(row["correlation"]) for row in found["table"]]) < 0.6 * flattering


def test_features_are_what_a_reader_sees():
    features = text_features('A "b c" d.\nEF')
    assert features["inside quotation"].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert features["position in line"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert features["capital letter"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert features["vowel"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    assert features["first letter of a word"].tolist() == [1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0]
    assert features["last letter of a word"].tolist() == [1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0]
    assert features["inside a capitalised word"].tolist() == [1] + [0] * 10 + [1, 1]
    assert features["between sentences"].tolist() == [0] * 9 + [1, 1, 0, 0]
    assert features["line of capitals"].tolist() == [0] * 11 + [1, 1]
    assert "inside quotation" not in text_features("no quotation here")


def test_shown_states_are_the_models(tokenizer, ids):
    model = model_of("rnn", vocab_size=len(tokenizer))
    shown = hidden_states_of(model, tokenizer, ids[:40], first=3, units=5)
    assert shown["text"] == TEXT[:40]
    assert shown["units"][0] == 3 and len(set(shown["units"])) == 5
    np.testing.assert_allclose(
        shown["values"], unit_activations(model, ids[:40])[:, shown["units"]].T, atol=1e-4
    )


def test_a_sample_depends_on_its_seed_alone(tokenizer):
    model = model_of(vocab_size=len(tokenizer))
    one, again, other = (sample_text(model, tokenizer, 50, 0.9, seed, prompt="Anna") for seed in (1, 1, 2))
    assert one == again != other
    assert one.startswith("Anna")
