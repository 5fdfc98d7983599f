"""What is told about a model's attention is what its attention was."""

import numpy as np
import pytest
import torch

from hf_llmpath.data.algorithmic import toy_tokenizer
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_transformer import LLMPathTransformerConfig
from hf_llmpath.models.layers_attention import eager_attention
from hf_llmpath.models.modeling_transformer import (
    LLMPathTransformerForConditionalGeneration,
    LLMPathTransformerForSequenceClassification,
)
from hf_llmpath.training.attention_probes import attention_maps, attention_rollout

TOKENIZER = toy_tokenizer()
SIZES = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 16,
    "num_attention_heads": 2,
    "max_position_embeddings": 12,
    "pad_token_id": TOKENIZER.pad_token_id,
    "bos_token_id": TOKENIZER.bos_token_id,
    "eos_token_id": TOKENIZER.eos_token_id,
    "decoder_start_token_id": TOKENIZER.bos_token_id,
}


def model_of(model_class, **changes):
    torch.manual_seed(0)
    return model_class(LLMPathTransformerConfig(**SIZES | changes)).eval()


def test_rollout_is_the_product_of_mixed_layers():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(5), size=(3, 4, 5))  # (layers, heads, length, length)
    found = attention_rollout(weights)
    expected = np.eye(5)
    for layer in weights:
        expected = (0.5 * sum(layer) / 4 + 0.5 * np.eye(5)) @ expected
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_rollout_of_heads_that_look_at_themselves_is_the_identity():
    weights = np.broadcast_to(np.eye(4), (2, 3, 4, 4))
    np.testing.assert_allclose(attention_rollout(weights), np.eye(4))


def test_maps_of_a_generator_are_those_of_its_answer():
    model = model_of(LLMPathTransformerForConditionalGeneration)
    maps = attention_maps(model, TOKENIZER, "sort: stream")
    assert maps.source == ["sort: ", *"stream", "∎"]
    assert maps.target[0] == "∎" and maps.cut == 0
    ids = TOKENIZER("sort: stream", return_tensors="pt").input_ids
    written = model.generate(ids, max_new_tokens=32, do_sample=False)
    assert TOKENIZER.decode(written[0], skip_special_tokens=True) == maps.answer
    with eager_attention(model):
        output = model(ids, decoder_input_ids=written, output_attentions=True)
    np.testing.assert_array_equal(
        maps.weights["cross"][1, 0], output.cross_attentions[1][0, 0].detach().numpy()
    )
    shapes = {kind: values.shape for kind, values in maps.weights.items()}
    source, target = len(maps.source), len(maps.target)
    assert shapes == {
        "encoder": (2, 2, source, source),
        "decoder": (2, 2, target, target),
        "cross": (2, 2, target, source),
    }
    assert maps.axes("cross") == (maps.target, maps.source)
    assert maps.axes("encoder") == (maps.source, maps.source)
    assert maps.axes("decoder") == (maps.target, maps.target)


def test_maps_of_a_classifier_have_its_verdict():
    model = model_of(LLMPathTransformerForSequenceClassification, num_decoder_layers=0, num_labels=3)
    maps = attention_maps(model, TOKENIZER, "stream")
    expected = model(**TOKENIZER("stream", return_tensors="pt")).logits[0].softmax(-1).tolist()
    assert maps.predicted == pytest.approx(
        dict(zip(("LABEL_0", "LABEL_1", "LABEL_2"), expected, strict=True)), abs=1e-5
    )
    assert maps.weights["encoder"].shape == (2, 2, 7, 7) and not maps.answer


def test_looking_leaves_the_model_as_it_was():
    model = model_of(LLMPathTransformerForConditionalGeneration)
    before = model.config._attn_implementation
    attention_maps(model, TOKENIZER, "sort: abc")
    assert model.config._attn_implementation == before == "sdpa"


def test_a_long_text_is_cut_and_the_cut_is_told():
    model = model_of(LLMPathTransformerForConditionalGeneration, position_embedding_type="learned")
    model.generation_config.max_length = 8
    maps = attention_maps(model_of(LLMPathTransformerForSequenceClassification), TOKENIZER, "stream" * 5)
    assert maps.cut == 31 - 12 and len(maps.source) == 12


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_an_error(text):
    with pytest.raises(UserError, match="the text is empty"):
        attention_maps(model_of(LLMPathTransformerForSequenceClassification), TOKENIZER, text)
