"""Skip-gram and CBOW as matrix products are what a loop over all pairs and autograd give; they learn;
seeds repeat.
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_llmpath import LLMPathWord2VecConfig, LLMPathWord2VecModel
from hf_llmpath.models.modeling_word2vec import negative_sampling_loss
from hf_llmpath.runs import Job
from hf_llmpath.stages.s12_embeddings.word2vec import (
    BLOCK,
    MOST_SUMMED,
    AdagradRows,
    Gradients,
    SGDRows,
    Word2VecRecipe,
    Word2VecTraining,
    random_word_table,
)
from hf_llmpath.stages.s12_embeddings.word_corpus import Vocabulary, WordCorpus
from hf_llmpath.stages.s12_embeddings.word_probes import WordVectors, kind_precision

SIDES = {
    word: side
    for side, words in {"sea": "boat sail wave fish", "land": "barn plough field cow"}.items()
    for word in words.split()
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> WordCorpus:
    """Texts about the sea or about the land."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(400):
        side = ["sea", "land"][random.integers(2)]
        words = [word for word, of in SIDES.items() if of == side]
        rows.append(" ".join(random.choice([*words, "the", "and"], 30)))
    return WordCorpus.write(rows, Vocabulary.of(rows, 1), tmp_path_factory.mktemp("corpus") / "ids.bin")


def trained(corpus, objective="skipgram", seed=0, **changes) -> LLMPathWord2VecModel:
    torch.manual_seed(0)
    model = LLMPathWord2VecModel(
        LLMPathWord2VecConfig(vocab_size=len(corpus.vocabulary), hidden_size=16, objective=objective)
    )
    recipe = Word2VecRecipe(**{"epochs": 8, "batch_blocks": 16, "subsample": None} | changes)
    with tempfile.TemporaryDirectory() as folder:
        numbers = Word2VecTraining(model, corpus, recipe, seed).run(Job(Path(folder), "vectors"))
    assert numbers["words_per_second"] > 0
    return model


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
def test_gradients_are_those_of_a_loop_over_all_pairs(objective):
    torch.manual_seed(0)
    blocks, groups, shared, negatives, size = 4, 2, 6, 3, 5
    words, context = torch.randn(2, blocks, BLOCK, size, dtype=torch.float64, requires_grad=True).unbind(0)
    words, context = words.detach().requires_grad_(), context.detach().requires_grad_()
    random = torch.randn(groups, shared, size, dtype=torch.float64, requires_grad=True)
    band = torch.rand(blocks, BLOCK, BLOCK) < 0.1
    band[0, 3] = False  # a word without neighbors
    total = torch.zeros((), dtype=torch.float64)
    for block in range(blocks):
        shared_words = random[block // (blocks // groups)]
        for index in range(BLOCK):
            neighbors = band[block, index].nonzero().flatten().tolist()
            if objective == "cbow":
                asked = [(words[block, neighbors].mean(0), context[block, index])] if neighbors else []
            else:
                asked = [(words[block, index], context[block, other]) for other in neighbors]
            for vector, partner in asked:
                total = total - torch.nn.functional.logsigmoid(vector @ partner)
                # each of the shared words counts for negatives / shared random ones
                total = (
                    total
                    - negatives / shared * torch.nn.functional.logsigmoid(-(shared_words @ vector)).sum()
                )
    expected = torch.autograd.grad(total, [words, context, random])
    gradients = Gradients(objective, negatives, shared)(
        words.detach(), context.detach(), random.detach(), band.to(torch.float64)
    )
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_with_as_many_shared_words_as_negatives_it_is_the_papers_loss():
    torch.manual_seed(0)
    words, context = torch.randn(1, BLOCK, 4).double(), torch.randn(1, BLOCK, 4).double()
    random = torch.randn(1, 5, 4).double().requires_grad_()
    band = torch.zeros(1, BLOCK, BLOCK).double()
    band[0, 2, 7] = 1
    loss = negative_sampling_loss(words[0, 2:3], context[0, 7:8], random)
    (expected,) = torch.autograd.grad(loss.sum(), [random])
    gradient = Gradients("skipgram", 5, 5)(words, context, random.detach(), band)[2]
    torch.testing.assert_close(gradient, expected)


def test_rows_are_updated_by_adagrad_and_repeated_rows_add_up():
    table = torch.zeros(4, 3)
    rows = AdagradRows(table)
    gradients = torch.tensor([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]])
    rows.update(torch.tensor([1, 1, 2]), gradients.clone(), learning_rate=0.5)
    squares = 0.1 + torch.tensor([1 / 3 + 4 / 3, 9 / 3])
    expected = torch.zeros(4, 3)
    expected[1] = -0.5 * torch.tensor([1.0, 2.0, 0.0]) / squares[0].sqrt()
    expected[2] = -0.5 * torch.tensor([0.0, 0.0, 3.0]) / squares[1].sqrt()
    torch.testing.assert_close(table, expected)


def test_plain_gradient_descent_adds_up_few_gradients_of_a_word_and_bounds_those_of_a_frequent_one():
    table = torch.zeros(4, 2)
    often = 3 * MOST_SUMMED
    gradients = torch.arange(2.0 * (often + 2)).view(-1, 2)
    SGDRows(table).update(torch.tensor([1] * often + [2] * 2), gradients.clone(), learning_rate=0.5)
    expected = torch.zeros(4, 2)
    expected[1] = -0.5 * MOST_SUMMED * gradients[:often].mean(0)
    expected[2] = -0.5 * gradients[often:].sum(0)
    torch.testing.assert_close(table, expected)


def test_a_pair_that_is_nearly_known_still_teaches_in_16_bits():
    """1 - sigmoid(6) is 0.0025; bfloat16 has nothing between 0.996 and 1."""
    words = torch.zeros(1, BLOCK, 2, dtype=torch.bfloat16)
    words[0, :2] = torch.tensor([[3.0, 0], [0, 3.0]])
    context = torch.zeros_like(words)
    context[0, 1, 0] = 2
    band = torch.zeros(1, BLOCK, BLOCK, dtype=torch.bfloat16)
    band[0, 0, 1] = 1
    to_words, to_context, _ = Gradients("skipgram", 5, 5)(
        words, context, torch.zeros_like(words[:, :5]), band
    )
    assert to_context[0, 1, 0].item() == pytest.approx(-3 * 0.00247, rel=0.01)


def test_neighbors_are_within_the_window_and_of_one_text(corpus):
    model = LLMPathWord2VecModel(LLMPathWord2VecConfig(vocab_size=len(corpus.vocabulary), hidden_size=4))
    training = Word2VecTraining(model, corpus, Word2VecRecipe(window=4), seed=0)
    texts = torch.zeros(500, BLOCK, dtype=torch.long)
    texts[0, 20:] = 1
    band = training.band(texts)
    one, other = torch.meshgrid(torch.arange(BLOCK), torch.arange(BLOCK), indexing="ij")
    assert not band[:, (one - other).abs() > 4].any() and not band[:, one == other].any()
    assert not band[0, :20, 20:].any() and not band[0, 20:, :20].any()
    for distance in range(1, 5):  # a word reaches its neighbor at d in widths d..4 of 1..4
        assert band[1:, (other - one) == distance].double().mean().item() == pytest.approx(
            (5 - distance) / 4, abs=0.02
        )


def test_random_words_are_shared_words_by_the_power_of_their_counts():
    table = random_word_table(np.array([0, 7, 16, 1]), power=0.75)
    shares = torch.bincount(table, minlength=4) / len(table)
    assert shares.tolist() == pytest.approx([0, 0, 8 / 9, 1 / 9], abs=1e-5)


@pytest.mark.parametrize("objective", ["skipgram", "cbow"])
@pytest.mark.parametrize(
    "optimizer", [{}, {"optimizer": "sgd", "learning_rate": 0.02}], ids=["adagrad", "sgd"]
)
def test_words_of_one_side_come_together(corpus, objective, optimizer):
    model = trained(corpus, objective, **optimizer)
    vectors = WordVectors(corpus.vocabulary.words[2:], model.embed_tokens.weight.detach()[2:].numpy())
    assert kind_precision(vectors, SIDES, count=3) == 1.0


def test_a_seed_repeats_the_training_and_16_bits_learn_the_same(corpus):
    one, other = trained(corpus), trained(corpus)
    assert torch.equal(one.embed_tokens.weight, other.embed_tokens.weight)
    assert not torch.equal(one.embed_tokens.weight, trained(corpus, seed=1).embed_tokens.weight)
    short = trained(corpus, precision="bf16").embed_tokens.weight[2:]
    cosines = torch.cosine_similarity(short, one.embed_tokens.weight[2:])
    assert cosines.mean() > 0.98
