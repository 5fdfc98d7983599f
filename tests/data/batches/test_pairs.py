"""Documents with summaries: reading them, and their batches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_llmpath.data.batches.pairs import PairBatches, load_pairs, split_sentences
from hf_llmpath.errors import UserError

SCITLDR = Path(__file__).parents[3] / "shared" / "data" / "scitldr"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.slow
def test_the_world_has_pairs():
    pairs = load_pairs("world/summaries")
    assert (
        len(pairs.train) == pairs.provenance["sizes"]["train_rows"]
        and pairs.provenance["measured_on"] == "test"
    )
    pair = pairs.test[0]
    assert " ".join(pair.sentences) == pair.document and len(pair.sentences) > 3 and len(pair.summaries) == 1


def test_columns_of_texts_and_of_lists_read_the_same(tmp_path):
    texts = [{"article": f"It rained {i} days. We slept. ", "highlights": f"Rain {i}."} for i in range(6)]
    lists = [
        {"source": [f"It rained {i} days.", "We slept."], "target": [f"Rain {i}.", " "]} for i in range(6)
    ]
    one, two = (
        load_pairs(write(tmp_path / name, rows)) for name, rows in (("a.jsonl", texts), ("b.jsonl", lists))
    )
    assert one.train == two.train and one.test == two.test
    assert one.train[0].sentences[1] == "We slept." and len(one.train[0].summaries) == 1
    assert one.provenance["measured_on"] == "validation"


def test_named_columns_and_several_summaries(tmp_path):
    rows = [{"a": f"Text {i}.", "b": ["One.", "Two."]} for i in range(4)]
    pairs = load_pairs(write(tmp_path / "x.jsonl", rows), "a", "b")
    assert pairs.train[0].summaries == ["One.", "Two."]
    with pytest.raises(UserError, match=r"no document column .* name one of: a, b"):
        load_pairs(str(tmp_path / "x.jsonl"))


def test_rows_without_text_are_left_out_and_other_things_refused(tmp_path):
    rows = [{"document": "A text.", "summary": "Text."}] * 3 + [{"document": "", "summary": "Nothing."}] * 30
    pairs = load_pairs(write(tmp_path / "x.jsonl", rows + [{"document": "B text.", "summary": "Text."}] * 20))
    assert all(pair.document for pair in pairs.train)
    with pytest.raises(UserError, match="no row with a document and a summary"):
        load_pairs(write(tmp_path / "y.jsonl", [{"document": " ", "summary": "x"}] * 5))
    with pytest.raises(UserError, match="the document is int; it must be a text or a list of texts"):
        load_pairs(write(tmp_path / "z.jsonl", [{"document": 5, "summary": "x"}] * 5))


@pytest.mark.skipif(not SCITLDR.exists(), reason="no ../shared/data/scitldr")
def test_scitldr_has_lists_of_sentences_and_summaries():
    pairs = load_pairs(str(SCITLDR))
    assert (len(pairs.train), len(pairs.test)) == (1992, 618)
    assert len(pairs.test[0].sentences) > 3 and max(len(pair.summaries) for pair in pairs.test) > 1


def test_sentences():
    text = 'It rained. "Why?" she asked. "Go!" He went ... and (so they say) came back! Done'
    expected = [
        "It rained.",
        '"Why?"',
        "she asked.",
        '"Go!"',
        "He went ...",
        "and (so they say) came back!",
        "Done",
    ]
    assert split_sentences(text) == expected
    assert split_sentences("No end") == ["No end"] and split_sentences("  ") == []


def batches(seed=0, steps=7, batch_size=4, count=30):
    random = np.random.default_rng(1)
    sources = [list(range(3, 3 + n)) for n in random.integers(2, 20, count)]
    return sources, PairBatches(
        sources, [[row] * (1 + row % 3) for row in range(count)], batch_size, steps, 0, seed
    )


def read(data):
    size = data.batch_size
    return [
        data.__getitems__(list(range(step * size, (step + 1) * size))) for step in range(len(data) // size)
    ]


def test_batches_hold_the_pairs_with_padding_masked():
    sources, data = batches()
    for batch in read(data):
        assert batch["input_ids"].shape == batch["attention_mask"].shape
        assert (batch["attention_mask"].sum(1) == batch["input_ids"].shape[1]).any()
        for ids, mask, labels in zip(
            batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
        ):
            row = int(labels[0])
            assert ids[mask.bool()].tolist() == sources[row] and not ids[~mask.bool()].any()
            assert labels[labels != -100].tolist() == [row] * (1 + row % 3)


def test_an_epoch_reads_every_row_at_most_once_and_the_order_is_the_seeds():
    _, data = batches(steps=7)
    assert len(np.unique(data.plan)) == data.plan.size
    assert np.array_equal(data.plan, batches(steps=7)[1].plan)
    assert not np.array_equal(data.plan, batches(seed=1)[1].plan)
    assert np.array_equal(batches(steps=3)[1].plan, data.plan[:3])


def test_grouping_by_length_saves_padding():
    sources, data = batches(count=120, steps=30)
    lengths = np.array([len(source) for source in sources])
    shuffled = np.random.default_rng(0).permutation(120).reshape(30, 4)
    plain = 1 - lengths[shuffled].sum() / (lengths[shuffled].max(axis=1) * 4).sum()
    assert data.padding < 0.5 * plain


def test_processes_that_share_a_batch_get_equal_shapes_and_together_all_of_it():
    _, data = batches()
    whole, halves = data.__getitems__([0, 1, 2, 3]), [data.__getitems__([0, 1]), data.__getitems__([2, 3])]
    for name, value in whole.items():
        assert torch.equal(torch.cat([half[name] for half in halves]), value)


def test_hidden_words_are_hidden_in_source_and_target_alike():
    sources = [[3, 4, 5, 6, 3, 4, 5, 6, 2]] * 40
    targets = [[5, 6, 3, 4, 7, 2]] * 40  # 7 is in no source
    data = PairBatches(sources, targets, 40, 3, pad=0, seed=0, unknown=1, hidden=0.3)
    batch = data.__getitems__(list(range(40)))
    source, target = batch["input_ids"], batch["labels"]
    assert torch.equal(source[:, :4], source[:, 4:8]) and torch.equal(source[:, [2, 3, 0, 1]], target[:, :4])
    assert (source[:, -1] == 2).all() and (target[:, -2:] == torch.tensor([7, 2])).all()
    assert 0.2 < (source[:, :4] == 1).float().mean() < 0.4
    again = data.__getitems__(list(range(40, 80)))["input_ids"]
    assert not torch.equal(again, source)
    parts = [data.__getitems__(list(range(half, half + 20)))["input_ids"] for half in (0, 20)]
    assert torch.equal(torch.cat(parts), source)
