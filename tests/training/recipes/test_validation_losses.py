"""The loss on a validation split: every target once, whatever the windows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hf_llmpath.data.batches.streams import Documents
from hf_llmpath.training.recipes.character_model import document_loss, stream_loss
from hf_llmpath.training.recipes.gpt import block_loss
from tests.support.small import VOCAB, documents, model_of, tokens_of


class Bigram(torch.nn.Module):
    """A model without a memory: its loss does not depend on where windows begin."""

    def __init__(self):
        super().__init__()
        self.table = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))

    def forward(self, input_ids, cache=None, use_cache=False):
        return SimpleNamespace(logits=self.table[input_ids], cache=None)


@given(st.integers(2, 200), st.integers(1, 9), st.integers(1, 40))
def test_every_target_counts_once(count, streams, length):
    model, tokens = Bigram(), tokens_of(count)
    expected = F.cross_entropy(model.table[tokens[:-1]], torch.from_numpy(tokens[1:])).item()
    assert stream_loss(model, tokens, streams, length) == pytest.approx(expected, rel=1e-5)


@given(st.integers(2, 200), st.integers(1, 30), st.data(), st.integers(1, 5))
def test_every_target_of_overlapping_blocks_counts_once(count, length, data, batch_size):
    stride = data.draw(st.none() | st.integers(1, length))
    model, tokens = Bigram(), tokens_of(count)
    expected = F.cross_entropy(model.table[tokens[:-1]], torch.from_numpy(tokens[1:])).item()
    assert block_loss(model, tokens, length, stride, batch_size) == pytest.approx(expected, rel=1e-5)


def test_overlapping_blocks_guess_from_at_least_what_they_overlap():
    """A model that pays for a guess 1 / (number of tokens it saw): the loss says how many it saw."""

    class Counts(Bigram):
        def forward(self, input_ids, use_cache=False):
            seen = torch.arange(1.0, input_ids.shape[1] + 1)
            right = torch.zeros(*input_ids.shape, VOCAB)
            # After the softmax, the loss of token 0 is 1 / seen.
            right += (torch.exp(1 / seen) - 1)[None, :, None] / (VOCAB - 1)
            right[..., 0] = 1
            return SimpleNamespace(logits=right.log())

    tokens = np.zeros(1 + 64, dtype=np.int64)
    mean = lambda seen: float(np.mean([1 / count for count in seen]))  # noqa: E731
    assert block_loss(Counts(), tokens, 16) == pytest.approx(mean(range(1, 17)), rel=1e-4)
    slid = [*range(1, 17), *(list(range(9, 17)) * 6)]
    assert block_loss(Counts(), tokens, 16, stride=8) == pytest.approx(mean(slid), rel=1e-4)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_one_stream_is_one_pass_over_the_text(cell):
    model, tokens = model_of(cell).eval(), tokens_of(301)
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens[None, :-1])).logits[0]
    expected = F.cross_entropy(logits, torch.from_numpy(tokens[1:])).item()
    assert stream_loss(model, tokens, streams=1, length=32) == pytest.approx(expected, rel=1e-5)
    assert stream_loss(model, tokens, streams=1, length=1000) == pytest.approx(expected, rel=1e-5)


def test_streams_are_the_pieces_of_the_text_each_from_an_empty_state():
    model, tokens = model_of("lstm").eval(), tokens_of(4 * 60 + 1)
    pieces = [stream_loss(model, tokens[start : start + 61], streams=1) for start in range(0, 240, 60)]
    assert stream_loss(model, tokens, streams=4, length=17) == pytest.approx(np.mean(pieces), rel=1e-5)
    assert len(set(pieces)) == 4


def test_document_loss_is_that_of_reading_each_alone():
    model, dataset = model_of("gru").eval(), documents(23)
    total, count = 0.0, 0
    for row in range(len(dataset)):
        batch = dataset.__getitems__([row])
        with torch.no_grad():
            logits = model(batch["input_ids"]).logits[0]
        total += F.cross_entropy(logits, batch["shift_labels"][0], reduction="sum").item()
        count += batch["shift_labels"].numel()
    assert count == int(dataset.lengths.sum())
    for batch_size in (1, 5, 512):
        assert document_loss(model, dataset, batch_size) == pytest.approx(total / count, rel=1e-5)


def test_dropout_is_off_in_an_evaluation():
    model = model_of("lstm", dropout=0.5).train()
    assert stream_loss(model, tokens_of(99)) == stream_loss(model, tokens_of(99))
    model.train()
    assert document_loss(model, documents(5)) == document_loss(model, documents(5))


def test_an_empty_document_costs_its_end_alone():
    model = Bigram()
    empty = Documents([np.zeros(0, dtype=np.int64)], end=2, pad=0)
    assert document_loss(model, empty) == pytest.approx(
        F.cross_entropy(model.table[[2]], torch.tensor([2])).item()
    )
