"""Neighbors, analogies, and correlations equal those of gensim, scipy, and hand-made vectors."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from hf_llmpath.errors import UserError
from hf_llmpath.stages.s12_embeddings.word_probes import (
    WordVectors,
    analogy_accuracy,
    kind_precision,
    ppmi_vectors,
    read_analogies,
    read_judgments,
    read_similarities,
    similarity_correlation,
    word_kinds,
)

WORDS = [f"w{index}" for index in range(40)]


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    return WordVectors(WORDS, np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32))


def test_neighbors_and_analogies_are_those_of_gensim(vectors):
    keyed = pytest.importorskip("gensim.models").KeyedVectors(8)
    keyed.add_vectors(WORDS, vectors.unit)
    for word in WORDS[:5]:
        assert [near for near, _ in vectors.neighbors(word, 7)] == [
            near for near, _ in keyed.most_similar(word, topn=7)
        ]
        assert vectors.similarity(word, "w9") == pytest.approx(float(keyed.similarity(word, "w9")), abs=1e-6)
    expected = keyed.most_similar(positive=["w2", "w3"], negative=["w1"], topn=5)
    answers = vectors.analogy("w1", "W2 ", "w3", 5)
    assert [word for word, _ in answers] == [word for word, _ in expected]
    assert [cosine for _, cosine in answers] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)


def test_an_unknown_word_is_told_with_the_nearest_by_spelling(vectors):
    with pytest.raises(UserError, match="'ww12' is not among the 40 known words; did you mean 'w12'"):
        vectors.neighbors("ww12")


def test_correlation_is_scipys_over_the_known_pairs(vectors, tmp_path):
    rows = [
        ("w1", "w2", 3.0),
        ("W3", "w4", 1.5),
        ("w5", "w6", 9.0),
        ("w7", "w8", 2.0),
        ("w1", "nowhere", 5.0),
    ]
    file = tmp_path / "pairs.txt"
    file.write_text("".join(f"{a}\t{b}\t{score}\r\n" for a, b, score in rows))
    pairs = read_similarities(file)
    assert pairs[1] == ("w3", "w4", 1.5)
    cosines = [vectors.similarity(a, b) for a, b, _ in rows[:4]]
    correlation, known = similarity_correlation(vectors, pairs)
    assert known == 4 and correlation == pytest.approx(spearmanr(cosines, [3.0, 1.5, 9.0, 2.0]).statistic)


def test_a_broken_line_is_told_with_its_number(tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text("a b 1.0\na b\n")
    with pytest.raises(UserError, match="line 2: two words and a number"):
        read_similarities(file)
    file.write_text(": capitals\na b c d\na b c\n")
    with pytest.raises(UserError, match="line 3: four words"):
        read_analogies(file)
    with pytest.raises(UserError, match="no file"):
        read_analogies(tmp_path / "nowhere.txt")
    with pytest.raises(UserError, match="no folder"):
        read_judgments(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no file named like WS-353-ALL"):
        read_judgments(str(tmp_path))


def test_analogies_that_hold_by_construction_are_answered(tmp_path):
    random = np.random.default_rng(1)
    people, step = random.normal(size=(6, 20)), 3 * random.normal(size=20)
    vectors = WordVectors(
        [f"p{i}" for i in range(6)] + [f"t{i}" for i in range(6)], np.concatenate([people, people + step])
    )
    file = tmp_path / "questions.txt"
    file.write_text(
        ": trades\n" + "".join(f"P{i} t{i} p{j} t{j}\n" for i in range(6) for j in range(6) if i != j)
    )
    questions = read_analogies(file)
    accuracy, known = analogy_accuracy(vectors, [*questions, ("p1", "t1", "zzz", "t2")])
    by_hand = np.mean([vectors.analogy(a, b, c, 1)[0][0] == d for a, b, c, d in questions])
    assert known == 30 and accuracy == pytest.approx(by_hand) and accuracy > 0.9
    assert np.isnan(analogy_accuracy(vectors, [])[0])


def test_kinds_are_counted_among_the_nearest():
    vectors = WordVectors(
        "abcdef", np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [0.1, 1], [1, 0.15]], dtype=float)
    )
    kinds = dict(zip("abcdef", "xxxyyy", strict=True))
    # f lies among the x: its two nearest are x; of the others' two nearest: a b,f  b a,f or c  c f,b  d
    # e,f..  e d,f..
    near = {word: [other for other, _ in vectors.nearest(vectors[word], 2, [word])] for word in "abcdef"}
    expected = np.mean([kinds[other] == kinds[word] for word in "abcdef" for other in near[word]])
    assert kind_precision(vectors, kinds, 2) == pytest.approx(expected)


def test_ppmi_is_its_formula():
    table = np.array([[4.0, 0.0], [1.0, 5.0]])
    ppmi = ppmi_vectors(table)
    assert ppmi[0, 0] == pytest.approx(np.log((4 / 10) / (0.4 * 0.5)))
    assert ppmi[1, 1] == pytest.approx(np.log((5 / 10) / (0.6 * 0.5)))
    assert ppmi[0, 1] == 0 and ppmi[1, 0] == 0


def test_kinds_are_known_of_the_words_of_the_world():
    kinds = word_kinds()
    assert kinds["mara"] == "person" and kinds["kite"] == "thing" and kinds["harbour"] == "place"
    assert "orange" in kinds and len(kinds) > 90
