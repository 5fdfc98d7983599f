"""Training and measuring a summarizer."""

import pytest
import torch

from hf_llmpath.data.batches.pairs import Pair, Pairs
from hf_llmpath.runs import Run
from hf_llmpath.stages.s09_attention.summary_training import (
    SummaryData,
    lead_1,
    pair_loss,
    random_sentence,
    score,
    summarize,
    train_summarizer,
)
from hf_llmpath.training.trainer import Recipe
from tests.support.small import IDENTITY, KillAt, Killed, same

PEOPLE = ("Ada", "Ben", "Otto", "Mara", "Ivy", "Karl")
THINGS = ("hat", "kite", "drum", "map", "book")
SHAPE = {"hidden_size": 32, "embedding_size": 16, "initializer_range": 0.5}


def pairs_of(people, things):
    made = []
    for person in people:
        for thing in things:
            sentences = ["It rained.", f"{person} lost the {thing}.", "Nobody saw it."]
            made.append(Pair(" ".join(sentences), sentences, [f"{person} lost a {thing}."]))
    return made


@pytest.fixture(scope="module")
def pairs():
    every = pairs_of(PEOPLE, THINGS)
    return Pairs([p for i, p in enumerate(every) if i % 7], every[::7], {})


@pytest.fixture(scope="module")
def data(pairs):
    return SummaryData.from_pairs(pairs, 100, False, 64, 16)


def test_it_learns_to_summarize_what_it_has_not_seen(data, pairs, tmp_path):
    run = Run.start(tmp_path / "09-attention", IDENTITY | {"stage": 9, "slug": "attention"})
    result = train_summarizer(data, SHAPE, Recipe(150, 8, 1e-2), run, "m", 0, hidden_words=0.0)
    assert result["rougeL"] > 0.8  # 0.5 without the name and the thing
    assert result["rougeL"] == score(result["summaries"], pairs.test)["rougeL"]
    assert result["test_loss"] < 0.7
    again = train_summarizer(data, SHAPE, Recipe(150, 8, 1e-2), run, "m", 0, hidden_words=0.0)
    assert again == result  # read back, not trained again


def test_a_killed_training_ends_with_the_weights_of_an_unbroken_one(data, tmp_path):
    from safetensors.torch import load_file

    found = []
    for name, kill in (("whole", None), ("killed", 12)):
        folder = tmp_path / name / "09-attention"
        identity = IDENTITY | {"stage": 9, "slug": "attention"}
        recipe = Recipe(20, 4, 1e-2, saves=4)
        if kill:
            run = Run.start(folder, identity, progress=KillAt(kill))
            with pytest.raises(Killed):
                train_summarizer(data, SHAPE, recipe, run, "m", 0, hidden_words=0.1)
        run = Run.start(folder, identity, resume=bool(kill))
        train_summarizer(data, SHAPE, recipe, run, "m", 0, hidden_words=0.1)
        found.append(load_file(run.job("m").model_dir / "model.safetensors"))
    assert same(*found)


def test_scores_take_the_best_of_several_summaries():
    pair = Pair("d", ["One two three.", "Four."], ["nothing alike", "one two three"])
    assert score(["one two three"], [pair]) == {
        "rouge1": 1.0,
        "rouge2": 1.0,
        "rougeL": 1.0,
        "exact_match": 1.0,
    }
    assert score(["One two three."], [pair])["exact_match"] == 0
    assert lead_1([pair]) == ["One two three."]
    assert {random_sentence([pair], seed)[0] for seed in range(9)} == set(pair.sentences)


def test_summaries_come_back_in_the_order_of_the_documents(data, pairs, tmp_path):
    run = Run.start(tmp_path / "09-attention", IDENTITY | {"stage": 9, "slug": "attention"})
    train_summarizer(data, SHAPE, Recipe(10, 8, 1e-2), run, "m", 0, hidden_words=0.0)
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(run.job("m").model_dir)
    documents = ["Ada lost the hat. " * n for n in (3, 1, 2)] + [pairs.test[0].document]
    alone = [summarize(model, data.tokenizer, [document])[0] for document in documents]
    assert summarize(model, data.tokenizer, documents, batch_size=2) == alone


def test_the_loss_does_not_depend_on_the_batches(data, pairs, tmp_path):
    run = Run.start(tmp_path / "09-attention", IDENTITY | {"stage": 9, "slug": "attention"})
    train_summarizer(data, SHAPE, Recipe(10, 8, 1e-2), run, "m", 0, hidden_words=0.0)
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(run.job("m").model_dir).eval()
    whole = pair_loss(model, data.tokenizer, pairs.test)
    assert pair_loss(model, data.tokenizer, pairs.test, batch_size=1) == pytest.approx(whole, rel=1e-5)
    one = pairs.test[0]
    inputs = data.tokenizer(one.document, return_tensors="pt")
    labels = data.tokenizer(one.summaries[0], return_tensors="pt").input_ids
    with torch.no_grad():
        expected = model(**inputs, labels=labels).loss.item()
    assert pair_loss(model, data.tokenizer, [one]) == pytest.approx(expected, rel=1e-5)
