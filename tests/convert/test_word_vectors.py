"""Vectors as text files: gensim reads ours and we read gensim's and GloVe's, exactly; broken files are
told by line.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from hf_llmpath.convert.word_vectors import from_vectors, read_vectors, to_vectors, write_vectors
from hf_llmpath.errors import UserError

WORDS = ["the", "cat", "naïve", "o'clock", "x1"]


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)


def test_gensim_reads_what_is_written_and_the_other_way_round(vectors, tmp_path):
    models = pytest.importorskip("gensim.models")
    write_vectors(WORDS, vectors, tmp_path / "ours.txt")
    keyed = models.KeyedVectors.load_word2vec_format(str(tmp_path / "ours.txt"))
    assert list(keyed.index_to_key) == WORDS and np.array_equal(keyed.vectors, vectors)
    keyed.save_word2vec_format(str(tmp_path / "theirs.txt"))
    words, again = read_vectors(tmp_path / "theirs.txt")
    assert words == WORDS and np.array_equal(again, vectors)


def test_a_glove_file_has_no_first_line_of_sizes(vectors, tmp_path):
    write_vectors(WORDS, vectors, tmp_path / "word2vec.txt")
    lines = (tmp_path / "word2vec.txt").read_text().splitlines(keepends=True)
    (tmp_path / "glove.txt").write_text("".join(lines[1:]))
    for limit, count in ((None, 5), (2, 2)):
        words, found = read_vectors(tmp_path / "glove.txt", limit)
        assert words == WORDS[:count] and np.array_equal(found, vectors[:count])


def test_words_of_a_glove_file_may_have_spaces(vectors, tmp_path):
    rows = [" ".join(map(repr, row)) for row in vectors[:4].astype(float).tolist()]
    words = ["the", ". . .", "at name@domain.com", "7 8"]
    (tmp_path / "glove.txt").write_text(
        "".join(f"{word} {row}\n" for word, row in zip(words, rows, strict=True))
    )
    with pytest.raises(UserError, match="line 4: 8 values for '7', the others have 7"):
        read_vectors(tmp_path / "glove.txt")
    found, again = read_vectors(tmp_path / "glove.txt", limit=3)
    assert found == words[:3] and np.array_equal(again, vectors[:3])
    model, tokenizer = from_vectors(found, again)
    to_vectors(model, tokenizer, tmp_path / "again.txt")
    assert read_vectors(tmp_path / "again.txt")[0] == ["the"]


def test_a_file_becomes_a_model_and_a_model_a_file(vectors, tmp_path):
    model, tokenizer = from_vectors([*WORDS, "CAT"], np.concatenate([vectors, vectors[:1]]))
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    model, tokenizer = (
        AutoModel.from_pretrained(tmp_path / "model"),
        AutoTokenizer.from_pretrained(tmp_path / "model"),
    )
    ids = tokenizer("The naïve zebra, cat", return_tensors="pt")
    found = model(**ids).last_hidden_state[0]
    expected = torch.from_numpy(np.stack([vectors[0], vectors[2], np.zeros(7, np.float32), vectors[1]]))
    assert torch.equal(found, expected)
    to_vectors(model, tokenizer, tmp_path / "again.txt")
    words, again = read_vectors(tmp_path / "again.txt")
    assert words == WORDS and np.array_equal(again, vectors)


@pytest.mark.parametrize(
    "text, said",
    [
        ("2 3\na 1 2 3\nb 1 2\n", "line 3: 2 values for 'b', the others have 3"),
        ("a 1 2 3\nb 1 x 3\n", "line 2: a word and numbers are expected"),
        ("a 1 2 3\nb\n", "line 2: a word and numbers"),
        ("a 1 2 3\nb 1 nan 3\n", "line 2"),
        ("3 2\na 1 2\nb 1 2\n", "the first line says 3 words, there are 2; the file is cut off"),
        ("", "holds no vectors"),
    ],
)
def test_a_broken_file_is_told_by_line(text, said, tmp_path):
    (tmp_path / "vectors.txt").write_text(text)
    with pytest.raises(UserError, match=said):
        read_vectors(tmp_path / "vectors.txt")
    with pytest.raises(UserError, match="no file '.*gone.txt' with vectors"):
        read_vectors(tmp_path / "gone.txt")


def test_a_word_with_a_space_cannot_be_written(vectors, tmp_path):
    with pytest.raises(UserError, match="'new york' has white space"):
        write_vectors(["new york", *WORDS[1:]], vectors, tmp_path / "vectors.txt")
