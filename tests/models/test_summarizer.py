"""The recurrent encoder-decoder: its parts equal torch's, one pass equals many steps, copies are what
they should be.
"""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hf_llmpath.models.configuration_summarizer import LLMPathSummarizerConfig
from hf_llmpath.models.layers_summarizer import BidirectionalLayer, SourceAttention
from hf_llmpath.models.modeling_summarizer import LLMPathSummarizerForConditionalGeneration

VOCAB = 19


def make(seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {"vocab_size": VOCAB, "hidden_size": 12, "embedding_size": 6, "initializer_range": 1.0}
    return LLMPathSummarizerForConditionalGeneration(LLMPathSummarizerConfig(**sizes | changes))


def batch(seed=1):
    """Sources of 7, 4 and 5 tokens, padded on the right, the left, and in between."""
    torch.manual_seed(seed)
    ids, mask = torch.randint(3, VOCAB, (3, 7)), torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:], mask[2, 0], mask[2, 3] = 0, 0, 0
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": torch.randint(3, VOCAB, (3, 5))}


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_the_encoder_equals_torch_on_padded_batches(cell):
    torch.manual_seed(0)
    layer = BidirectionalLayer(cell, 5, 8)
    reference = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}[cell](
        5, 4, bidirectional=True, batch_first=True
    )
    with torch.no_grad():
        for ours, suffix in ((layer.forwards, ""), (layer.backwards, "_reverse")):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(ours, name).copy_(getattr(reference, f"{name}_l0{suffix}"))
    inputs, lengths = torch.randn(3, 6, 5), torch.tensor([6, 2, 4])
    places = torch.arange(6).expand(3, 6)
    reverse = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(reference(packed)[0], batch_first=True)[0]
    found = layer(inputs, reverse)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, :length], expected[row, :length], rtol=0, atol=1e-6)
    weight = (places < lengths[:, None])[..., None] * torch.randn(3, 6, 8)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for ours, suffix in ((layer.forwards, ""), (layer.backwards, "_reverse")):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            torch.testing.assert_close(
                getattr(ours, name).grad, getattr(reference, f"{name}_l0{suffix}").grad, rtol=1e-5, atol=1e-5
            )


def test_the_final_state_is_what_each_direction_knew_at_its_end():
    model = make().eval()
    inputs = batch()
    states = model.model.encoder(inputs["input_ids"], inputs["attention_mask"])
    for row, mask in enumerate(inputs["attention_mask"].bool()):
        alone = model.model.encoder(inputs["input_ids"][row, mask][None])
        torch.testing.assert_close(states.final_state[row], alone.final_state[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(
            states.last_hidden_state[row, mask], alone.last_hidden_state[0], rtol=0, atol=1e-6
        )
        assert not states.last_hidden_state[row, ~mask].any()
        expected = torch.cat([alone.last_hidden_state[0, -1, :6], alone.last_hidden_state[0, 0, 6:]])
        torch.testing.assert_close(alone.final_state[0], expected)


def test_the_decoder_asks_with_its_state_and_the_source_answers():
    """With a query from the decoder, and keys and values from the encoder, it equals torch's attention."""
    torch.manual_seed(0)
    attention = SourceAttention(LLMPathSummarizerConfig(hidden_size=8, attention="dot"))
    states, source = torch.randn(2, 3, 8, requires_grad=True), torch.randn(2, 5, 8, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    context, weights = attention(states, *attention.keys_and_values(source), mask)
    query, key, value = (
        p(x)[:, None]
        for p, x in ((attention.q_proj, states), (attention.k_proj, source), (attention.v_proj, source))
    )
    expected = F.scaled_dot_product_attention(query, key, value, mask[:, None, None].bool())[:, 0]
    torch.testing.assert_close(context, expected)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 3))
    assert not weights[1, 0, :, 2:].any()
    torch.manual_seed(1)
    upstream = torch.randn_like(context)
    for ours, reference in zip(
        torch.autograd.grad(context, [states, source], upstream, retain_graph=True),
        torch.autograd.grad(expected, [states, source], upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("attention", ["dot", "additive", "none"])
def test_one_pass_over_the_target_equals_step_by_step(cell, attention):
    model = make(
        cell=cell, attention=attention, copy_mechanism=attention != "none", num_hidden_layers=2
    ).eval()
    inputs = batch()
    whole = model(**inputs)
    encoded = model.get_encoder()(inputs["input_ids"], inputs["attention_mask"])
    decoder_ids, cache = model.prepare_decoder_input_ids_from_labels(inputs["labels"]), None
    for step in range(decoder_ids.shape[1]):
        outputs = model(
            attention_mask=inputs["attention_mask"],
            decoder_input_ids=decoder_ids[:, step : step + 1],
            encoder_outputs=encoded,
            cache=cache,
            use_cache=True,
        )
        cache = outputs.cache
        torch.testing.assert_close(outputs.logits[:, 0], whole.logits[:, step], rtol=0, atol=1e-5)
        if attention != "none":
            torch.testing.assert_close(
                outputs.cross_attentions[0][:, :, 0], whole.cross_attentions[0][:, :, step], rtol=0, atol=1e-6
            )
    assert cache.get_seq_length() == decoder_ids.shape[1]


def test_copying_mixes_vocabulary_and_source():
    """P(w) = (1 - g) softmax(logits)(w) + g times the weights of the places where w stands in the source."""
    model = make().eval()
    inputs = batch()
    outputs = model(**inputs)
    decoder_ids = model.prepare_decoder_input_ids_from_labels(inputs["labels"])
    inner = model.model(inputs["input_ids"], inputs["attention_mask"], decoder_input_ids=decoder_ids)
    gate = model.copy_gate(inner.last_hidden_state).sigmoid()[..., 0]
    words = model.lm_head(inner.last_hidden_state).softmax(-1)
    weights = inner.cross_attentions[0][:, 0]
    for row in range(3):
        for step in range(5):
            for word in range(VOCAB):
                copied = weights[row, step][inputs["input_ids"][row] == word].sum()
                expected = (1 - gate[row, step]) * words[row, step, word] + gate[row, step] * copied
                torch.testing.assert_close(
                    outputs.logits[row, step, word].exp(), expected, rtol=1e-4, atol=1e-6
                )
    torch.testing.assert_close(outputs.logits.exp().sum(-1), torch.ones(3, 5))


def test_the_loss_is_the_cross_entropy_of_unshifted_labels():
    model = make().eval()
    inputs = batch()
    inputs["labels"][0, 3:] = -100
    outputs = model(**inputs)
    kept = inputs["labels"] != -100
    expected = F.cross_entropy(outputs.logits[kept], inputs["labels"][kept])
    torch.testing.assert_close(outputs.loss, expected)
    count = torch.tensor(26)
    torch.testing.assert_close(model(**inputs, num_items_in_batch=count).loss, expected * kept.sum() / count)


def test_without_attention_nothing_but_the_last_state_is_seen():
    model = make(attention="none", copy_mechanism=False).eval()
    inputs = batch()
    encoded = model.get_encoder()(inputs["input_ids"], inputs["attention_mask"])
    decoder_ids = model.prepare_decoder_input_ids_from_labels(inputs["labels"])
    plain = model(
        attention_mask=inputs["attention_mask"], decoder_input_ids=decoder_ids, encoder_outputs=encoded
    )
    encoded.last_hidden_state = torch.randn_like(encoded.last_hidden_state)
    other = model(
        attention_mask=inputs["attention_mask"], decoder_input_ids=decoder_ids, encoder_outputs=encoded
    )
    assert torch.equal(plain.logits, other.logits) and plain.cross_attentions is None


def test_generate_returns_where_it_looked():
    model = make().eval()
    inputs = {name: value for name, value in batch().items() if name != "labels"}
    found = model.generate(**inputs, max_new_tokens=6, output_attentions=True, return_dict_in_generate=True)
    again = model(**inputs, decoder_input_ids=found.sequences[:, :-1])
    steps = torch.cat([step[0] for step in found.cross_attentions], dim=2)
    torch.testing.assert_close(steps, again.cross_attentions[0], rtol=0, atol=1e-6)


def test_a_source_of_padding_alone_is_no_error():
    model = make().eval()
    inputs = batch()
    inputs["attention_mask"][1] = 0
    assert torch.isfinite(model(**inputs).logits).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"hidden_size": 7}, r"hidden_size \(7\) must be even"),
        ({"attention": "none"}, "attention='none' needs copy_mechanism=False"),
        ({"dropout": 1.0}, "dropout"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
    ],
)
def test_impossible_sizes_are_refused(arguments, message):
    with pytest.raises(Exception, match=message):
        LLMPathSummarizerConfig(**arguments)


def test_what_cannot_be_read_is_refused():
    model = make().eval()
    embeds = torch.randn(1, 4, 6)
    with pytest.raises(ValueError, match="copy_mechanism needs the source's input_ids"):
        model(inputs_embeds=embeds, labels=torch.tensor([[4, 5]]))
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model.get_encoder()()
    with pytest.raises(ValueError, match="what this model's encoder returned"):
        model.model.decoder(torch.tensor([[1]]), encoder_outputs=embeds)


def test_the_vocabulary_can_be_resized_and_stays_tied():
    model = make()
    model.resize_token_embeddings(VOCAB + 5)
    weight = model.model.encoder.embed_tokens.weight
    assert weight.shape[0] == VOCAB + 5 == model.lm_head.out_features
    assert model.lm_head.weight is weight and model.model.decoder.embed_tokens.weight is weight
