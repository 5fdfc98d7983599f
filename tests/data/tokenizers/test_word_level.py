"""The word tokenizer."""

import pytest
from transformers import AutoTokenizer

from hf_llmpath.data.tokenizers.word_level import (
    JOINER,
    read_texts,
    token_texts,
    train_word_tokenizer,
    unknown_words,
)
from hf_llmpath.world import generate

TEXTS = ['Ada said, "Come along!" Was it Ada\'s?', "The end.\nThe sea (again); 12-fold: yes."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_tokenizer(TEXTS)


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize(
    "text", [*TEXTS, "Ada  said", ' "The end.\t', "(The sea) again: yes", "", "\n", '"Ada", the end!']
)
def test_text_comes_back_but_for_white_space(text, pieces):
    tokenizer = train_word_tokenizer([*TEXTS, text], pieces=pieces)
    ids = tokenizer(text)["input_ids"]
    expected = " ".join(text.split())
    assert tokenizer.decode(ids, skip_special_tokens=True) == expected
    assert "".join(token_texts(tokenizer.convert_ids_to_tokens(ids[:-1]))) == expected


def test_pieces_spell_new_words():
    tokenizer = train_word_tokenizer(TEXTS, pieces=True)
    assert tokenizer.decode(tokenizer("dais heat")["input_ids"], skip_special_tokens=True) == "dais heat"
    assert unknown_words(tokenizer, "Ada's Žsaid") == ["Ž"]
    assert len(tokenizer("The end")["input_ids"]) == 3


def test_every_text_of_the_world_comes_back():
    records = generate("summaries", "train", 200)
    texts = [record[field] for record in records for field in ("document", "summary")]
    tokenizer = train_word_tokenizer(texts)
    ids = tokenizer(texts)["input_ids"]
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == texts
    assert not any(tokenizer.unk_token_id in row for row in ids)


@pytest.mark.parametrize("pieces", [False, True])
def test_what_is_read_is_told_token_by_token(pieces):
    tokenizer = train_word_tokenizer(TEXTS, pieces=pieces)
    text = '"The sea," said Zelda-Marie (the Žofie).'
    assert "".join(read_texts(tokenizer, text)) == text
    assert len(read_texts(tokenizer, text)) == len(tokenizer(text)["input_ids"])


def test_a_name_is_one_token_wherever_it_stands(tokenizer):
    first = tokenizer("Ada said")["input_ids"][0]
    assert tokenizer("The Ada")["input_ids"][1] == tokenizer('"Ada')["input_ids"][1] == first


def test_texts_end_with_the_end_token(tokenizer):
    ids = tokenizer("The end.")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id and ids.count(tokenizer.eos_token_id) == 1


def test_unknown_words_are_named(tokenizer):
    text = "The whale said, and Ada's whale swam."
    assert unknown_words(tokenizer, text) == ["whale", "and", "swam"]
    assert tokenizer("whale")["input_ids"][0] == tokenizer.unk_token_id


def test_sizes_are_kept(tokenizer):
    small = train_word_tokenizer(TEXTS * 3, vocab_size=8, longest=5)
    assert len(small) == 8 and small.model_max_length == 5
    assert len(small("The end. The end. The end.", truncation=True)["input_ids"]) == 5


def test_auto_tokenizer_reads_it(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
    assert again.decode(again(TEXTS[0])["input_ids"], skip_special_tokens=True) == TEXTS[0]


@pytest.mark.parametrize("pieces", [False, True])
def test_marks_that_join_nothing_are_not_text(pieces):
    tokenizer = train_word_tokenizer(TEXTS, pieces=pieces)
    marks = [token for token in tokenizer.get_vocab() if JOINER in token]
    assert marks
    for token in marks:
        ids = tokenizer.convert_tokens_to_ids([token, token, "The", token])
        assert JOINER not in tokenizer.decode(ids, skip_special_tokens=True)
