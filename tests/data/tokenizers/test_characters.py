"""The character tokenizer: every text comes back, here and after a save."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hf_llmpath.data.tokenizers.characters import (
    END,
    PAD,
    UNKNOWN,
    encode_characters,
    train_character_tokenizer,
    unknown_characters,
)

TRAINED_ON = ["The cat sat on the mat.\n", "Größe, “naïve” – 猫 \t"]
HARD = [
    "",
    " ",
    "  two  spaces ",
    "a ,b !",
    "don ' t",
    "\r\n",
    "e\u0301",
    "\ufeffx",
    "\u200b",
    "👩‍👩‍👧",
    "\x00",
    "Ω≠Ω",
    "▁x",
]
# What UTF-8 can write: everything but lone surrogates.
unicode_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture(scope="module")
def tokenizer():
    return train_character_tokenizer(TRAINED_ON)


@pytest.fixture(scope="module")
def closed():
    """A tokenizer without byte fallback."""
    return train_character_tokenizer(TRAINED_ON, byte_fallback=False)


@pytest.fixture(scope="module")
def loaded(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@given(unicode_texts)
def test_every_unicode_text_comes_back(tokenizer, loaded, text):
    ids = tokenizer.encode(text)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text
    assert loaded.encode(text) == ids
    assert loaded.decode(ids) == text


@pytest.mark.parametrize("text", HARD)
def test_hard_texts_come_back(tokenizer, loaded, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert loaded.decode(loaded.encode(text)) == text


def test_one_token_per_known_character_and_one_per_byte_of_an_unknown_one(tokenizer):
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("cat€猫")) == [
        "c",
        "a",
        "t",
        "<0xE2>",
        "<0x82>",
        "<0xAC>",
        "猫",
    ]


def test_special_tokens_come_first(tokenizer):
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == [PAD, UNKNOWN, END]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1)
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == 2
    assert len(tokenizer) == 3 + len(set("".join(TRAINED_ON))) + 256


def test_vocabulary_is_the_characters_in_code_point_order(closed):
    assert closed.convert_ids_to_tokens(range(3, len(closed))) == sorted(set("".join(TRAINED_ON)))


def test_without_fallback_an_unknown_character_is_the_unknown_token(closed):
    assert closed.convert_ids_to_tokens(closed.encode("c€€t")) == ["c", UNKNOWN, UNKNOWN, "t"]


@given(st.lists(unicode_texts, min_size=1, max_size=4))
def test_encode_characters_is_encode_without_fallback(closed, texts):
    assert [ids.tolist() for ids in encode_characters(closed, texts)] == [
        closed.encode(text) for text in texts
    ]


@given(st.lists(st.text(sorted(set("".join(TRAINED_ON)))), min_size=1, max_size=4))
def test_encode_characters_is_encode_for_known_characters(tokenizer, texts):
    assert [ids.tolist() for ids in encode_characters(tokenizer, texts)] == [
        tokenizer.encode(text) for text in texts
    ]


@given(unicode_texts)
def test_unknown_characters_are_named_once_in_order(closed, text):
    unknown = unknown_characters(closed, text)
    known = set("".join(TRAINED_ON))
    assert unknown == list(dict.fromkeys(character for character in text if character not in known))
