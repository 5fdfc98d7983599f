"""Packing: blocks hold the documents in order, from the cache or as a stream that fits into any memory."""

import itertools

import datasets
import numpy as np
import pytest

from hf_llmpath.data.batches.packing import pack_blocks, packed
from hf_llmpath.data.tokenizers.subwords import train_subwords
from tests.support.small import text_of_hats

TEXTS = text_of_hats().splitlines()


@pytest.fixture(scope="module")
def tokenizer():
    return train_subwords(TEXTS, "wordpiece", 90)


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "hats.txt"
    path.write_text("\n".join(TEXTS))
    return path


def unpacked(blocks):
    """What the blocks hold, their frames taken off."""
    return [token for block in blocks for token in list(block)[1:-1]]


@pytest.mark.parametrize("size", [3, 8, 33])
def test_blocks_hold_all_documents_in_order(size):
    lengths = [3, 0, 1, 9, 6, 31, 2] * 4
    documents = [
        [100 * number + place for place in range(length)] for number, length in enumerate(lengths, 1)
    ]
    blocks = list(pack_blocks(iter(documents), size, 2, 3))
    assert all(len(block) == size and block[0] == 2 and block[-1] == 3 for block in blocks)
    found = [token for token in unpacked(blocks) if token != 3]
    joined = [token for document in documents for token in document]
    assert found == joined[: len(found)] and len(joined) - len(found) < size - 2
    for block in blocks:  # neighbors are of one document, or a separator stands between them
        for one, other in itertools.pairwise(block[1:-1]):
            assert 3 in (one, other) or other == one + 1


def test_a_block_without_room_is_refused():
    with pytest.raises(ValueError, match="block_size .2. must be at least 3"):
        next(pack_blocks([[5]], 2, 2, 3))


def test_a_stream_is_read_only_as_far_as_it_is_used():
    read = 0

    def endless():
        nonlocal read
        for _ in itertools.count():
            read += 1
            yield [7] * 10

    blocks = list(itertools.islice(pack_blocks(endless(), 32, 2, 3), 100))
    assert len(blocks) == 100 and read <= 100 * 30 / 10 + 1


def test_streamed_blocks_equal_cached_ones_and_those_made_by_hand(tokenizer, text_file):
    options = {"data_files": str(text_file), "split": "train"}
    cached = packed(datasets.load_dataset("text", **options), tokenizer, 24)
    streamed = packed(datasets.load_dataset("text", streaming=True, **options), tokenizer, 24)
    assert isinstance(streamed, datasets.IterableDataset)
    by_hand = list(pack_blocks(tokenizer(TEXTS, add_special_tokens=False)["input_ids"], 24, 2, 3))
    assert len(by_hand) > 50
    for blocks in (cached, streamed):
        assert np.array_equal(np.array([row["input_ids"] for row in blocks]), np.stack(by_hand))


def test_a_second_call_reads_the_cache(tokenizer, text_file, monkeypatch):
    options = {"data_files": str(text_file), "split": "train"}
    first = packed(datasets.load_dataset("text", **options), tokenizer, 24)
    calls = []
    monkeypatch.setattr(type(tokenizer), "__call__", lambda *args, **kwargs: calls.append(args))
    again = packed(datasets.load_dataset("text", **options), tokenizer, 24)
    assert not calls and again["input_ids"] == first["input_ids"]
    assert [file["filename"] for file in again.cache_files] == [
        file["filename"] for file in first.cache_files
    ]


def test_streaming_holds_a_bounded_number_of_documents(tokenizer):
    """The input has no end: reading 2,000 blocks of it ends, and is never more than two batches of
    documents ahead.
    """
    made = 0

    def documents():
        nonlocal made
        while True:
            made += 1
            yield {"text": TEXTS[made % len(TEXTS)]}

    stream = packed(datasets.IterableDataset.from_generator(documents), tokenizer, 24)
    shortest = min(len(ids) for ids in tokenizer(TEXTS, add_special_tokens=False)["input_ids"]) + 1
    for used, row in enumerate(itertools.islice(stream, 2000), 1):
        assert len(row["input_ids"]) == 24
        assert made <= used * 22 / shortest + 2 * 1000
