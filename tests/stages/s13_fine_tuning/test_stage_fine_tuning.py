"""Stage 13: what it can start from, and what it refuses in one line."""

import json

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, BertConfig, BertForMaskedLM

from hf_llmpath.errors import UserError
from hf_llmpath.stages.runner import run_stage
from hf_llmpath.training.baselines import overlap_answer, overlap_answers
from hf_llmpath.world import generate
from tests.support.small import TINY

QUICK = TINY["fine-tuning"] | {"comparisons": (), "fine_tuning.steps": 12}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in generate("questions", "train", 60)))
    return path


@pytest.fixture(scope="module")
def bert(tmp_path_factory, data):
    """A small BERT of transformers in a folder, with its vocabulary."""
    folder = tmp_path_factory.mktemp("bert")
    words = sorted(
        {word for row in generate("questions", "train", 60) for word in row["context"].lower().split()}
    )
    letters = [prefix + letter for letter in "abcdefghijklmnopqrstuvwxyz?.,'" for prefix in ("", "##")]
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(word for word in words if word.isalpha() and len(word) > 1),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertForMaskedLM(
        BertConfig(vocab_size=len(vocabulary), max_position_embeddings=96, **sizes)
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_bert_of_transformers_is_fine_tuned_with_every_comparison(bert, data, tmp_path):
    changes = {"model": str(bert), "dataset": str(data), "max_length": "96", "fine_tuning.steps": "12"}
    comparisons = ("early-stopping", "clipping", "freezing", "layer-wise", "lora")
    options = TINY["fine-tuning"] | changes | {"comparisons": comparisons}
    run = run_stage("fine-tuning", overrides=options, output_dir=tmp_path)
    model = AutoModelForQuestionAnswering.from_pretrained(run.model_dir)
    assert type(model).__name__ == "LLMPathBertForQuestionAnswering"
    assert (model.config.norm_position, model.config.position_embedding_type) == ("post", "learned")
    assert AutoTokenizer.from_pretrained(run.model_dir).tokenize("Wren?") == ["wren", "?"]
    assert "pretraining/perplexity" not in run.metrics
    assert {
        "frozen/exact_match",
        "layer_wise/f1",
        "lora/gap",
        "clipping/loss_saved",
        "stopped/steps",
    } <= run.metrics.keys()
    assert (
        run.report["dataset"]["sizes"]["train_rows"] + run.report["dataset"]["sizes"]["validation_rows"] == 60
    )
    steps = max(entry["step"] for entry in run.history if entry["part"] == "full-0")
    assert steps == 12 and run.metrics["lora/trainable_share"] < 0.1


def test_low_rank_updates_are_measured_on_reviews_as_well(tiny_run):
    run = tiny_run("fine-tuning")
    assert run.report["dataset"]["reviews"]["name"] == "world/reviews"
    assert run.metrics["reviews_lora/trainable_share"] < run.metrics["reviews/trainable_share"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, message",
    [
        ({"model": "no/such/folder"}, "no model folder 'no/such/folder'"),
        ({"comparisons": "claping"}, "no comparison 'claping'; did you mean 'clipping'"),
        ({"max_length": "20", "stride": "18"}, "are too short"),
        ({"comparisons": "early-stopping", "few": "999"}, "few is 999; .* has 5[0-9] questions"),
        ({"comparisons": "freezing", "frozen_layers": "7"}, "7 layers cannot be frozen; the encoder has 2"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(data, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run_stage(
            "fine-tuning",
            overrides=QUICK | {"dataset": str(data), "fine_tuning.steps": "1"} | options,
            output_dir=tmp_path,
        )


def test_windows_longer_than_the_model_are_refused(bert, data, tmp_path):
    with pytest.raises(UserError, match="reads 96 tokens: --set max_length=96"):
        run_stage(
            "fine-tuning", overrides=QUICK | {"dataset": str(data), "model": str(bert)}, output_dir=tmp_path
        )


def test_training_data_without_the_answer_are_told_with_the_row(tmp_path):
    rows = generate("questions", "train", 20)
    rows[6]["answers"] = {"text": ["a purple dragon"], "answer_start": [4]}
    path = tmp_path / "wrong.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(
        UserError,
        match="row 7 of .*wrong.jsonl' .train.: the answer 'a purple dragon' is not at answer_start 4",
    ):
        run_stage("fine-tuning", overrides=QUICK | {"dataset": str(path)}, output_dir=tmp_path)


def test_the_overlap_of_words_on_cases_worked_out_by_hand():
    context = "Wren went to the mill. On Sunday Otto sold a red ball."
    assert overlap_answer("Who sold a red ball?", context) == "On Sunday Otto"
    assert overlap_answer("What was sold by Otto?", context) == "On Sunday"
    scores = overlap_answers(["Who sold a red ball?"], [context], [["Otto"]])
    assert scores == {"exact_match": 0.0, "f1": pytest.approx(0.5)}
