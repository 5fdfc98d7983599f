"""Co-occurrences are those of nested loops, and GloVe's steps follow the gradient of its loss."""

from collections import defaultdict

import numpy as np
import pytest
import torch

from hf_llmpath import LLMPathWord2VecConfig, LLMPathWord2VecModel
from hf_llmpath.runs import Job
from hf_llmpath.stages.s12_embeddings import word_corpus
from hf_llmpath.stages.s12_embeddings.glove import (
    Cooccurrences,
    GloVeRecipe,
    count_cooccurrences,
    train_glove,
)
from hf_llmpath.stages.s12_embeddings.word_corpus import Vocabulary, WordCorpus, words_of

ROWS = ["the cat sat on the mat the end", "a cat ran", "the dog and the cat and the dog ran on and on"]


def corpus_of(tmp_path) -> WordCorpus:
    return WordCorpus.write(ROWS, Vocabulary.of(ROWS, 1), tmp_path / "ids.bin", window=2)


def test_counts_are_those_of_two_nested_loops(tmp_path):
    corpus = corpus_of(tmp_path)
    expected: dict[tuple[int, int], float] = defaultdict(float)
    for row in ROWS:
        ids = [corpus.vocabulary.ids[word] for word in words_of(row)]
        for index, word in enumerate(ids):
            for other in range(max(0, index - 4), index):
                expected[word, ids[other]] += 1 / (index - other)
                expected[ids[other], word] += 1 / (index - other)
    pairs = count_cooccurrences(corpus, window=4)
    keys = list(zip(pairs.words.tolist(), pairs.contexts.tolist(), strict=True))
    assert len(keys) == len(set(keys))
    assert dict(zip(keys, pairs.counts.tolist(), strict=True)) == pytest.approx(dict(expected))


def test_pieces_that_are_merged_count_as_one_text(tmp_path, monkeypatch):
    rows = ["a b c a b d"] * 50
    corpus = WordCorpus.write(rows, Vocabulary.of(rows, 1), tmp_path / "ids.bin", window=2)
    whole = count_cooccurrences(corpus, window=3)
    monkeypatch.setattr(word_corpus, "_PIECE", 7)  # one text and its end
    parts = count_cooccurrences(corpus, window=3)
    assert np.array_equal(whole.words, parts.words) and np.allclose(whole.counts, parts.counts)


def model_of(size: int) -> LLMPathWord2VecModel:
    torch.manual_seed(0)
    return LLMPathWord2VecModel(LLMPathWord2VecConfig(vocab_size=size, hidden_size=6, objective="glove"))


def test_a_step_follows_the_gradient_of_the_loss(tmp_path):
    """One batch, each word once: Adagrad's first step divides the gradient by a number per row."""
    pairs = Cooccurrences(
        np.array([2, 3, 4]), np.array([5, 6, 7]), np.array([3.0, 40.0, 200.0], dtype=np.float32)
    )
    model, moved = model_of(8), model_of(8)
    with torch.no_grad():
        for table in (model, moved):
            table.context_embeddings.weight.copy_(torch.linspace(-1, 1, 48).view(8, 6))
    ids, context = torch.tensor([[2, 3, 4]]), torch.tensor([[5, 6, 7]])
    loss = model(ids, context_ids=context, counts=torch.from_numpy(pairs.counts).unsqueeze(0)).loss * 3
    loss.backward()
    job = Job(tmp_path, "glove")
    result = train_glove(moved, pairs, GloVeRecipe(epochs=1, learning_rate=0.1), job, seed=0)
    assert result["loss"] * 3 == pytest.approx(loss.item(), rel=1e-5)
    for name, own in (("biases", [2, 3, 4]), ("context_biases", [5, 6, 7])):
        before, after = getattr(model, name).weight, getattr(moved, name).weight
        gradient = before.grad[own]
        step = -0.1 * gradient / (0.1 + gradient.square()).sqrt()
        torch.testing.assert_close((after - before)[own], step, rtol=1e-4, atol=1e-6)
    gradient = model.context_embeddings.weight.grad[[5, 6, 7]]
    step = -0.1 * gradient / (0.1 + gradient.square().mean(1, keepdim=True)).sqrt()
    difference = (moved.context_embeddings.weight - model.context_embeddings.weight)[[5, 6, 7]]
    torch.testing.assert_close(difference, step, rtol=1e-4, atol=1e-6)


def test_the_loss_falls_and_a_seed_repeats_it(tmp_path):
    corpus = corpus_of(tmp_path)
    pairs = count_cooccurrences(corpus, window=4)
    losses, weights = [], []
    for run, epochs in enumerate((1, 60, 60)):
        model, job = model_of(len(corpus.vocabulary)), Job(tmp_path / str(run), "glove")
        losses.append(train_glove(model, pairs, GloVeRecipe(epochs=epochs), job, 0)["loss"])
        weights.append(model.embed_tokens.weight)
    assert losses[1] < 0.3 * losses[0] and torch.equal(weights[1], weights[2])
