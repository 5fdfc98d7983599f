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
    alignment = align(model, tokenizer, DOCUMENT, max_new_tokens=7, **options)
    inputs = tokenizer(DOCUMENT, return_tensors="pt")
    written = model.generate(
        **inputs, max_new_tokens=7, output_attentions=True, return_dict_in_generate=True, **options
    )
    assert alignment.text == tokenizer.decode(written.sequences[0], skip_special_tokens=True)
    assert (
        alignment.weights.shape == (len(alignment.summary), len(alignment.source)) and alignment.left_out == 0
    )
    np.testing.assert_allclose(alignment.weights.sum(axis=1), 1, rtol=1e-5)
    if not options:
        steps = torch.cat([step[0][0, 0] for step in written.cross_attentions])[: len(alignment.summary)]
        np.testing.assert_allclose(alignment.weights, steps.numpy(), atol=1e-6)
    again = align(model, tokenizer, DOCUMENT, alignment.text)
    np.testing.assert_allclose(again.weights, alignment.weights, atol=1e-6)
    assert (
        alignment.copied.shape == (len(alignment.summary),)
        and ((alignment.copied > 0) & (alignment.copied < 1)).all()
    )


def test_the_source_reads_as_the_document(tokenizer):
    alignment = align(make(tokenizer), tokenizer, DOCUMENT, max_new_tokens=3)
    assert "".join(alignment.source) == DOCUMENT
    assert alignment.source[:3] == ["Ada", " said", ","] and alignment.source[-1] == ""


def test_what_was_left_out_is_counted():
    tokenizer = train_word_tokenizer([DOCUMENT], longest=6)
    alignment = align(make(tokenizer), tokenizer, DOCUMENT, max_new_tokens=3)
    assert len(alignment.source) == 6
    assert alignment.left_out == len(tokenizer(DOCUMENT)["input_ids"]) - 6


def test_without_attention_there_is_no_alignment(tokenizer):
    alignment = align(
        make(tokenizer, attention="none", copy_mechanism=False), tokenizer, DOCUMENT, max_new_tokens=4
    )
    assert alignment.weights.shape == (len(alignment.summary), 0) and not len(alignment.copied)
    assert looked_at_itself(alignment) == []


def test_entropy_is_that_of_scipy():
    weights = np.random.default_rng(0).dirichlet(np.ones(9), size=(4, 3))
    np.testing.assert_allclose(attention_entropy(weights), entropy(weights, base=2, axis=-1))
    assert attention_entropy(np.eye(5)).tolist() == [0] * 5
    assert attention_entropy(np.full((1, 8), 1 / 8))[0] == pytest.approx(math.log2(8))


def alignment_of(weights, unknown=(False, False, False)):
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
    assert looked_at_itself(alignment_of(weights)) == [True, False]


def test_an_unknown_word_is_the_one_that_was_looked_at():
    weights = [[0.7, 0.1, 0.1, 0.1], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert alignment_of(weights, (True, False, False)).text == "Zelda the sea"
