"""The likeliest spans equal those found by trying every one; windows are compared; no answer competes."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_llmpath.data.answer_windows import cut_windows
from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.decoding.answer_spans import SpanCollector, answer_questions, answer_windows, best_spans
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.modeling_bert import LLMPathBertForQuestionAnswering

CONTEXT = "Wren went to the mill. Otto sold a red ball there, and told nobody about it. Ada saw it all."
QUESTION = "Who sold the ball?"
TOKENIZER = train_subwords([QUESTION, CONTEXT], vocab_size=120)


def model_of(seed: int = 0) -> LLMPathBertForQuestionAnswering:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.6}
    return LLMPathBertForQuestionAnswering(
        LLMPathBertConfig(vocab_size=len(TOKENIZER), max_position_embeddings=64, pad_token_id=0, **sizes)
    ).eval()


@given(length=st.integers(3, 12), longest=st.integers(1, 14), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_best_spans_are_those_of_trying_every_one(length, longest, seed):
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 1, length, generator=generator) * 3
    allowed = torch.rand(1, length, generator=generator) < 0.7
    allowed[0, 0], allowed[0, 1] = False, True
    values, firsts, lasts, nothing = best_spans(start, end, allowed, longest, count=6)
    among = [0, *allowed[0].nonzero().flatten().tolist()]
    p_start = {
        place: math.exp(start[0, place]) / sum(math.exp(start[0, q]) for q in among) for place in among
    }
    p_end = {place: math.exp(end[0, place]) / sum(math.exp(end[0, q]) for q in among) for place in among}
    spans = [
        (p_start[a] * p_end[b], a, b)
        for a, b in itertools.product(among[1:], among[1:])
        if a <= b and b - a + 1 <= longest
    ]
    expected = sorted(spans, reverse=True)[:6]
    found = [
        (math.exp(v), int(a), int(b))
        for v, a, b in zip(values[0], firsts[0], lasts[0], strict=True)
        if v > -1e9
    ]
    assert [span[1:] for span in found] == [span[1:] for span in expected]
    np.testing.assert_allclose([span[0] for span in found], [span[0] for span in expected], rtol=1e-4)
    assert math.exp(nothing[0]) == pytest.approx(p_start[0] * p_end[0], rel=1e-4)


def test_windows_are_compared_and_a_place_counts_once():
    windows = cut_windows(TOKENIZER, [QUESTION], [CONTEXT], max_length=22, stride=8)
    assert len(windows) >= 3
    collector = SpanCollector(windows)
    word = CONTEXT.index("Otto")
    for window in range(len(windows)):
        length = windows.rows.lengths[window]
        begins = windows.begins[windows.offsets[window] : windows.offsets[window] + length]
        scores = torch.zeros(1, int(length))
        context = np.arange(length)
        place = np.flatnonzero(
            (begins == word) & (context >= windows.first[window]) & (context < windows.stop[window])
        )
        if len(place):
            scores[0, place[0]] = 5.0 + window  # the later window is surer
        else:
            scores[0, 0] = 9.0  # no answer here
        collector.add(np.array([window]), scores, scores)
    best, *others = collector.answers([CONTEXT], top_k=5)[0]
    assert (best.text, best.start, best.end) == ("Otto", word, word + 4)
    spans = [(answer.start, answer.end) for answer in (best, *others)]
    assert len(set(spans)) == len(spans) == 5
    assert best.score > 0.9 and [a.score for a in others] == sorted((a.score for a in others), reverse=True)


def test_no_answer_competes_when_asked_and_needs_every_window():
    windows = cut_windows(TOKENIZER, [QUESTION, QUESTION], [CONTEXT, CONTEXT], max_length=64)
    scores = torch.zeros(2, int(windows.rows.lengths.max()))
    scores[0, 0] = 12.0
    scores[1, windows.first[1]] = 12.0
    for no_answer in (False, True):
        collector = SpanCollector(windows)
        collector.add(np.arange(2), scores, scores)
        first, second = collector.answers([CONTEXT] * 2, top_k=1, no_answer=no_answer)
        assert (first[0].text == "") == no_answer
        assert second[0].text == "Wren"
    assert first[0].score > 0.9 and (first[0].start, first[0].end) == (0, 0)


def test_a_long_context_is_read_whole_in_batches_of_any_size():
    model, long = model_of(), " ".join([CONTEXT] * 8)
    windows = cut_windows(TOKENIZER, [QUESTION], [long], max_length=40, stride=10)
    assert len(windows) > 4
    results = [
        answer_windows(model, windows, 0, batch_size=size).answers([long], 4)[0] for size in (1, 3, 64)
    ]
    for result in results[1:]:
        assert [(a.text, a.start, a.end) for a in result] == [(a.text, a.start, a.end) for a in results[0]]
        assert [a.score for a in result] == pytest.approx([a.score for a in results[0]], rel=1e-4)
    for answer in results[0]:
        assert long[answer.start : answer.end] == answer.text


def test_answers_are_whole_words_and_no_longer_than_asked():
    for answers in answer_questions(
        model_of(3), TOKENIZER, [QUESTION] * 2, [CONTEXT, CONTEXT[:30]], 64, top_k=8, longest=2
    ):
        for answer in answers:
            words = answer.text.replace(".", " .").replace(",", " ,").split()
            assert 1 <= len(words) <= 2
