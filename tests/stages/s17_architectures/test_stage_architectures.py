"""What stage 17 leaves behind: models of equal size for the pipelines of their tasks, and numbers that
say what was measured.
"""

import json
import math

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, pipeline

from hf_llmpath.errors import UserError
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages.runner import run_stage
from hf_llmpath.stages.s17_architectures.charts import comparison, comparison_table, joint_mask
from hf_llmpath.stages.s17_architectures.strengths import GAP, half_of, prompts_of
from tests.support.small import TINY


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("architectures")


def test_the_three_are_of_equal_size_and_have_read_the_same(folder):
    autos = {"gpt": AutoModelForCausalLM, "bert": AutoModelForMaskedLM, "t5": AutoModelForSeq2SeqLM}
    sizes = {kind: auto.from_pretrained(folder.model(kind)).num_parameters() for kind, auto in autos.items()}
    metrics = folder.metrics
    assert sizes == {kind: metrics[f"{kind}/parameters"] for kind in autos}
    assert metrics["size_ratio"] == max(sizes.values()) / min(sizes.values()) <= 1.05
    assert len({metrics[f"{kind}/tokens"] for kind in autos}) == 1
    for kind in autos:
        losses = [row["loss"] for row in folder.history if row["part"] == f"{kind}-0" and "loss" in row]
        assert len(losses) == 20 and metrics[f"{kind}/perplexity"] < math.exp(losses[0])
        assert (
            metrics[f"{kind}/memory_mb"] > 4 * 4 * sizes[kind] / 2**20
        )  # more than weights, gradients and moments


def test_each_works_in_the_pipelines_of_its_task(folder):
    classes = {"negative", "positive"}
    for place in (folder.model_dir, folder.model("classifier-gpt")):
        (found,) = pipeline("text-classification", str(place))(["The tea was lovely."])
        assert found["label"] in classes
    assert len(pipeline("fill-mask", str(folder.model("bert")))("The tea was [MASK].")) == 5
    (written,) = pipeline("text-generation", str(folder.model("gpt")))(
        "the tea", max_new_tokens=5, do_sample=False
    )
    assert written["generated_text"].startswith("the tea") and len(written["generated_text"]) > 8
    answer = pipeline("summarization", str(folder.model("classifier-t5")))(
        "The tea was lovely.", max_new_tokens=4
    )
    assert isinstance(answer[0]["summary_text"], str)


def test_the_joint_mask_of_the_encoder_decoder(folder):
    whole, tokens = joint_mask(folder.figure_data("masks"))
    source = len(folder.figure_data("masks")["t5/encoder"]["rows"])
    target = len(tokens) - source
    assert target >= 3
    assert (
        whole[:source, :source].all() and not whole[:source, source:].any() and whole[source:, :source].all()
    )
    assert np.array_equal(whole[source:, source:], np.tril(np.ones((target, target), dtype=bool)))


def test_the_table_marks_the_best_and_gives_deviations():
    values = {
        "parameters": [10.0], "tokens": [20.0], "memory_mb": [3.0], "perplexity": [2.0, 4.0],
        "pretraining_seconds": [5.0, 7.0], "fine_tuning_seconds": [1.0, 1.0], "accuracy": [0.5, 0.7],
        "equal_time/accuracy": [0.6, 0.6],
    }  # fmt: skip
    better = values | {"accuracy": [0.9, 0.9], "memory_mb": [4.0]}
    headers, rows, best = comparison({"gpt": values, "bert": better, "t5": values}, linear=0.8)
    assert len(headers) == len(rows[0]) == 9 and [row[0] for row in rows][1:3] == ["BERT", "T5"]
    assert rows[0][3] == "3.00 ± 1.41" and rows[0][7] == "60.0% ± 14.1%"
    assert rows[3][7:] == ["80.0%", "80.0%"]
    assert best == [(0, 3), (0, 4), (0, 5), (1, 6), (3, 7)]


def test_examples_of_other_texts_have_blanks_and_gaps():
    texts = ["one two three four five six seven eight nine", "short"]
    blanks, beginnings, gaps = prompts_of("some.csv", texts)
    assert blanks == ("one two three four [MASK] six seven eight nine",)
    assert beginnings == ("one two three",)
    assert gaps == (f"one two {GAP} five six {GAP} eight nine",)
    assert half_of("one two three four five") == "one two" and half_of("one") == "one"


@pytest.mark.slow
def test_equal_time_gives_the_faster_ones_more_steps(tmp_path):
    settings = TINY["architectures"] | {"equal_time": True, "fine_tuning.steps": 12}
    folder = run_stage("architectures", overrides=settings, output_dir=tmp_path)
    metrics = folder.metrics
    seconds = {kind: metrics[f"{kind}/pretraining_seconds"] for kind in ("gpt", "bert", "t5")}
    slowest = max(seconds, key=seconds.get)
    assert metrics[f"{slowest}/equal_time/tokens"] == metrics[f"{slowest}/tokens"]
    for kind, spent in seconds.items():
        steps = round(20 * seconds[slowest] / spent)
        ratio = metrics[f"{kind}/equal_time/tokens"] / metrics[f"{kind}/tokens"]
        assert ratio == pytest.approx(steps / 20, rel=0.05)
    assert "accuracy, equal time" in comparison_table(folder).html()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings, said",
    [
        ({"sentinels": 3}, "--set sentinels="),
        ({"hidden_size": 18}, "hidden_size .18. must be a multiple of num_attention_heads"),
        ({"num_decoder_layers": 9}, "no size gives it"),
        ({"vocab_size": 50}, "too small"),
    ],
)
def test_settings_that_cannot_be_are_told_before_the_training(tmp_path, settings, said):
    with pytest.raises(UserError, match=said):
        run_stage("architectures", overrides=TINY["architectures"] | settings, output_dir=tmp_path)


@pytest.mark.slow
def test_an_own_table_is_read(tmp_path):
    rows = [
        {"text": f"this is a rather {word} text about number {n}", "label": word}
        for n in range(40)
        for word in ("fine", "dull")
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = TINY["architectures"] | {
        "dataset": str(tmp_path / "own.jsonl"),
        "pretraining.steps": 10,
        "fine_tuning.steps": 10,
    }
    folder = run_stage("architectures", overrides=settings, output_dir=tmp_path)
    assert folder.report["dataset"]["name"] == str(tmp_path / "own.jsonl")
    config = json.loads((folder.model("classifier-t5") / "config.json").read_text())
    assert set(config["id2label"].values()) == {"dull", "fine"}
