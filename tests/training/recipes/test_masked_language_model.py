"""Masked language modeling: its loss is the one of the definition, a tiny model learns, and blanks are
filled.
"""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.modeling_bert import LLMPathBertForMaskedLM
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.recipes.masked_language_model import (
    MaskedTexts,
    encode,
    fill_masks,
    masked_loss,
    pretrain,
)
from tests.support.small import model_of, text_of_hats

TEXTS = text_of_hats().splitlines()


@pytest.fixture(scope="module")
def texts():
    return MaskedTexts.from_texts(TEXTS[:150], TEXTS[150:], vocab_size=90, context=24, mask_rate=0.2)


def config_of(texts, **changes):
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
    }
    layout = {"position_embedding_type": "rotary", "norm_position": "pre", "classifier_pooling": "mean"}
    special = {
        "pad_token_id": 0,
        "mask_token_id": 4,
        "type_vocab_size": 0,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    own = {"vocab_size": len(texts.tokenizer), "initializer_range": 0.2}
    return LLMPathBertConfig(**sizes | layout | special | own | changes)


def model_for(texts, **changes):
    torch.manual_seed(0)
    return LLMPathBertForMaskedLM(config_of(texts, **changes)).eval()


def test_the_loss_is_the_mean_over_the_masked_tokens_whatever_the_batches(texts):
    model = model_for(texts)
    found = masked_loss(model, texts.validation, texts, batch_size=len(texts.validation))
    order = np.argsort(texts.validation.lengths, kind="stable")
    ids, there = texts.validation.padded(order, 0)
    special = torch.isin(ids, torch.tensor(texts.tokenizer.all_special_ids))
    inputs, labels = texts.masking(ids, ~special, torch.Generator().manual_seed(0))
    logits = model(input_ids=inputs, attention_mask=there).logits
    assert found["loss"] == pytest.approx(F.cross_entropy(logits.transpose(1, 2), labels).item(), rel=1e-5)
    right = (logits.argmax(-1) == labels)[labels >= 0].float().mean().item()
    assert found["accuracy"] == pytest.approx(right)
    assert masked_loss(model, texts.validation, texts, seed=0) == masked_loss(
        model, texts.validation, texts, seed=0
    )
    assert masked_loss(model, texts.validation, texts, seed=1) != masked_loss(
        model, texts.validation, texts, seed=0
    )


def test_the_autoregressive_loss_guesses_every_next_token():
    """The other objective: each token from those before it, and no mask."""
    model = model_of("gru").eval()
    ids = torch.tensor([[3, 5, 4, 7, 9, 3]])
    logits = model(input_ids=ids).logits
    by_hand = torch.stack([-logits[0, t].log_softmax(-1)[ids[0, t + 1]] for t in range(5)]).mean()
    torch.testing.assert_close(model(input_ids=ids, labels=ids).loss, by_hand)
    changed = ids.clone()
    changed[0, 4:] = 8  # what comes later changes nothing before it
    torch.testing.assert_close(model(input_ids=changed).logits[:, :4], logits[:, :4])


def test_an_encoder_sees_both_sides(texts):
    model = model_for(texts)
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    for place in (1, 3):  # what stands before and what stands behind both matter to the middle
        changed = ids.clone()
        changed[0, place] = 20
        assert not torch.allclose(
            model(input_ids=changed).logits[0, 2], model(input_ids=ids).logits[0, 2], atol=1e-4
        )


def test_guessing_by_frequency_is_the_baseline(texts):
    loss, accuracy = texts.unigram_loss()
    special = set(texts.tokenizer.all_special_ids)
    counts = {token: 1 for token in range(len(texts.tokenizer))}
    for token in texts.train.tokens.tolist():
        counts[token] += token not in special
    asked = [token for token in texts.validation.tokens.tolist() if token not in special]
    total = sum(counts.values())
    assert loss == pytest.approx(-sum(math.log(counts[token] / total) for token in asked) / len(asked))
    assert accuracy == pytest.approx(asked.count(max(counts, key=counts.get)) / len(asked))


@pytest.mark.slow
def test_pretraining_lowers_the_perplexity(texts, a_started_run):
    recipe = Recipe(steps=150, batch_size=32, learning_rate=1e-2, evaluations=3)
    result = pretrain(texts, config_of(texts), recipe, a_started_run.job("pretraining"), seed=0)
    baseline = math.exp(texts.unigram_loss()[0])
    assert result["perplexity"] < 0.5 * baseline < result["perplexity_before"]
    assert result["perplexity"] == pytest.approx(math.exp(result["validation_loss"]))
    assert result["epochs"] == pytest.approx(150 * 32 / 150)
    again = pretrain(texts, config_of(texts), recipe, a_started_run.job("pretraining"), seed=0)
    assert again == result  # read back, not repeated


def test_a_corpus_is_packed_into_rows_of_the_context(texts):
    corpus = [" ".join(TEXTS[start : start + 20]) for start in range(0, 100, 20)]
    with_corpus = MaskedTexts.from_texts(TEXTS[:50], TEXTS[150:], corpus, vocab_size=90, context=24)
    blocks = with_corpus.train.lengths[50:]
    assert len(blocks) > 20 and set(blocks) == {24}
    first = with_corpus.train.padded(np.array([50]), 0)[0][0].tolist()
    assert first[0] == 2 and first[-1] == 3
    assert first[1:-1] == with_corpus.tokenizer(corpus[0], add_special_tokens=False)["input_ids"][:22]


def test_unknown_words_of_a_corpus_are_the_unknown_token():
    found = MaskedTexts.from_texts(TEXTS[:50], TEXTS[150:], ["a <unk> hat " * 40], vocab_size=90, context=24)
    assert (found.train.tokens == found.tokenizer.unk_token_id).sum() > 20


def test_rows_are_cut_to_the_context(texts):
    ids = encode(texts.tokenizer, [" ".join(TEXTS[:5])], 10)[0]
    assert len(ids) == 10 and ids[0] == 2 and ids[-1] == 3


def test_fills_are_the_probabilities_of_the_model(texts):
    model = model_for(texts)
    mask = texts.tokenizer.mask_token
    text = f"Anna had a {mask} hat and went to the {mask}."
    fills = fill_masks(model, texts.tokenizer, text, top_k=3)
    ids = torch.tensor([texts.tokenizer.encode(text)])
    chances = model(input_ids=ids).logits.softmax(-1)[ids == 4]
    assert len(fills) == 2
    for row, expected in zip(fills, chances, strict=True):
        assert [value for _, value in row] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-6)
        assert [name for name, _ in row] == [
            texts.tokenizer.decode([t]).strip() for t in expected.topk(3).indices
        ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the text is empty; type a sentence with .MASK. in it"),
        ("  \n", "the text is empty"),
        ("Anna had a hat.", "no .MASK. in 'Anna had a hat.'; put it where a word is missing"),
        ("Anna had a hat and " * 10 + "[MASK]", "stands beyond the first 24 tokens"),
    ],
)
def test_a_text_that_cannot_be_filled_is_refused(texts, text, message):
    with pytest.raises(UserError, match=message):
        fill_masks(model_for(texts), texts.tokenizer, text)


def test_a_long_text_is_filled_from_its_beginning(texts):
    model, long = model_for(texts), "[MASK] " + " ".join(TEXTS)
    kept = texts.tokenizer(long, truncation=True, max_length=24, return_tensors="pt")["input_ids"]
    assert kept.shape == (1, 24)
    expected = model(input_ids=kept).logits[0, 1].softmax(-1).max().item()
    assert fill_masks(model, texts.tokenizer, long, 1)[0][0][1] == pytest.approx(expected, abs=1e-6)
