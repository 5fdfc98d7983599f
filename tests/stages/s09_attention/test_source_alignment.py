"""Where a summarizer looks."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from hf_llmpath.data.tokenizers.word_level import train_word_tokenizer
from hf_llmpath.models.configuration_summarizer import LLMPathSummarizerConfig
from hf_llmpath.models.modeling_summarizer import LLMPathSummarizerForConditionalGeneration
from hf_llmpath.stages.s09_attention.source_alignment import (
    Alignment,
    align,
    align_with,
    attention_entropy,
    looked_at_itself,
)

DOCUMENT = 'Ada said, "Come along!" It was the end of the day, and Ada ran to the sea.'


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_tokenizer([DOCUMENT])


def make(tokenizer, **changes):
    torch.manual_seed(3)
    end = tokenizer.eos_token_id
    shape = {
        "hidden_size": 16,
        "embedding_size": 8,
        "initializer_range": 1.0,
        "bos_token_id": end,
        "eos_token_id": end,
    }
    config = LLMPathSummarizerConfig(vocab_size=len(tokenizer), decoder_start_token_id=end, **shape | changes)
    model = LLMPathSummarizerForConditionalGeneration(config)
    with torch.no_grad():
        model.lm_head.bias[:3] = -5
    return model.eval()


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beam"])
def test_the_alignment_is_that_of_the_writing_itself(tokenizer, options):
    model = make(tokenizer)
    found = align(model, tokenizer, DOCUMENT, max_new_tokens=7, **options)
    inputs = tokenizer(DOCUMENT, return_tensors="pt")
    written = model.generate(
        **inputs, max_new_tokens=7, output_attentions=True, return_dict_in_generate=True, **options
    )
    assert found.text == tokenizer.decode(written.sequences[0], skip_special_tokens=True)
    assert found.weights.shape == (len(found.summary), len(found.source)) and found.left_out == 0
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-5)
    if not options:
        steps = torch.cat([step[0][0, 0] for step in written.cross_attentions])[: len(found.summary)]
        np.testing.assert_allclose(found.weights, steps.numpy(), atol=1e-6)
    again = align_with(model, tokenizer, DOCUMENT, found.text)
    np.testing.assert_allclose(again.weights, found.weights, atol=1e-6)
    assert found.copied.shape == (len(found.summary),) and ((found.copied > 0) & (found.copied < 1)).all()


def test_the_source_reads_as_the_document(tokenizer):
    found = align(make(tokenizer), tokenizer, DOCUMENT, max_new_tokens=3)
    assert "".join(found.source) == DOCUMENT
    assert found.source[:3] == ["Ada", " said", ","] and found.source[-1] == ""


def test_what_was_left_out_is_counted():
    tokenizer = train_word_tokenizer([DOCUMENT], longest=6)
    found = align(make(tokenizer), tokenizer, DOCUMENT, max_new_tokens=3)
    assert len(found.source) == 6
    assert found.left_out == len(tokenizer(DOCUMENT)["input_ids"]) - 6


def test_without_attention_there_is_no_alignment(tokenizer):
    found = align(
        make(tokenizer, attention="none", copy_mechanism=False), tokenizer, DOCUMENT, max_new_tokens=4
    )
    assert found.weights.shape == (len(found.summary), 0) and not len(found.copied)
    assert looked_at_itself(found) == []


def test_entropy_is_that_of_scipy():
    weights = np.random.default_rng(0).dirichlet(np.ones(9), size=(4, 3))
    np.testing.assert_allclose(attention_entropy(weights), entropy(weights, base=2, axis=-1))
    assert attention_entropy(np.eye(5)).tolist() == [0] * 5
    assert attention_entropy(np.full((1, 8), 1 / 8))[0] == pytest.approx(math.log2(8))


def alignment(weights, unknown=(False, False, False)):
    return Alignment(
        ["Zelda", " saw", " the", " Sea"],
        ["<|unk|>", " the", " sea"],
        np.array(weights),
        np.zeros(0),
        0,
        [*unknown],
    )


def test_words_in_both_count_and_case_does_not():
    weights = [[1, 0, 0, 0], [0, 0.1, 0.9, 0], [0.6, 0, 0, 0.4]]
    assert looked_at_itself(alignment(weights)) == [True, False]


def test_an_unknown_word_is_the_one_that_was_looked_at():
    weights = [[0.7, 0.1, 0.1, 0.1], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert alignment(weights, (True, False, False)).text == "Zelda the sea"
