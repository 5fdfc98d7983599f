"""Questions read and checked; windows that overlap and miss nothing; labels that give the answer back."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_llmpath.data.answer_windows import check_questions, cut_windows, label_windows, load_questions
from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.errors import UserError
from hf_llmpath.world import generate

RECORDS = generate("questions", "train", 200)
TOKENIZER = train_subwords(
    [text for row in RECORDS for text in (row["question"], row["context"])], vocab_size=400
)
QUESTION, CONTEXT = (
    "Who sold the ball?",
    "Wren went to the mill. Otto sold a red ball there, and told nobody about it.",
)


def test_the_label_of_every_window_is_the_answer():
    questions, contexts, answers = (
        [row[name] for row in RECORDS] for name in ("question", "context", "answers")
    )
    windows = cut_windows(TOKENIZER, questions, contexts, max_length=128)
    starts, ends = label_windows(windows, answers)
    assert len(windows) == len(RECORDS) and (starts > 0).all()
    begins, stops = windows.characters(np.arange(len(windows)), starts, ends)
    for row, begin, stop in zip(RECORDS, begins, stops, strict=True):
        assert row["context"][begin:stop] == row["answers"]["text"][0]


@given(max_length=st.integers(24, 70), stride=st.integers(0, 10), row=st.integers(0, len(RECORDS) - 1))
@settings(max_examples=60, deadline=None)
def test_windows_cover_the_context_and_overlap_by_the_stride(max_length, stride, row):
    record = RECORDS[row]
    windows = cut_windows(TOKENIZER, [record["question"]], [record["context"]], max_length, stride, 8)
    assert (windows.rows.lengths <= max_length).all()
    whole = TOKENIZER(record["context"], add_special_tokens=False)["input_ids"]
    asked = TOKENIZER(record["question"], add_special_tokens=False)["input_ids"][:8]
    found, last = [], len(windows) - 1
    for window in range(len(windows)):
        begin, length = windows.offsets[window], windows.rows.lengths[window]
        ids = windows.rows.tokens[begin : begin + length].tolist()
        first, stop = windows.first[window], windows.stop[window]
        assert ids[:first] == [TOKENIZER.cls_token_id, *asked, TOKENIZER.sep_token_id]
        assert ids[stop:] == [TOKENIZER.sep_token_id] and windows.second[window] == first
        if window < last:
            assert length == max_length
        part = ids[first:stop]
        if found and stride:
            assert found[-stride:] == part[:stride]
        found += part[stride:] if found else part
    assert found == whole


def test_a_window_without_the_answer_is_labeled_with_its_first_token():
    answers = {"text": ["nobody"], "answer_start": [CONTEXT.index("nobody")]}
    windows = cut_windows(TOKENIZER, [QUESTION], [CONTEXT], max_length=18, stride=2)
    starts, ends = label_windows(windows, [answers])
    assert len(windows) > 2
    for window, (start, end) in enumerate(zip(starts, ends, strict=True)):
        low = windows.begins[windows.offsets[window] + windows.first[window]]
        high = windows.ends[windows.offsets[window] + windows.stop[window] - 1]
        holds = low <= CONTEXT.index("nobody") and CONTEXT.index("nobody") + 6 <= high
        assert (start > 0) == holds == (end > 0)
        if holds:
            begin, stop = windows.characters(np.array([window]), np.array([start]), np.array([end]))
            assert CONTEXT[begin[0] : stop[0]] == "nobody"
    assert 0 < (starts > 0).sum() < len(windows)


def test_of_several_answers_the_first_in_the_window_counts_and_none_is_no_answer():
    places = [CONTEXT.index("Otto"), CONTEXT.index("a red ball"), CONTEXT.index("Wren")]
    answers = {"text": ["Otto", "a red ball", "Wren"], "answer_start": places}
    windows = cut_windows(TOKENIZER, [QUESTION] * 2, [CONTEXT] * 2, max_length=60)
    starts, ends = label_windows(windows, [answers, {"text": [], "answer_start": []}])
    begin, stop = windows.characters(np.array([0]), starts[:1], ends[:1])
    assert CONTEXT[begin[0] : stop[0]] == "Otto"
    assert (starts[1], ends[1]) == (0, 0)


def test_whole_words_are_given_their_whole_place():
    tokenizer = train_subwords(["a b c d ab abab"], vocab_size=14)
    windows = cut_windows(tokenizer, ["d"], ["abababab ab"], max_length=30, whole_words=True)
    first, stop = windows.first[0], windows.stop[0]
    pieces = tokenizer.convert_ids_to_tokens(windows.rows.tokens[first:stop].tolist())
    begins, ends = windows.begins[first:stop], windows.ends[first:stop]
    assert {(b, e) for b, e in zip(begins.tolist(), ends.tolist(), strict=True)} == {(0, 8), (9, 11)}
    assert len(pieces) > 2, "the first word has several tokens"


def test_windows_without_room_are_refused():
    with pytest.raises(UserError, match="are too short"):
        cut_windows(TOKENIZER, [QUESTION], [CONTEXT], max_length=10, stride=5)


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"answers": {"text": ["Ada"], "answer_start": [0]}},
            "row 2 of .*'Ada' is not at answer_start 0.*not in the context",
        ),
        ({"answers": {"text": ["Ada"], "answer_start": [-1]}}, "row 2 of .*it is not in the context at all"),
        ({"answers": {"text": ["Otto"], "answer_start": [3]}}, "row 2 of .*it is at 23"),
        (
            {"answers": {"text": ["Otto"], "answer_start": [1, 2]}},
            "row 2 of .*1 texts of answers and 2 places",
        ),
        ({"answers": "Otto"}, "row 2 of .*must be a dict"),
        ({"question": " "}, "row 2 of .*empty question"),
        ({"context": ""}, "row 2 of .*empty context"),
    ],
)
def test_a_wrong_row_is_named(change, message):
    good = {"question": QUESTION, "context": CONTEXT, "answers": {"text": ["Otto"], "answer_start": [23]}}
    rows = [good, good | change]
    with pytest.raises(UserError, match=message):
        check_questions({name: [row[name] for row in rows] for name in good}, "split 'train' of x")


def test_no_title_is_in_both_splits(tmp_path):
    path = write(tmp_path / "all.jsonl", RECORDS)
    table = load_questions(str(path))
    contexts = [set(table.splits[split]["context"]) for split in ("train", "validation")]
    titles = {row["context"]: row["title"] for row in RECORDS}
    in_train, in_validation = ({titles[context] for context in found} for found in contexts)
    assert in_train and in_validation and not in_train & in_validation
    assert len(table.train) + len(table.held_out) == len(RECORDS)
    assert load_questions(str(path)).fingerprint == table.fingerprint


def test_the_worlds_questions_come_in_any_number():
    few, more = load_questions("world/questions", size=40), load_questions("world/questions", size=60)
    assert len(few.train) == 40 and more.train[:40] == few.train[:] and len(more.train) == 60
