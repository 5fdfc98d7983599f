"""Fine-tuning: the encoder is taken over, the rows are balanced, and a tiny model learns to classify."""

import numpy as np
import pytest
import torch

from hf_llmpath.data.batches.token_rows import TokenRows
from hf_llmpath.models.modeling_bert import LLMPathBertForMaskedLM, LLMPathBertForSequenceClassification
from hf_llmpath.training.baselines import linear_text_accuracy
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.recipes.classifier import balanced_rows, fine_tune, predict
from hf_llmpath.training.recipes.masked_language_model import MaskedTexts, encode
from tests.support.small import text_of_hats
from tests.training.recipes.test_masked_language_model import config_of

TEXTS = text_of_hats().splitlines()
LABELS = [int("red" in text) for text in TEXTS]


@pytest.fixture(scope="module")
def texts():
    return MaskedTexts.from_texts(TEXTS[:150], TEXTS[150:], vocab_size=90, context=24)


def tune(texts, start, run, name, steps, rate=1e-2):
    rows = (TokenRows(encode(texts.tokenizer, TEXTS[:150], 24)), LABELS[:150])
    recipe = Recipe(steps=steps, batch_size=16, learning_rate=rate, saves=1)
    held_out = (texts.validation, LABELS[150:])
    job = run.job(name)
    return fine_tune(start, ["other", "red"], rows, held_out, texts.tokenizer, recipe, job, seed=3), job


def test_the_encoder_is_taken_over_and_the_classifier_is_new(texts, a_started_run, tmp_path):
    torch.manual_seed(0)
    pretrained = LLMPathBertForMaskedLM(config_of(texts))
    pretrained.save_pretrained(tmp_path)
    _, job = tune(
        texts, tmp_path, a_started_run, "tuned", steps=1, rate=0.0
    )  # a step of no length changes nothing
    tuned = LLMPathBertForSequenceClassification.from_pretrained(job.model_dir)
    encoder = pretrained.model.state_dict()
    assert encoder.keys() == tuned.model.state_dict().keys()
    for name, value in tuned.model.state_dict().items():
        assert torch.equal(value, encoder[name]), name
    assert tuned.classifier.weight.shape == (2, 16) and tuned.classifier.weight.abs().sum() > 0
    assert tuned.config.id2label == {0: "other", 1: "red"} and tuned.config.label2id == {"other": 0, "red": 1}


def test_random_weights_are_those_of_the_configuration(texts, a_started_run):
    _, job = tune(texts, config_of(texts), a_started_run, "random", steps=1, rate=0.0)
    model = LLMPathBertForSequenceClassification.from_pretrained(job.model_dir)
    assert model.model.embeddings.tokens.weight[1:].std().item() == pytest.approx(0.2, rel=0.15)
    assert model.config.position_embedding_type == "rotary" and model.config.classifier_pooling == "mean"
    assert model.config.id2label == {0: "other", 1: "red"}


def test_a_tiny_encoder_learns_to_classify(texts, a_started_run):
    result, job = tune(texts, config_of(texts), a_started_run, "random", steps=60)
    assert result["accuracy"] > 0.95
    model = LLMPathBertForSequenceClassification.from_pretrained(job.model_dir)
    found = predict(model, texts.validation, 0, batch_size=7)
    assert result["accuracy"] == pytest.approx((found == np.array(LABELS[150:])).mean())
    ids, there = texts.validation.padded(np.arange(len(texts.validation)), 0)
    assert (model(input_ids=ids, attention_mask=there).logits.argmax(-1).numpy() == found).all()


def test_rows_are_balanced_and_drawn_by_the_seed():
    labels = [0] * 90 + [1] * 30 + [2] * 3
    chosen = balanced_rows(labels, 30, seed=0)
    counts = np.bincount(np.array(labels)[chosen])
    assert len(set(chosen)) == 30 and counts[2] == 3 and abs(counts[0] - counts[1]) <= 1
    assert (balanced_rows(labels, 30, seed=0) == chosen).all()
    assert set(balanced_rows(labels, 30, seed=1)) != set(chosen)
    assert sorted(balanced_rows(labels, 123, seed=2)) == list(range(123))


def test_the_linear_baseline_reads_words_and_pairs_but_not_how_far_ones_agree():
    texts = [f"{a} box with {b} tea" for a in ("red", "blue") for b in ("hot", "cold")] * 6
    by_word, by_pair = ([int(job in text) for text in texts] for job in ("red", "with hot"))
    assert linear_text_accuracy(texts, by_word, texts, by_word) == 1.0
    assert linear_text_accuracy(texts, by_pair, texts, by_pair) == 1.0
    by_agreement = [int(("red" in text) == ("hot" in text)) for text in texts]  # exclusive-or of two words
    assert linear_text_accuracy(texts, by_agreement, texts, by_agreement) <= 0.75
