"""Preference data: both forms are read, and what is no pair is named with its line."""

import json

import pytest

from hf_llmpath.errors import UserError
from hf_llmpath.stages.s16_rlhf.preference_data import load_preferences, read_pairs

USER = {"role": "user", "content": "Who is the baker?"}
GOOD = {"role": "assistant", "content": "Mara is the baker."}
BAD = {"role": "assistant", "content": "Go away!"}
PAIR = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}


def text(*turns: str) -> str:
    return "".join(
        f"\n\n{who}: {words}" for who, words in zip(("Human", "Assistant") * 3, turns, strict=False)
    )


def refused(row: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_pairs([PAIR, row], "thumbs.jsonl")
    assert str(error.value).startswith("line 2 of thumbs.jsonl") and message in str(error.value), error.value


@pytest.mark.parametrize(
    "row",
    [
        PAIR,
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Who is the baker?", "chosen": "Mara is the baker.", "rejected": "Go away! "},
        {
            "chosen": text("Who is the baker?", "Mara is the baker."),
            "rejected": text("Who is the baker?", "Go away!"),
        },
    ],
    ids=["conversational", "implicit prompt", "texts", "hh-rlhf"],
)
def test_every_form_becomes_the_same_pair(row):
    assert read_pairs([row], "x") == [PAIR]


def test_earlier_turns_belong_to_the_prompt():
    before = ("Hello!", "Good morning.", "Who is the baker?")
    (pair,) = read_pairs([{"chosen": text(*before, "Mara."), "rejected": text(*before, "")}], "x")
    assert [message["role"] for message in pair["prompt"]] == ["user", "assistant", "user"]
    assert pair["chosen"] == [{"role": "assistant", "content": "Mara."}]
    assert pair["rejected"] == [{"role": "assistant", "content": ""}]  # said nothing


def test_a_name_quoted_within_a_turn_does_not_begin_another():
    (pair,) = read_pairs(
        [{"chosen": text("Hi", "I say:\n\nAssistant: no"), "rejected": text("Hi", "That is Human: 1 line")}],
        "x",
    )
    assert pair["chosen"] == [{"role": "assistant", "content": "I say:\n\nno"}]
    assert pair["rejected"] == [{"role": "assistant", "content": "That is Human: 1 line"}]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rejected": [GOOD]}, "'chosen' and 'rejected' are equal"),
        ({"chosen": None}, "'chosen' is missing or empty"),
        ({"rejected": ""}, "'rejected' is missing or empty"),
        ({"rejected": [USER]}, "after the prompt, 'rejected' has user"),
        ({"prompt": [GOOD]}, "the prompt ends with the assistant's words"),
        ({"prompt": None}, "has no prompt"),
        ({"chosen": [{"role": "bot", "content": "x"}]}, "the role 'bot'; there are system, user, assistant"),
        ({"chosen": [{"content": "x"}]}, "must be a text or a list of messages"),
        ({"chosen": 7}, "'chosen' is int"),
    ],
)
def test_what_is_no_pair_is_named_with_its_line(change, message):
    refused(PAIR | change, message)


def test_a_missing_column_lists_those_that_are_there(tmp_path):
    path = tmp_path / "thumbs.jsonl"
    path.write_text(json.dumps({"prompt": "a", "chosen": "b"}) + "\n")
    with pytest.raises(UserError, match="has no column 'rejected'.*it has: chosen, prompt"):
        load_preferences(str(path))


def test_a_file_is_split_and_its_pairs_are_kept(tmp_path):
    path = tmp_path / "thumbs.jsonl"
    rows = [PAIR | {"chosen": [{"role": "assistant", "content": f"Mara {n}."}]} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load_preferences(str(path))
    assert len(found.train) == 18 and len(found.test) == 2
    assert sorted(map(str, found.train + found.test)) == sorted(map(str, rows))
    assert found.provenance["sizes"] == {"train_pairs": 18, "test_pairs": 2} and len(found.fingerprint) == 16
    assert load_preferences(str(path)) == found


def test_a_single_pair_cannot_be_split(tmp_path):
    path = tmp_path / "thumbs.jsonl"
    path.write_text(json.dumps(PAIR) + "\n")
    with pytest.raises(UserError, match="has 1 pair; at least 2 are needed"):
        load_preferences(str(path))


def test_no_file_and_an_unknown_kind_are_told(tmp_path):
    (tmp_path / "pairs.txt").write_text("x")
    with pytest.raises(UserError, match=r"unknown kind of file; preferences are \.jsonl"):
        load_preferences(str(tmp_path / "pairs.txt"))
    with pytest.raises(UserError, match="no file or folder"):
        load_preferences(str(tmp_path / "none.jsonl"))


def test_the_world_has_pairs_of_train_and_test():
    found = load_preferences("world/preferences")
    assert len(found.train) == 3000 and len(found.test) == 300
    assert set(found.train[0]) == {"prompt", "chosen", "rejected"}


def test_a_number_of_pairs_is_what_comes(tmp_path):
    few, more = load_preferences("world/preferences", 20), load_preferences("world/preferences", 30)
    assert len(few.train) == 20 and more.train[:20] == few.train and len(more.train) == 30
    assert more.fingerprint != few.fingerprint and len(few.test) == 300
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        "".join(f'{{"prompt": "Hello {i}.", "chosen": "Yes.", "rejected": "No."}}\n' for i in range(20))
    )
    assert len(load_preferences(str(path), 5).train) == 5


def test_hh_rlhf_is_read_whole(shared_data):
    folder = shared_data / "hh-rlhf-helpful-base"
    if not folder.is_dir():
        pytest.skip("hh-rlhf is not here")
    found = load_preferences(str(folder))
    pairs = found.train + found.test
    assert len(pairs) == 2352
    assert all(pair["prompt"][-1]["role"] == "user" and pair["chosen"] != pair["rejected"] for pair in pairs)
    assert sum(len(pair["prompt"]) > 1 for pair in pairs) > 1000  # of several turns
