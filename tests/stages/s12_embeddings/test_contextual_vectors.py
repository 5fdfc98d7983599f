"""A contextual vector is that of a word's tokens, and tells the senses of a word apart."""

import numpy as np
import pytest
import torch

from hf_llmpath import LLMPathBertConfig
from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.errors import UserError
from hf_llmpath.models.modeling_bert import LLMPathBertModel
from hf_llmpath.stages.s12_embeddings.contextual_vectors import (
    contextual_vectors,
    occurrences,
    sense_accuracy,
)
from hf_llmpath.world import generate


def test_a_contextual_vector_is_the_mean_state_of_the_words_tokens():
    texts = ["the light fell on the door", "it was light"]
    tokenizer = train_subwords([*texts, "a b c d e"] * 3, "wordpiece", 60, max_length=16)
    torch.manual_seed(0)
    config = LLMPathBertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, max_position_embeddings=16,
        type_vocab_size=0, pad_token_id=tokenizer.pad_token_id, initializer_range=0.5,
    )  # fmt: skip
    model = LLMPathBertModel(config).eval()
    spans = [(text.index("light"), text.index("light") + 5) for text in texts]
    vectors = contextual_vectors(model, tokenizer, texts, spans)
    for row, (text, (start, end)) in enumerate(zip(texts, spans, strict=True)):
        encoding = tokenizer(text, return_offsets_mapping=True)
        inside = [i for i, (a, b) in enumerate(encoding["offset_mapping"]) if a < end and b > start]
        assert inside
        with torch.no_grad():
            states = model(torch.tensor([encoding["input_ids"]])).last_hidden_state[0]
        assert np.allclose(vectors[row], states[inside].mean(0).numpy(), atol=1e-5)
    with pytest.raises(UserError, match="beyond the first 16 tokens"):
        contextual_vectors(model, tokenizer, ["it was " * 20 + "light"], [(140, 145)])


def test_senses_are_told_apart_where_vectors_differ():
    random = np.random.default_rng(0)
    senses = ["one"] * 10 + ["other"] * 12
    apart = random.normal(size=(22, 3)) + 9 * np.array([sense == "one" for sense in senses])[:, None]
    assert sense_accuracy(apart, senses) == 1.0
    assert sense_accuracy(random.normal(size=(22, 3)), senses) < 0.9


def test_the_senses_of_an_ambiguous_word_are_found_in_the_world():
    examples = occurrences([row["text"] for row in generate("stories", "validation")], most=5)
    assert {occurrence.sense for occurrence in examples} == {"no darkness", "not heavy", "set on fire"}
    assert all(o.text[o.start : o.end] == "light" for o in examples)
