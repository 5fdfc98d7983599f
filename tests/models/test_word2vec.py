"""Word vectors as a model: the losses are their formulas, padding counts for nothing, a pipeline reads it."""

import numpy as np
import pytest
import torch
from transformers import pipeline

from hf_llmpath import LLMPathWord2VecConfig, LLMPathWord2VecModel
from hf_llmpath.data.tokenizers.characters import PAD, UNKNOWN
from hf_llmpath.data.tokenizers.word_level import word_tokenizer
from hf_llmpath.models.modeling_word2vec import glove_loss, glove_weight, negative_sampling_loss

SIZES = {"vocab_size": 12, "hidden_size": 5}


def model_of(objective="skipgram") -> LLMPathWord2VecModel:
    torch.manual_seed(0)
    model = LLMPathWord2VecModel(LLMPathWord2VecConfig(objective=objective, **SIZES)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def test_negative_sampling_loss_is_its_formula():
    torch.manual_seed(1)
    v, c, n = torch.randn(4, 5), torch.randn(4, 5), torch.randn(4, 3, 5)
    found = negative_sampling_loss(v.double(), c.double(), n.double())
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    for row in range(4):
        expected = -np.log(sigmoid(float(v[row] @ c[row])))
        expected -= sum(np.log(sigmoid(-float(v[row] @ other))) for other in n[row])
        assert found[row].item() == pytest.approx(expected, abs=1e-5)


def test_glove_loss_is_its_formula():
    counts = torch.tensor([1.0, 50.0, 100.0, 900.0])
    assert glove_weight(counts).tolist() == pytest.approx([0.01**0.75, 0.5**0.75, 1.0, 1.0])
    scores = torch.tensor([0.5, 3.0, 4.0, 7.0])
    expected = [
        float(w * (s - np.log(c)) ** 2) for w, s, c in zip(glove_weight(counts), scores, counts, strict=True)
    ]
    assert glove_loss(scores, counts).tolist() == pytest.approx(expected, rel=1e-5)


def test_each_objective_is_the_mean_over_its_pairs():
    ids, context = torch.tensor([[3, 4, 5], [6, 7, 0]]), torch.tensor([[4, 5, 6], [7, 8, 9]])
    mask, negatives = torch.tensor([[1, 1, 1], [1, 1, 0]]), torch.randint(2, 12, (2, 3, 4))
    there = mask.bool()
    model = model_of()
    own, other = model.embed_tokens.weight, model.context_embeddings.weight
    losses = negative_sampling_loss(own[ids[there]], other[context[there]], other[negatives[there]])
    found = model(ids, mask, context_ids=context, negative_ids=negatives).loss
    torch.testing.assert_close(found, losses.mean())
    model = model_of("cbow")
    own, other = model.embed_tokens.weight, model.context_embeddings.weight
    mean = torch.stack([own[[3, 4, 5]].mean(0), own[[6, 7]].mean(0)])
    losses = negative_sampling_loss(mean, other[context[:, 0]], other[negatives[:, 0]])
    found = model(ids, mask, context_ids=context[:, 0], negative_ids=negatives[:, 0]).loss
    torch.testing.assert_close(found, losses.mean())


@pytest.mark.parametrize("objective, said", [("skipgram", "negative_ids"), ("glove", "counts")])
def test_what_an_objective_needs_is_told(objective, said):
    with pytest.raises(ValueError, match=said):
        model_of(objective)(torch.tensor([[3]]), context_ids=torch.tensor([[4]]))


def test_padding_changes_no_vector_and_no_mean():
    model, ids = model_of(), torch.tensor([[5, 9, 3]])
    plain = model(ids)
    padded = model(torch.tensor([[0, 5, 9, 3, 0]]), torch.tensor([[0, 1, 1, 1, 0]]))
    assert torch.equal(padded.last_hidden_state[:, 1:4], plain.last_hidden_state)
    torch.testing.assert_close(padded.pooler_output, plain.pooler_output)


def test_the_feature_extraction_pipeline_reads_it(tmp_path):
    model = model_of().float()
    tokenizer = word_tokenizer(
        [PAD, UNKNOWN, *["the", "cat", "sat", "on", "a", "mat", "and", "it", "was", "good"]]
    )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    found = pipeline("feature-extraction", model=str(tmp_path))("The CAT, it sang.")[0]
    ids = tokenizer("the cat it sang")["input_ids"]
    assert ids == [2, 3, 9, 1]
    assert np.allclose(found, model.embed_tokens.weight[ids].detach().numpy())
