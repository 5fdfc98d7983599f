"""Token files: a batch holds what was written, the file is memory-mapped, and an epoch covers all of it."""

import mmap

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, SequentialSampler

from hf_llmpath.data.batches.token_file import TokenBlocks, read_tokens, write_tokens
from hf_llmpath.errors import UserError


@pytest.mark.parametrize("vocab_size, dtype", [(70, np.uint16), (2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_what_is_written_is_read_and_not_held_in_memory(tmp_path, vocab_size, dtype):
    ids = np.random.default_rng(0).integers(0, vocab_size, 1000)
    ids[:2] = 0, vocab_size - 1
    tokens = read_tokens(write_tokens(tmp_path / "train.npy", ids, vocab_size))
    assert tokens.dtype == dtype and isinstance(tokens, np.memmap) and isinstance(tokens._mmap, mmap.mmap)
    assert np.array_equal(tokens, ids)
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


def test_ids_outside_the_vocabulary_are_refused(tmp_path):
    with pytest.raises(ValueError, match="from 0 to 7 do not fit a vocabulary of 7"):
        write_tokens(tmp_path / "train.npy", np.arange(8), 7)
    assert not list(tmp_path.iterdir())


def test_a_block_is_a_piece_of_the_text_and_its_targets_are_one_further():
    tokens = np.arange(1000)
    batch = TokenBlocks(tokens, 16, 8, 20, seed=3).__getitems__(list(range(8, 16)))
    assert batch["input_ids"].shape == batch["shift_labels"].shape == (8, 16)
    assert batch["input_ids"].dtype is torch.int64
    assert torch.equal(batch["shift_labels"], batch["input_ids"] + 1)
    assert torch.equal(batch["input_ids"][:, 1:], batch["input_ids"][:, :-1] + 1)


def test_an_epoch_reads_everything_once_and_the_next_in_another_order():
    blocks = TokenBlocks(np.arange(1000), 16, 1, 400, seed=0)
    first = blocks.starts[:61]
    assert len(set(first)) >= 60 and len(set(first % 16)) <= 2
    read = np.concatenate([start + np.arange(16) for start in sorted(first)[:60]])
    assert len(set(read)) == 960
    offsets = {int(start) % 16 for start in blocks.starts}
    assert len(offsets) > 3  # a new cut in every epoch
    assert blocks.epochs == 6.4 and len(blocks) == 400
    assert blocks.starts.max() + 16 < 1000


def test_the_plan_depends_on_the_seed_alone_and_processes_share_it():
    tokens = np.arange(500)
    one, same, other = (TokenBlocks(tokens, 8, 4, 10, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.starts, same.starts) and not np.array_equal(one.starts, other.starts)
    longer = TokenBlocks(tokens, 8, 4, 30, 1)
    assert np.array_equal(longer.starts[:40], one.starts)
    sampler = BatchSampler(SequentialSampler(one), 4, drop_last=True)
    halves = [list(BatchSamplerShard(sampler, 2, process, split_batches=True)) for process in (0, 1)]
    for step, pair in enumerate(zip(*halves, strict=True)):
        both = torch.cat([one.__getitems__(rows)["input_ids"] for rows in pair])
        assert torch.equal(both, one.__getitems__(list(range(4 * step, 4 * step + 4)))["input_ids"])


def test_one_block_is_enough_and_less_is_told():
    assert len(TokenBlocks(np.arange(9), 8, 2, 3, 0)) == 6
    with pytest.raises(
        UserError, match="has 8 tokens; a context of 8 needs at least 9: give more text, or --set context"
    ):
        TokenBlocks(np.arange(8), 8, 2, 3, 0)


def test_files_of_something_else_are_told(tmp_path):
    with pytest.raises(UserError, match="no token file"):
        read_tokens(tmp_path / "none.npy")
    (tmp_path / "text.npy").write_text("Once upon a time")
    with pytest.raises(UserError, match="text.npy is no token file"):
        read_tokens(tmp_path / "text.npy")
    np.save(tmp_path / "floats.npy", np.ones((2, 2)))
    with pytest.raises(UserError, match=r"holds float64 of shape \(2, 2\)"):
        read_tokens(tmp_path / "floats.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(UserError, match="is no token file"):  # a pickle is not read
        read_tokens(tmp_path / "objects.npy")
