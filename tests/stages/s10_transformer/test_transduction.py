"""Training on the toy tasks: what is counted is right, and the model is kept with its tokenizer."""

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from hf_llmpath.data.algorithmic import toy_pairs
from hf_llmpath.stages.s10_transformer import transduction
from hf_llmpath.stages.s10_transformer.transduction import train_transducer, transduce
from hf_llmpath.training.trainer import Recipe

SHAPE = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "position_embedding_type": "rotary",
}


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(transduction, "TEST_EXAMPLES", 12)


def test_exact_match_counts_the_answers_of_the_kept_model(few, a_started_run):
    recipe = Recipe(60, 16, 5e-3)
    result = train_transducer(("sort", "date"), SHAPE, recipe, a_started_run, "toy", 0, examples=200)
    job = a_started_run.job("toy")
    model, tokenizer = (
        AutoModelForSeq2SeqLM.from_pretrained(job.model_dir),
        AutoTokenizer.from_pretrained(job.model_dir),
    )
    for task, split, metric in (
        ("sort", "test", "exact_match"),
        ("sort", "longer", "exact_match_longer"),
        ("date", "test", "exact_match"),
    ):
        pairs = toy_pairs(task, split, 12)
        answers = transduce(model, tokenizer, [source for source, _ in pairs])
        right = [answer == target for answer, (_, target) in zip(answers, pairs, strict=True)]
        assert result[f"{task}/{metric}"] == pytest.approx(sum(right) / 12)
        assert len(result["mistakes"][f"{task}/{split}"]) == min(5, 12 - sum(right))
    assert "date/exact_match_longer" not in result
    assert result["parameters"] == model.num_parameters()
    assert train_transducer(("sort", "date"), SHAPE, recipe, a_started_run, "toy", 0) == result  # read back


def test_answers_do_not_depend_on_the_batch(few, a_started_run):
    recipe = Recipe(80, 16, 5e-3)
    train_transducer(("reverse",), SHAPE, recipe, a_started_run, "toy", 0, examples=200)
    folder = a_started_run.job("toy").model_dir
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    sources = [source for source, _ in toy_pairs("reverse", "test", 9)]
    assert transduce(model, tokenizer, sources) == transduce(model, tokenizer, sources, batch_size=2)
