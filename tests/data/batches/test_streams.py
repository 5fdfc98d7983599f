"""Batches for a language model: nothing of the text is lost, repeated or out of order."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from hf_llmpath.data.batches.streams import IGNORED, Documents, StreamWindows, as_is


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 6), st.data())
def test_windows_read_on_form_the_text_in_order(streams, length, windows, data):
    spare = data.draw(st.integers(0, streams * length - 1))
    tokens = np.arange(streams * length * windows + 1 + spare) * 7
    dataset = StreamWindows(tokens, streams, length)
    assert dataset.windows == windows and len(dataset) == windows * streams
    batches = list(DataLoader(dataset, batch_size=streams, collate_fn=as_is))
    pieces = torch.cat([batch["input_ids"] for batch in batches], dim=1)  # (streams, windows * length)
    read = streams * windows * length
    assert torch.equal(pieces.flatten(), torch.from_numpy(tokens[:read]))
    targets = torch.cat([batch["shift_labels"] for batch in batches], dim=1)
    assert torch.equal(targets.flatten(), torch.from_numpy(tokens[1 : read + 1]))
    assert [bool(batch["first"]) for batch in batches] == [True] + [False] * (windows - 1)


def test_a_share_of_a_batch_is_its_rows():
    dataset = StreamWindows(np.arange(4 * 5 * 3 + 1), streams=4, length=5)
    whole = dataset.__getitems__([4, 5, 6, 7])
    halves = [dataset.__getitems__([4, 5]), dataset.__getitems__([6, 7])]
    for name in ("input_ids", "shift_labels"):
        assert torch.equal(torch.cat([half[name] for half in halves]), whole[name])


@pytest.mark.parametrize("count, fits", [(20, False), (21, True)])
def test_text_of_one_window_is_the_least(count, fits):
    if fits:
        assert StreamWindows(np.arange(count), 4, 5).windows == 1
    else:
        with pytest.raises(ValueError, match="20 tokens are too few for 4 streams of 5 tokens"):
            StreamWindows(np.arange(count), 4, 5)


@given(st.lists(st.lists(st.integers(3, 50), max_size=6), min_size=1, max_size=8), st.data())
def test_every_document_stands_between_two_ends(texts, data):
    dataset = Documents([np.array(text, dtype=np.int64) for text in texts], end=2, pad=0)
    assert len(dataset) == len(texts)
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=5))
    batch = dataset.__getitems__(rows)
    assert batch["input_ids"].shape[1] == max(len(texts[row]) for row in rows) + 1
    for row, inputs, labels in zip(rows, batch["input_ids"], batch["shift_labels"], strict=True):
        n, spare = len(texts[row]) + 1, len(inputs) - len(texts[row]) - 1
        assert inputs.tolist() == [2, *texts[row]] + [0] * spare
        assert labels[:n].tolist() == [*texts[row], 2]
        assert labels[n:].tolist() == [IGNORED] * spare
