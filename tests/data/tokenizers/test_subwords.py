"""Subword tokenizers: what they cut, that nothing is lost, and that AutoTokenizer reads them back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hf_llmpath.data.tokenizers.subwords import SPECIAL_TOKENS, train_subwords
from hf_llmpath.errors import UserError
from hf_llmpath.hub.model_folder import require_fitting
from hf_llmpath.models.configuration_rnn import LLMPathRNNConfig
from tests.support.small import text_of_hats

TEXTS = text_of_hats().splitlines()
KINDS = ("wordpiece", "bpe")
STRANGE = [
    "",
    " ",
    "naïve café",
    "日本語と emoji 🎩🎩",
    "tab\tand\nline",
    "“quoted” — dash",
    "  two  spaces  ",
    "\x00\x7f",
]


@pytest.fixture(scope="module")
def tokenizers():
    return {"wordpiece": train_subwords(TEXTS, "wordpiece", 60), "bpe": train_subwords(TEXTS, "bpe", 300)}


@pytest.fixture(params=KINDS)
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def test_special_tokens_come_first_and_frame_text_and_pair(tokenizer):
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS)
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 1, 4)
    single = tokenizer("the red hat")
    assert (
        single["input_ids"][0] == 2 and single["input_ids"][-1] == 3 and set(single["token_type_ids"]) == {0}
    )
    pair = tokenizer("the red hat", "a well")
    ids, types = pair["input_ids"], pair["token_type_ids"]
    assert ids.count(2) == 1 and ids.count(3) == 2 and ids[-1] == 3
    border = ids.index(3) + 1
    assert types == [0] * border + [1] * (len(ids) - border)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_byte_level_bpe_gives_every_text_back(tokenizers, text):
    bpe = tokenizers["bpe"]
    assert bpe.decode(bpe.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize("text", STRANGE)
def test_byte_level_bpe_gives_strange_texts_back(tokenizers, text):
    bpe = tokenizers["bpe"]
    ids = bpe.encode(text, add_special_tokens=False)
    assert bpe.decode(ids) == text and 1 not in ids


def test_wordpiece_gives_its_words_back_in_lower_case(tokenizers):
    wordpiece = tokenizers["wordpiece"]
    ids = wordpiece.encode("Anna had a red hat", add_special_tokens=False)
    assert wordpiece.decode(ids) == "anna had a red hat" and 1 not in ids
    assert wordpiece.tokenize("Ánna") == wordpiece.tokenize("anna")
    assert wordpiece.tokenize("日") == ["[UNK]"]


def test_wordpiece_takes_the_longest_known_piece_first(tokenizers):
    wordpiece = tokenizers["wordpiece"]
    vocabulary = wordpiece.get_vocab()
    word, pieces, start = "hatred", [], 0
    while start < len(word):
        end = next(
            end
            for end in range(len(word), start, -1)
            if ("##" if start else "") + word[start:end] in vocabulary
        )
        pieces.append(("##" if start else "") + word[start:end])
        start = end
    assert len(pieces) > 1
    assert wordpiece.tokenize(word) == pieces


@pytest.mark.parametrize("kind", KINDS)
def test_training_again_gives_the_same_tokenizer(kind, tokenizers):
    assert len(tokenizers[kind]) == {"wordpiece": 60, "bpe": 300}[kind]
    again = train_subwords(iter(TEXTS), kind, len(tokenizers[kind]))
    assert again.backend_tokenizer.to_str() == tokenizers[kind].backend_tokenizer.to_str()


def test_auto_tokenizer_reads_it_back(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in (*TEXTS[:5], "Anna had a [MASK] hat", *STRANGE):
        assert again(text).data == tokenizer(text).data
        assert again(text, "the well").data == tokenizer(text, "the well").data
    assert again.mask_token == "[MASK]" and len(again) == len(tokenizer)


def test_a_mask_in_the_text_is_the_mask_token(tokenizer):
    ids = tokenizer.encode("Anna had a [MASK] hat")
    assert ids.count(tokenizer.mask_token_id) == 1
    # The space before a masked word is part of what is masked, in both kinds.
    filled = [tokenizer.encode("Anna had a red hat")[position] for position in range(len(ids))]
    place = ids.index(tokenizer.mask_token_id)
    assert ids[:place] == filled[:place] and ids[place + 1 :] == filled[place + 1 :]


def test_a_vocabulary_smaller_than_the_alphabet_is_refused():
    with pytest.raises(ValueError, match="vocab_size .100. is too small"):
        train_subwords(TEXTS, "bpe", 100)
    with pytest.raises(ValueError, match="wordpiece and bpe"):
        train_subwords(TEXTS, "unigram", 100)


def test_the_tokenizer_of_another_model_is_refused(tokenizers):
    wordpiece = tokenizers["wordpiece"]
    require_fitting(wordpiece, LLMPathRNNConfig(vocab_size=len(wordpiece), pad_token_id=0))
    with pytest.raises(
        UserError, match="has 60 tokens and this model 340: it is the tokenizer of another model"
    ):
        require_fitting(wordpiece, LLMPathRNNConfig(vocab_size=340, pad_token_id=0))
    with pytest.raises(UserError, match="pad_token_id is 0 in the tokenizer and 7"):
        require_fitting(wordpiece, LLMPathRNNConfig(vocab_size=60, pad_token_id=7))
