"""The adding problem and the toy tasks: their inputs have the answer in them, and splits share none."""

import datetime
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_llmpath.data.algorithmic import (
    LONGER,
    LONGEST,
    TOY_TASKS,
    adding_problem,
    date_formats,
    split_of,
    toy_pairs,
    toy_tokenizer,
)


@given(st.integers(1, 20), st.integers(2, 60), st.integers(0, 2**31))
def test_adding_problem_is_solved_by_its_rule(examples, length, seed):
    inputs, targets = adding_problem(examples, length, torch.Generator().manual_seed(seed))
    assert inputs.shape == (examples, length, 2) and targets.shape == (examples,)
    numbers, markers = inputs.unbind(-1)
    assert torch.allclose((numbers * markers).sum(1), targets)
    assert set(markers.unique().tolist()) <= {0.0, 1.0}
    half = length // 2
    assert (markers[:, :half].sum(1) == 1).all() and (markers[:, half:].sum(1) == 1).all()
    assert ((numbers >= 0) & (numbers < 1)).all()


def test_always_answering_one_gives_a_sixth():
    _, targets = adding_problem(100_000, 2, torch.Generator().manual_seed(0))
    assert (targets - 1).square().mean().item() == pytest.approx(1 / 6, rel=0.02)


def test_markers_stand_everywhere():
    inputs, _ = adding_problem(4000, 10, torch.Generator().manual_seed(0))
    share = inputs[..., 1].mean(0)
    assert torch.allclose(share, torch.full((10,), 0.2), atol=0.03)


def test_the_same_generator_state_gives_the_same_examples():
    one, other = (adding_problem(3, 9, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


@pytest.mark.parametrize(
    "task, answer", [("reverse", lambda x: x[::-1]), ("sort", lambda x: "".join(sorted(x)))]
)
def test_words_are_reversed_and_sorted(task, answer):
    for split in ("train", "validation", "test", "longer"):
        for source, target in toy_pairs(task, split, 200):
            name, _, letters = source.partition(": ")
            assert name == task and target == answer(letters)
            low, high = LONGER if split == "longer" else (3, LONGEST)
            assert low <= len(letters) <= high


def test_a_date_means_the_same_in_every_format():
    date = datetime.date(1998, 3, 3)
    assert date_formats(date) == [
        "3 march 1998",
        "march 3, 1998",
        "3rd of march 1998",
        "3 mar 1998",
        "3.3.1998",
        "1998/3/3",
    ]
    ordinals = {
        day: date_formats(datetime.date(2000, 1, day))[2].split()[0] for day in (1, 2, 11, 12, 13, 21, 22, 30)
    }
    assert list(ordinals.values()) == ["1st", "2nd", "11th", "12th", "13th", "21st", "22nd", "30th"]
    pairs = toy_pairs("date", "train", 2000)
    for source, target in pairs:
        assert source.removeprefix("date: ") in date_formats(datetime.date.fromisoformat(target))
    shapes = {re.sub("[0-9]+", "0", re.sub("[a-z]+", "a", source)) for source, _ in pairs}
    assert len(shapes) == 5  # "3 march 1998" and "3 mar 1998" have one shape


@pytest.mark.parametrize("task", TOY_TASKS)
def test_splits_share_no_answer(task):
    answers = {
        split: {target for _, target in toy_pairs(task, split, 3000)}
        for split in ("train", "validation", "test")
    }
    assert not answers["train"] & answers["test"]
    assert not answers["train"] & answers["validation"]
    assert not answers["validation"] & answers["test"]
    assert all(split_of(answer) == split for split, found in answers.items() for answer in found)


def test_toy_pairs_depend_on_their_arguments_alone():
    assert toy_pairs("sort", "test", 20) == toy_pairs("sort", "test", 50)[:20]
    assert toy_pairs("sort", "test", 20) != toy_pairs("sort", "test", 20, seed=1)


@pytest.mark.parametrize("task, split", [("date", "longer"), ("sort", "tset"), ("srot", "test")])
def test_what_there_is_not_is_an_error(task, split):
    with pytest.raises(ValueError):
        toy_pairs(task, split, 1)


def test_the_tokenizer_has_one_token_per_character_and_task(tmp_path):
    from transformers import AutoTokenizer

    toy_tokenizer().save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for task in TOY_TASKS:
        for source, target in toy_pairs(task, "test", 50):
            ids = tokenizer(source)["input_ids"]
            assert len(ids) == 1 + len(source) - len(f"{task}: ") + 1
            assert ids[-1] == tokenizer.eos_token_id and tokenizer.unk_token_id not in ids
            assert tokenizer.decode(tokenizer(target)["input_ids"], skip_special_tokens=True) == target
