"""Stage 9 with tiny settings: what its run leaves, and text from its model on the terminal."""

import json

import pytest

from hf_llmpath.cli.generate import stream
from hf_llmpath.errors import UserError
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.runner import run_stage
from tests.support.small import TINY


@pytest.fixture
def folder(tiny_run):
    return tiny_run("attention")


def test_metrics_and_goals_are_of_the_world(folder):
    metrics, baselines = folder.metrics, folder.report["baselines"]
    assert metrics["gain_over_without_attention"] == metrics["rougeL"] - metrics["without_attention/rougeL"]
    assert metrics["lead_1/rougeL"] == baselines["rougeL"] < 0.5
    assert {goal["name"] for goal in folder.report["goals"]} == {
        "rougeL",
        "lead_1/rougeL",
        "gain_over_without_attention",
    }
    assert folder.report["dataset"]["measured_on"] == "test"
    shown = folder.figure_data("alignments")[0]
    assert len(shown["weights"]) == len(shown["summary"]) == len(shown["entropy"])
    assert {path.name for path in (folder.path / "models").iterdir()} == {"without_attention"}


@pytest.mark.slow
def test_any_pairs_can_be_summarized_and_no_goal_is_claimed_for_them(tmp_path):
    rows = [
        {
            "source": [f"It rained {day} days.", f"Then we slept {day} nights."],
            "target": [f"Rain for {day} days.", "x"],
        }
        for day in range(40)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    overrides = TINY["attention"] | {
        "dataset": str(path),
        "tokens": "pieces",
        "seeds": 2,
        "training.steps": 10,
    }
    folder = run_stage("attention", overrides=overrides, output_dir=tmp_path / "runs")
    assert folder.report["goals"] == []
    assert len(folder.metrics["rougeL_seeds"]) == 2 and "rougeL_sd" in folder.metrics
    assert folder.report["dataset"]["measured_on"] == "validation"


def test_text_from_the_model_is_a_summary(folder, capsys):
    stage = get_stage("attention")
    stream(stage, folder, stage.prompt, options={"max_new_tokens": 5, "do_sample": False})
    once = capsys.readouterr().out
    stream(stage, folder, stage.prompt, options={"max_new_tokens": 5, "do_sample": False})
    assert capsys.readouterr().out == once and once.strip()
    stream(stage, folder, "The sea was calm. " * 80, "without_attention", options={"max_new_tokens": 5})
    assert "tokens; the model reads the first 256" in capsys.readouterr().err
    stream(stage, folder, "Anna ☃ had a hat.", options={"max_new_tokens": 5})
    assert "☃" in (said := capsys.readouterr().err) and said.startswith("never seen: ")
    with pytest.raises(UserError, match="writes about a text; give one"):
        stream(stage, folder, " ")
