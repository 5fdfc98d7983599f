"""Training on the toy tasks: what is counted is right, and the model is kept with its tokenizer."""

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from hf_llmpath.data.algorithmic import toy_pairs
from hf_llmpath.runs import Job
from hf_llmpath.stages.s10_transformer import TransformerSettings, transduction
from hf_llmpath.stages.s10_transformer.transduction import train_transducer, transduce

SMALL = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "examples": 200,
    "rewriting.steps": 60,
    "rewriting.batch_size": 16,
    "rewriting.learning_rate": 5e-3,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Result, model, and tokenizer of a short training on two tasks."""
    settings = TransformerSettings().updated(tasks=("sort", "date"), **SMALL)
    job = Job(tmp_path_factory.mktemp("toy"), "toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transduction, "TEST_EXAMPLES", 12)
        result = job.once(lambda job: train_transducer(settings, {"norm_first": False}, 0, job))
    model = AutoModelForSeq2SeqLM.from_pretrained(job.model_dir)
    return result, model, AutoTokenizer.from_pretrained(job.model_dir)


def test_exact_match_counts_the_answers_of_the_kept_model(trained):
    result, model, tokenizer = trained
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
    assert result["parameters"] == model.num_parameters() and not model.config.norm_first


def test_answers_do_not_depend_on_the_batch(trained):
    _, model, tokenizer = trained
    sources = [source for source, _ in toy_pairs("sort", "test", 9)]
    assert transduce(model, tokenizer, sources) == transduce(model, tokenizer, sources, batch_size=2)
