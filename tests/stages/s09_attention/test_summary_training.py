"""Training and measuring a summarizer."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM

from hf_llmpath.data.batches.pairs import Pair, Pairs
from hf_llmpath.runs import Job
from hf_llmpath.stages.s09_attention import AttentionSettings
from hf_llmpath.stages.s09_attention.summary_training import (
    SummaryData,
    lead_1,
    pair_loss,
    random_sentence,
    score,
    summarize,
    train_summarizer,
)
from hf_llmpath.training.recipe import Recipe
from tests.support.small import KillAt, Killed, same

PEOPLE = ("Ada", "Ben", "Otto", "Mara", "Ivy", "Karl")
THINGS = ("hat", "kite", "drum", "map", "book")
SHAPE = {"hidden_size": 32, "embedding_size": 16, "initializer_range": 0.5}


@pytest.fixture(scope="module")
def pairs():
    rows = []
    for person in PEOPLE:
        for thing in THINGS:
            sentences = ["It rained.", f"{person} lost the {thing}.", "Nobody saw it."]
            rows.append(Pair(" ".join(sentences), sentences, [f"{person} lost a {thing}."]))
    return Pairs([row for index, row in enumerate(rows) if index % 7], rows[::7], {})


def data_of(pairs, hidden_words=0.0):
    sizes = {"vocab_size": 100, "max_source": 64, "max_target": 16}
    return SummaryData.from_pairs(pairs, AttentionSettings(hidden_words=hidden_words, **sizes))


def train(data, recipe, folder, progress=None):
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(folder, "m", progress)
    return job.once(lambda job: train_summarizer(data, data.config(**SHAPE), recipe, 0, 1, job))


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    """Data, result, and model of a short training."""
    data, folder = data_of(pairs), tmp_path_factory.mktemp("summarizer")
    result = train(data, Recipe(150, 8, 1e-2), folder)
    return data, result, AutoModelForSeq2SeqLM.from_pretrained(folder / "model").eval()


def test_it_learns_to_summarize_what_it_has_not_seen(trained, pairs):
    _, result, _ = trained
    assert result["rougeL"] > 0.8  # 0.5 without the name and the thing
    assert result["rougeL"] == score(result["summaries"], pairs.test)["rougeL"]
    assert result["test_loss"] < 0.7


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_an_unbroken_one(pairs, tmp_path):
    data, recipe = data_of(pairs, hidden_words=0.1), Recipe(20, 4, 1e-2, saves=4)
    train(data, recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        train(data, recipe, tmp_path / "killed", KillAt(12))
    train(data, recipe, tmp_path / "killed")
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed")]
    assert same(*weights)


def test_scores_take_the_best_of_several_summaries():
    pair = Pair("d", ["One two three.", "Four."], ["nothing alike", "one two three"])
    assert set(score(["one two three"], [pair]).values()) == {1.0}
    assert score(["One two three."], [pair])["exact_match"] == 0
    assert lead_1([pair]) == ["One two three."]
    assert {random_sentence([pair], seed)[0] for seed in range(9)} == set(pair.sentences)


def test_summaries_come_back_in_the_order_of_the_documents(trained, pairs):
    data, _, model = trained
    documents = ["Ada lost the hat. " * n for n in (3, 1, 2)] + [pairs.test[0].document]
    alone = [summarize(model, data.tokenizer, [document])[0] for document in documents]
    assert summarize(model, data.tokenizer, documents, batch_size=2) == alone


def test_the_loss_does_not_depend_on_the_batches(trained, pairs):
    data, _, model = trained
    whole = pair_loss(model, data.tokenizer, pairs.test)
    assert pair_loss(model, data.tokenizer, pairs.test, batch_size=1) == pytest.approx(whole, rel=1e-5)
    one = pairs.test[0]
    inputs = data.tokenizer(one.document, return_tensors="pt")
    labels = data.tokenizer(one.summaries[0], return_tensors="pt").input_ids
    with torch.no_grad():
        expected = model(**inputs, labels=labels).loss.item()
    assert pair_loss(model, data.tokenizer, [one]) == pytest.approx(expected, rel=1e-5)
