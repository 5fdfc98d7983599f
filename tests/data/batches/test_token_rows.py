"""Planned batches: what a step reads depends on the seed and the step, and on nothing else."""

import numpy as np
import pytest
import torch

from hf_llmpath.data.batches.collators import Masking
from hf_llmpath.data.batches.token_rows import TokenRows, TrainingBatches

LENGTHS = np.random.default_rng(0).integers(3, 20, 57)
ROWS = [[2, *np.random.default_rng(n).integers(5, 30, n - 2).tolist(), 3] for n in LENGTHS]
MASKING = {"masking": Masking(4, 30, rate=0.3), "special": (0, 1, 2, 3, 4)}


def batches(steps=20, seed=0, size=8, **options):
    return TrainingBatches(TokenRows(ROWS), size, steps, pad=0, seed=seed, **options)


def step(dataset, number):
    size = dataset.batch_size
    return dataset.__getitems__(list(range(number * size, (number + 1) * size)))


def test_rows_come_back_padded():
    ids, there = TokenRows(ROWS).padded(np.array([3, 50, 7]), pad=0)
    assert ids.shape == there.shape == (3, max(len(ROWS[i]) for i in (3, 50, 7)))
    for row, mask, index in zip(ids, there, (3, 50, 7), strict=True):
        assert row[mask.bool()].tolist() == ROWS[index]
        assert (row[~mask.bool()] == 0).all()


def test_an_epoch_reads_no_row_twice_and_the_next_one_another_order():
    dataset = batches(14)
    epochs = dataset.plan[:7].ravel(), dataset.plan[7:].ravel()
    for epoch in epochs:
        assert len(set(epoch)) == 56
    assert (epochs[0] != epochs[1]).any()
    assert dataset.epochs == pytest.approx(14 * 8 / 57)
    assert len(dataset) == 14 * 8


def test_a_step_is_the_same_whoever_came_before():
    whole, late = batches(**MASKING), batches(**MASKING)
    for number in range(19):
        step(whole, number)
    a, b = step(whole, 19), step(late, 19)
    assert all(torch.equal(a[name], b[name]) for name in a)
    other = step(batches(seed=1, **MASKING), 19)
    assert a["input_ids"].shape != other["input_ids"].shape or not torch.equal(
        a["input_ids"], other["input_ids"]
    )


def test_processes_share_a_batch_without_changing_it():
    dataset = batches(**MASKING)
    whole = step(dataset, 2)
    halves = [dataset.__getitems__(list(range(16 + 4 * part, 20 + 4 * part))) for part in (0, 1)]
    for name in whole:
        assert torch.equal(torch.cat([half[name] for half in halves]), whole[name])


def test_the_same_text_gets_another_mask_in_every_epoch():
    dataset = TrainingBatches(TokenRows([ROWS[0]] * 8), 8, 2, pad=0, seed=0, **MASKING)
    assert not torch.equal(step(dataset, 0)["labels"], step(dataset, 1)["labels"])


def test_labels_stay_with_their_rows():
    labels = np.arange(57) % 2
    dataset = batches(labels=labels)
    for number in range(7):
        batch = step(dataset, number)
        assert batch["labels"].tolist() == labels[dataset.plan[number]].tolist()
        for ids, mask, row in zip(
            batch["input_ids"], batch["attention_mask"], dataset.plan[number], strict=True
        ):
            assert ids[mask.bool()].tolist() == ROWS[row]


def test_fewer_rows_than_a_batch_are_one_batch():
    dataset = TrainingBatches(TokenRows(ROWS[:5]), 32, 3, pad=0, seed=0)
    assert dataset.batch_size == 5 and len(dataset) == 15
    assert sorted(dataset.plan[1]) == list(range(5))


def test_tokens_per_step_counts_what_is_read():
    dataset = batches()
    read = sum(int(step(dataset, number)["attention_mask"].sum()) for number in range(20))
    assert dataset.tokens_per_step == read // 20
