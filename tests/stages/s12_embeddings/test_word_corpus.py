"""Text as word ids on disk: counted, encoded, subsampled, and the same words as the tokenizer's."""

import numpy as np
import pytest

from hf_llmpath.data.tokenizers.characters import PAD, UNKNOWN
from hf_llmpath.errors import UserError
from hf_llmpath.stages.s12_embeddings import word_corpus
from hf_llmpath.stages.s12_embeddings.word_corpus import END_OF_TEXT, Vocabulary, WordCorpus, words_of

TEXTS = ["The cat sat. The CAT ran!", "A dog can't sit — it's 7 o'clock.", "", "über naïve the cat"]


def test_words_are_those_of_the_tokenizer():
    vocabulary = Vocabulary.of(TEXTS, min_count=1)
    tokenizer = vocabulary.tokenizer()
    for text in TEXTS:
        assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == words_of(text)
    assert words_of(TEXTS[1]) == ["a", "dog", "can't", "sit", "it's", "7", "o'clock"]


def test_words_are_counted_and_the_rare_ones_are_unknown():
    vocabulary = Vocabulary.of(TEXTS, min_count=2)
    assert vocabulary.words == (PAD, UNKNOWN, "cat", "the")
    assert vocabulary.counts.tolist() == [0, 11, 3, 3]
    assert len(Vocabulary.of(TEXTS, min_count=1, max_size=5)) == 5


def test_the_file_holds_the_known_words_and_the_ends_of_texts(tmp_path):
    vocabulary = Vocabulary.of(TEXTS, min_count=2)
    corpus = WordCorpus.write(TEXTS, vocabulary, tmp_path / "ids.bin", window=2)
    assert corpus.ids.tolist() == [3, 2, 3, 2, END_OF_TEXT, 3, 2, END_OF_TEXT]
    assert (tmp_path / "ids.bin").stat().st_size == 4 * 8
    (ids, texts, length), *rest = corpus.pieces(np.random.default_rng(0), subsample=None)
    assert not rest and length == 8
    assert ids.tolist() == [3, 2, 3, 2, 3, 2] and texts.tolist() == [0, 0, 0, 0, 1, 1]


def test_every_piece_is_read_once_in_an_order_of_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(word_corpus, "_PIECE", 7)
    rows = [" ".join(f"w{i}" for i in range(start, start + 5)) for start in range(0, 50, 5)]
    corpus = WordCorpus.write(rows, Vocabulary.of(rows, 1), tmp_path / "ids.bin", window=2)
    orders = []
    for seed in (0, 0, 1):
        pieces = [ids for ids, *_ in corpus.pieces(np.random.default_rng(seed), subsample=None)]
        orders.append(np.concatenate(pieces).tolist())
        assert sorted(orders[-1]) == list(range(2, 52))
    assert orders[0] == orders[1] != orders[2]


def test_frequent_words_are_skipped_as_often_as_stated(tmp_path):
    rows = [" ".join(["often"] * 9 + ["seldom"]) for _ in range(20_000)]
    corpus = WordCorpus.write(rows, Vocabulary.of(rows, 1), tmp_path / "ids.bin")
    ids = np.concatenate([ids for ids, *_ in corpus.pieces(np.random.default_rng(0), subsample=0.01)])
    for word, share, count in ((2, 0.9, 180_000), (3, 0.1, 20_000)):
        expected = (0.01 / share) ** 0.5 + 0.01 / share
        assert (ids == word).sum() / count == pytest.approx(expected, abs=0.01)


def test_too_little_text_is_told(tmp_path):
    with pytest.raises(UserError, match="1 words occur 3 times or more"):
        Vocabulary.of(["a a a b"], min_count=3)
    with pytest.raises(UserError, match="the longest text has 3 known words, the window reaches 5"):
        WordCorpus.write(["a b c", "a b"], Vocabulary.of(["a b c", "a b"], 1), tmp_path / "ids.bin", window=5)
