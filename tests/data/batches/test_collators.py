"""Masking and padding: exact where they are rules, and in distribution the same as transformers' collator."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding

from hf_llmpath.data.batches.collators import (
    Masking,
    MaskingCollator,
    PaddingCollator,
    length_grouped_batches,
    word_ids_of,
)
from hf_llmpath.data.tokenizers.subwords import train_subwords
from tests.support.small import text_of_hats

TEXTS = text_of_hats().splitlines()
RARE = 1e-4  # of two equal distributions, one test in ten thousand fails by chance; the seeds are fixed


@pytest.fixture(scope="module")
def tokenizer():
    return train_subwords(TEXTS, "wordpiece", 55)  # small, so that words have several pieces


@pytest.fixture(scope="module")
def rows(tokenizer):
    return tokenizer(TEXTS)["input_ids"] * 8


def counts(inputs, labels, ids, mask_id):
    """How many tokens were: not chosen, masked, replaced by another, kept."""
    chosen = labels != -100
    masked, kept = chosen & (inputs == mask_id), chosen & (inputs == ids)
    return [int(part.sum()) for part in (~chosen, masked, chosen & ~masked & ~kept, kept)]


def test_shares_equal_those_of_transformers(tokenizer, rows):
    ours = MaskingCollator(tokenizer, seed=1)
    theirs = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, seed=2)
    plain = PaddingCollator(tokenizer)(rows)
    batch = ours(rows)
    other = theirs([{"input_ids": row} for row in rows])
    real = plain["attention_mask"].bool()
    table = [
        counts(b["input_ids"][real], b["labels"][real], plain["input_ids"][real], tokenizer.mask_token_id)
        for b in (batch, other)
    ]
    assert sum(table[0]) == sum(table[1]) > 20_000
    assert chi2_contingency(table).pvalue > RARE
    # and not merely equal to each other: 15 % of the maskable tokens, of them 80 / 10 / 10 (a random
    # token may be [MASK] or the token itself, which the shares allow for)
    maskable = int((real & ~torch.isin(plain["input_ids"], torch.tensor(tokenizer.all_special_ids))).sum())
    chosen, vocabulary = 0.15 * maskable, len(tokenizer)
    shares = np.array([0.8 + 0.1 / vocabulary, 0.1 * (1 - 2 / vocabulary), 0.1 + 0.1 / vocabulary])
    assert sum(table[0][1:]) == pytest.approx(chosen, abs=4 * np.sqrt(chosen))
    assert chisquare(table[0][1:], shares / shares.sum() * sum(table[0][1:])).pvalue > RARE


def test_random_tokens_are_drawn_from_the_whole_vocabulary_as_those_of_transformers(tokenizer, rows):
    ours = MaskingCollator(tokenizer, rate=1.0, mask=0.0, random=1.0, seed=1)(rows)
    theirs = DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=1.0, mask_replace_prob=0, random_replace_prob=1, seed=2
    )([{"input_ids": row} for row in rows])
    table = [
        np.bincount(b["input_ids"][b["labels"] != -100], minlength=len(tokenizer)) for b in (ours, theirs)
    ]
    assert chi2_contingency(table).pvalue > RARE
    assert chisquare(table[0]).pvalue > RARE


def test_only_chosen_tokens_change_and_labels_are_what_was_there(tokenizer, rows):
    plain = PaddingCollator(tokenizer)(rows[:200])["input_ids"]
    batch = MaskingCollator(tokenizer, rate=0.5, seed=3)(rows[:200])
    chosen = batch["labels"] != -100
    assert torch.equal(batch["input_ids"][~chosen], plain[~chosen])
    assert torch.equal(batch["labels"][chosen], plain[chosen])
    special = torch.isin(plain, torch.tensor(tokenizer.all_special_ids))
    assert special.any() and not (chosen & special).any()


def test_the_same_seed_gives_the_same_masks_whatever_else_is_drawn(tokenizer, rows):
    one, other = MaskingCollator(tokenizer, seed=5), MaskingCollator(tokenizer, seed=5)
    first = [one(rows[:8]), one(rows[:8])]
    torch.manual_seed(99)
    again = [other(rows[:8]), other(rows[:8])]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a["input_ids"], b["input_ids"]) and torch.equal(a["labels"], b["labels"])
    assert not torch.equal(first[0]["labels"], first[1]["labels"])
    state = torch.get_rng_state()
    one(rows[:8])
    assert torch.equal(state, torch.get_rng_state())


def encoded(tokenizer, texts):
    found = tokenizer(texts)
    return [
        {"input_ids": ids, "word_ids": word_ids_of(found, row)} for row, ids in enumerate(found["input_ids"])
    ]


def test_whole_words_are_chosen_together(tokenizer):
    examples = encoded(tokenizer, TEXTS)
    assert max(len(row["input_ids"]) - 2 - max(row["word_ids"]) for row in examples) > 1
    batch = MaskingCollator(tokenizer, rate=0.3, whole_word=True, seed=0)(examples)
    assert "word_ids" not in batch
    for labels, row in zip(batch["labels"].tolist(), examples, strict=True):
        fate = {}
        for label, word in zip(labels, row["word_ids"], strict=False):
            if word >= 0:
                assert fate.setdefault(word, label != -100) == (label != -100)


def test_whole_words_are_chosen_as_often_as_by_transformers(tokenizer):
    # Without punctuation: a comma right after a word is a word of its own for us and a part of it for
    # transformers.
    texts = [text.replace('"', "").replace(".", "") for text in TEXTS] * 8
    found = tokenizer(texts, padding=True, return_offsets_mapping=True, return_special_tokens_mask=True)
    theirs = DataCollatorForLanguageModeling(
        tokenizer,
        mlm_probability=0.2,
        whole_word_mask=True,
        mask_replace_prob=1,
        random_replace_prob=0,
        seed=2,
    )([{key: found[key][row] for key in found} for row in range(len(texts))])
    ours = MaskingCollator(tokenizer, rate=0.2, mask=1.0, random=0.0, whole_word=True, seed=1)(
        encoded(tokenizer, texts)
    )
    real = ours["attention_mask"].bool()
    chosen = [int((batch["labels"][real] != -100).sum()) for batch in (ours, theirs)]
    rest = [int(real.sum()) - count for count in chosen]
    # Tokens of a word are not independent: the spread is at most that of words of four pieces.
    assert abs(chosen[0] - chosen[1]) < 4 * np.sqrt(2 * 4 * 0.2 * 0.8 * real.sum().item())
    assert min(chosen) > 3000 and min(rest) > 0


def test_whole_word_masking_asks_for_word_ids(tokenizer, rows):
    with pytest.raises(ValueError, match="needs word_ids"):
        MaskingCollator(tokenizer, whole_word=True)(rows[:2])


@pytest.mark.parametrize("changes", [{"rate": 1.1}, {"mask": -0.1}, {"mask": 0.9, "random": 0.2}])
def test_impossible_shares_are_refused(changes):
    with pytest.raises(ValueError):
        Masking(4, 100, **changes)


@pytest.mark.parametrize("multiple", [1, 8])
def test_padding_equals_that_of_transformers(tokenizer, multiple):
    rows = [{**{k: v[i] for k, v in tokenizer(TEXTS[:9]).items()}, "label": i % 2} for i in range(9)]
    ours = PaddingCollator(tokenizer, multiple)(rows)
    theirs = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=multiple)(rows)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_batches_of_similar_length_hold_every_row_once_and_little_padding():
    lengths = np.random.default_rng(0).integers(3, 60, 1003)
    padding = {}
    for pool in (1, 32):
        batches = length_grouped_batches(lengths, 16, np.random.default_rng(1), pool)
        assert sorted(np.concatenate(batches)) == list(range(1003))
        assert sorted(map(len, batches))[-2:] == [16, 16] and len(batches) == 63
        places = sum(len(batch) * lengths[batch].max() for batch in batches)
        padding[pool] = 1 - lengths.sum() / places
    assert padding[1] > 0.35 and padding[32] < 0.05
    first, second = (
        np.concatenate(length_grouped_batches(lengths, 16, np.random.default_rng(s))) for s in (1, 2)
    )
    assert (first != second).mean() > 0.9
