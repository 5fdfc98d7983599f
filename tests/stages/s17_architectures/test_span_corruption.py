"""Span corruption: the paper's statistics, and that input and target together are the text."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import AutoTokenizer

from hf_llmpath.data.batches.streams import IGNORED, as_is
from hf_llmpath.data.batches.token_rows import TokenRows, TrainingBatches
from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.stages.s17_architectures.span_corruption import (
    CausalBatches,
    SpanBatches,
    SpanCorruption,
    SpanCorruptionCollator,
    add_sentinels,
    open_ended,
    restore,
    sentinels_of,
    text_to_text,
)

SENTINELS, EOS, PAD = tuple(range(900, 999)), 1, 0


def corruption(**changes) -> SpanCorruption:
    return SpanCorruption(**{"sentinels": SENTINELS, "eos_id": EOS, "pad_id": PAD} | changes)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def runs(mask: torch.Tensor) -> torch.Tensor:
    """How many spans each row of a mask has."""
    return (mask & ~torch.nn.functional.pad(mask, (1, 0))[:, :-1]).sum(1)


def texts(lengths, seed=0):
    draws = torch.randint(10, 900, (len(lengths), max(lengths)), generator=generator(seed))
    return draws, torch.tensor(lengths)


@pytest.mark.parametrize("density, mean_span", [(0.15, 3.0), (0.15, 5.0), (0.5, 3.0), (0.3, 1.0)])
def test_density_and_mean_length_are_those_asked_for(density, mean_span):
    lengths = torch.full((400,), 512)
    mask = corruption(density=density, mean_span=mean_span, roll=False).noise_mask(lengths, generator())
    assert torch.equal(mask.sum(1), torch.full((400,), round(512 * density)))
    assert torch.equal(runs(mask), torch.full((400,), round(round(512 * density) / mean_span)))
    assert mask.sum() / runs(mask).sum() == pytest.approx(mean_span, rel=0.04)  # whole spans


def test_input_and_target_are_as_long_as_in_the_paper():
    """568 tokens lose 85 in 28 spans: an input of 512."""
    ids, lengths = texts([568] * 8)
    batch = corruption(roll=False)(ids, lengths, generator())
    assert batch["input_ids"].shape == (8, 512) and batch["labels"].shape == (8, 115)
    # One more than the 114 of T5's code, which leaves out the last sentinel that the paper has.


def test_every_way_to_cut_is_equally_likely():
    """Noise of 4 in 2 spans: 1 + 3, 2 + 2 and 3 + 1 are drawn equally often."""
    mask = corruption(density=0.4, mean_span=2.0, roll=False).noise_mask(torch.full((9000,), 10), generator())
    begins = (mask & ~torch.nn.functional.pad(mask, (1, 0))[:, :-1]).long().cumsum(1)
    first = (mask & (begins == 1)).sum(1)
    counts = torch.bincount(first, minlength=4)[1:4]
    assert counts.sum() == 9000 and counts.min() > 2800


def test_rolled_noise_is_everywhere_alike():
    lengths = torch.full((20_000,), 20)
    rolled = corruption().noise_mask(lengths, generator()).float().mean(0)
    assert rolled.min() > 0.13 and rolled.max() < 0.17
    fixed = corruption(roll=False).noise_mask(lengths, generator()).float().mean(0)
    assert fixed[-1] == 1 and fixed[0] == 0  # the pattern of T5's own code ends every text with a span


@pytest.mark.parametrize("roll", [True, False])
@pytest.mark.parametrize("density, mean_span", [(0.15, 3.0), (0.6, 2.0)])
def test_input_and_target_restore_the_text(roll, density, mean_span):
    ids, lengths = texts([1, 2, 3, 5, 8, 13, 40, 64, 64, 30])
    batch = corruption(roll=roll, density=density, mean_span=mean_span)(ids, lengths, generator(3))
    seen = 0
    for row, (source, target) in enumerate(zip(batch["input_ids"], batch["labels"], strict=True)):
        source = source[batch["attention_mask"][row].bool()].tolist()
        target = target[target != IGNORED].tolist()
        assert source[-1] == target[-1] == EOS and source.count(EOS) == target.count(EOS) == 1
        text = ids[row, : lengths[row]].tolist()
        assert restore(source[:-1], target[:-1], SENTINELS) == text
        marks = [token for token in target if token in SENTINELS]
        assert (
            marks == list(SENTINELS[: len(marks)]) and target[-2] == marks[-1]
        )  # in order, the last one ends it
        assert [token for token in source if token in SENTINELS] == marks[:-1]
        assert len(source) + len(target) == len(text) + 2 * len(marks) - 1 + 2
        seen += len(marks) - 1
    assert seen > 10


@pytest.mark.parametrize("lengths", [[1, 1], [0, 0], [0, 1, 9]])
def test_texts_too_short_for_a_span_stay_whole(lengths):
    ids = torch.arange(10, 10 + 10 * len(lengths)).view(len(lengths), 10)
    batch = corruption()(ids, torch.tensor(lengths), generator())
    for row, length in enumerate(lengths):
        source = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
        target = [token for token in batch["labels"][row].tolist() if token != IGNORED]
        if length < 2:
            assert source == [*ids[row, :length].tolist(), EOS] and target == [SENTINELS[0], EOS]
        else:
            assert restore(source[:-1], target[:-1], SENTINELS) == ids[row, :length].tolist()


def test_the_batch_of_a_seed_is_the_same_and_that_of_another_is_not():
    ids, lengths = texts([40] * 4)
    one, same, other = (corruption()(ids, lengths, generator(seed))["labels"] for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one[:, :8], other[:, :8])


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"density": 1.0}, "density"),
        ({"mean_span": 0.5}, "mean_span"),
        ({"sentinels": (9,)}, "at least 2 sentinels"),
    ],
)
def test_what_cannot_be_is_told(changes, said):
    with pytest.raises(ValueError, match=said):
        corruption(**changes)


def test_too_few_sentinels_are_told():
    ids, lengths = texts([512])
    with pytest.raises(ValueError, match="the tokenizer has 4"):
        corruption(sentinels=(1, 2, 3, 4))(ids, lengths, generator())


WORDS = ["the cat sat on the mat and looked at the dog", "a dog ran to the cat and the mat", "no cat"] * 4


@pytest.fixture(scope="module")
def tokenizer():
    made = train_subwords(WORDS, "wordpiece", 60)
    before = len(made)
    ids = add_sentinels(made, 6)
    assert ids == sentinels_of(made) == tuple(range(before, before + 6)) and len(made) == before + 6
    assert add_sentinels(made, 6) == ids  # once is enough
    return made


def test_the_collator_reads_what_a_tokenizer_writes(tokenizer):
    rows = [{"input_ids": tokenizer(text)["input_ids"]} for text in WORDS[:3]]
    loader = DataLoader(rows, batch_size=3, collate_fn=SpanCorruptionCollator(tokenizer, density=0.3, seed=1))
    batch = next(iter(loader))
    for row, text in enumerate(WORDS[:3]):
        target = [token for token in batch["labels"][row].tolist() if token != IGNORED]
        source = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
        whole = restore(source[:-1], target[:-1], sentinels_of(tokenizer))
        assert tokenizer.decode(whole) == text
        assert source[-1] == tokenizer.sep_token_id


def test_the_tokenizer_of_texts_to_texts_is_found_again(tokenizer, tmp_path):
    made = text_to_text(tokenizer)
    made.save_pretrained(tmp_path)
    for reader in (made, AutoTokenizer.from_pretrained(tmp_path)):
        assert dict(reader("the cat <extra_id_1> sat")).keys() == {"input_ids", "attention_mask"}
        ids = reader("the cat <extra_id_1> sat")["input_ids"]
        assert ids == [*tokenizer("the cat <extra_id_1> sat")["input_ids"][1:-1], tokenizer.sep_token_id]
        assert sentinels_of(reader)[1] in ids and reader.eos_token_id == tokenizer.sep_token_id
    ids = open_ended(tokenizer)("the cat")["input_ids"]
    assert ids == tokenizer("the cat")["input_ids"][:-1]
    assert tokenizer("the")["input_ids"][0] == tokenizer.cls_token_id  # the other one is as it was


def test_the_three_objectives_read_the_same_texts(tokenizer):
    rows = TokenRows(tokenizer(WORDS)["input_ids"])
    made = [
        kind(rows, 4, 5, tokenizer.pad_token_id, 7) for kind in (TrainingBatches, CausalBatches, SpanBatches)
    ]
    made[2].corruption = SpanCorruption(
        sentinels_of(tokenizer), tokenizer.sep_token_id, tokenizer.pad_token_id
    )
    assert all(np.array_equal(data.plan, made[0].plan) for data in made)
    plain, causal, spans = (list(DataLoader(data, batch_size=4, collate_fn=as_is)) for data in made)
    assert len(plain) == len(causal) == len(spans) == 5
    for one, other, corrupted in zip(plain, causal, spans, strict=True):
        assert torch.equal(one["input_ids"], other["input_ids"])
        padding = one["attention_mask"] == 0
        assert torch.equal(other["labels"] == IGNORED, padding)
        assert torch.equal(other["labels"][~padding], one["input_ids"][~padding])
        for row, source in enumerate(corrupted["input_ids"]):
            kept = source[corrupted["attention_mask"][row].bool()][:-1].tolist()
            told = [token for token in corrupted["labels"][row].tolist() if token != IGNORED][:-1]
            text = one["input_ids"][row][one["attention_mask"][row].bool()][1:-1].tolist()
            assert restore(kept, told, sentinels_of(tokenizer)) == text
