"""Neighbors, analogies, correlations and senses are what gensim, scipy and hand-made vectors say."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from hf_llmpath import LLMPathBertConfig
from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.errors import UserError
from hf_llmpath.models.modeling_bert import LLMPathBertModel
from hf_llmpath.stages.s12_embeddings.word_kinds import occurrences, word_kinds
from hf_llmpath.stages.s12_embeddings.word_probes import (
    WordVectors,
    analogy_accuracy,
    contextual_vectors,
    count_vectors,
    kind_precision,
    ppmi_vectors,
    read_analogies,
    read_similarities,
    sense_accuracy,
    similarity_correlation,
)
from hf_llmpath.world import generate

WORDS = [f"w{place}" for place in range(40)]


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
    found = vectors.analogy("w1", "W2 ", "w3", 5)
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)


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
    found, known = similarity_correlation(vectors, pairs)
    assert known == 4 and found == pytest.approx(spearmanr(cosines, [3.0, 1.5, 9.0, 2.0]).statistic)


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


def test_counts_become_rows():
    table = count_vectors(np.array([0, 2]), np.array([1, 0]), np.array([3.0, 4.0]), size=3, width=2)
    assert table.tolist() == [[0, 3], [0, 0], [4, 0]]


def test_ppmi_is_its_formula():
    table = np.array([[4.0, 0.0], [1.0, 5.0]])
    found = ppmi_vectors(table)
    assert found[0, 0] == pytest.approx(np.log((4 / 10) / (0.4 * 0.5)))
    assert found[1, 1] == pytest.approx(np.log((5 / 10) / (0.6 * 0.5)))
    assert found[0, 1] == 0 and found[1, 0] == 0


def test_a_contextual_vector_is_the_mean_state_of_the_words_tokens():
    texts = ["the light fell on the door", "it was light"]
    tokenizer = train_subwords([*texts, "a b c d e"] * 3, "wordpiece", 60, max_length=16)
    torch.manual_seed(0)
    config = LLMPathBertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, max_position_embeddings=16, type_vocab_size=0,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.5,
    )  # fmt: skip
    model = LLMPathBertModel(config).eval()
    places = [(text.index("light"), text.index("light") + 5) for text in texts]
    found = contextual_vectors(model, tokenizer, texts, places)
    for row, (text, (start, end)) in enumerate(zip(texts, places, strict=True)):
        encoding = tokenizer(text, return_offsets_mapping=True)
        inside = [i for i, (a, b) in enumerate(encoding["offset_mapping"]) if a < end and b > start]
        assert inside
        with torch.no_grad():
            states = model(torch.tensor([encoding["input_ids"]])).last_hidden_state[0]
        assert np.allclose(found[row], states[inside].mean(0).numpy(), atol=1e-5)
    with pytest.raises(UserError, match="beyond the first 16 tokens"):
        contextual_vectors(model, tokenizer, ["it was " * 20 + "light"], [(140, 145)])


def test_senses_are_told_apart_where_vectors_differ():
    random = np.random.default_rng(0)
    senses = ["one"] * 10 + ["other"] * 12
    apart = random.normal(size=(22, 3)) + 9 * np.array([sense == "one" for sense in senses])[:, None]
    assert sense_accuracy(apart, senses) == 1.0
    assert sense_accuracy(random.normal(size=(22, 3)), senses) < 0.9


def test_the_words_kinds_and_senses_are_those_of_its_texts():
    kinds = word_kinds()
    assert kinds["mara"] == "person" and kinds["kite"] == "thing" and kinds["harbour"] == "place"
    assert "orange" in kinds and len(kinds) > 90
    found = occurrences([row["text"] for row in generate("stories", "validation")], most=5)
    assert {occurrence.sense for occurrence in found} == {"no darkness", "not heavy", "set on fire"}
    assert all(o.text[o.start : o.end] == "light" for o in found)
