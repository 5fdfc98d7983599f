"""Stage 16: what is saved, what the numbers are, other data, and what is refused."""

import json
import math

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from hf_llmpath.cli.chat import talk
from hf_llmpath.cli.main import main
from hf_llmpath.data.tokenizers.chat_template import conversation_ids
from hf_llmpath.errors import UserError
from hf_llmpath.stages.runner import run_stage
from hf_llmpath.stages.s16_rlhf.judging import win_rate
from hf_llmpath.stages.s16_rlhf.preference_data import load_preferences
from hf_llmpath.stages.s16_rlhf.rewards import RewardModel, pairwise_accuracy
from hf_llmpath.world import judge
from tests.support.small import TINY


@pytest.fixture(scope="module")
def folder(tiny_run):
    return tiny_run("rlhf")


def test_the_scores_are_those_of_the_judge_and_of_the_reward_model(folder):
    for row in folder.figure_data("replies"):
        for reply in row["replies"].values():
            assert reply["score"] == judge(row["prompt"], reply["text"]).score
    tokenizer = AutoTokenizer.from_pretrained(folder.model("reward"))
    reward = RewardModel(AutoModelForSequenceClassification.from_pretrained(folder.model("reward")), 0)
    reward.pad = tokenizer.pad_token_id
    pairs = load_preferences("world/preferences").test
    scores = [
        reward.of_conversations([conversation_ids(tokenizer, pair["prompt"] + pair[side]) for pair in pairs])
        for side in ("chosen", "rejected")
    ]
    assert folder.metrics["reward_accuracy"] == pytest.approx(pairwise_accuracy(*scores), abs=0.01)


def test_the_reward_model_has_layers_of_its_own_on_top(folder):
    settings = folder.report["settings"]
    layers = {
        name: AutoConfig.from_pretrained(folder.model(name)).num_hidden_layers for name in ("sft", "reward")
    }
    assert layers == {"sft": settings["num_hidden_layers"], "reward": settings["reward_layers"]}
    assert layers["reward"] > layers["sft"]


def test_a_tie_counts_half():
    assert win_rate([1, 0, 0.5, 0.2], [0, 1, 0.5, 0.1]) == pytest.approx(2.5 / 4)


@pytest.mark.slow
def test_every_method_runs_and_is_told_apart(tmp_path):
    methods = ("reinforce", "rloo", "grpo", "dpo", "ppo")
    overrides = TINY["rlhf"] | {
        "methods": methods,
        "seeds": 3,
        "hacking_steps": 2,
        "steps": 2,
        "max_new_tokens": 8,
    }
    folder = run_stage("rlhf", overrides=overrides, output_dir=tmp_path)
    assert {path.name for path in (folder.path / "models").iterdir()} == {
        *methods[1:],
        "sft",
        "reward",
        "no-kl",
    }
    for prefix in ("", "rloo/", "grpo/", "dpo/", "ppo/"):
        assert len(folder.metrics[f"{prefix}win_rate_seeds"]) == 3
    goals = {goal["name"]: goal["goal"] for goal in folder.report["goals"]}
    assert goals["no_kl/reward"] == folder.metrics["reward"]
    assert goals["no_kl/judge_score"] == folder.metrics["judge_score"]
    assert (
        goals["ppo_reward_behind_rloo"] >= 0 and goals["win_rate"] == 0.75 and goals["reward_accuracy"] == 0.9
    )
    assert set(folder.figure_data("replies")[0]["replies"]) == {*methods, "sft", "no-kl"}


@pytest.mark.slow
def test_other_preferences_are_measured_by_their_reward_model(tmp_path):
    path = tmp_path / "pairs.jsonl"
    dialogue = "\n\nHuman: Say {}\n\nAssistant: {}"
    rows = [
        {"chosen": dialogue.format(n, f"yes, {n}"), "rejected": dialogue.format(n, "no")} for n in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = TINY["rlhf"] | {"dataset": str(path), "max_new_tokens": 8, "tokenizer": "pieces"}
    folder = run_stage("rlhf", overrides=overrides, output_dir=tmp_path)
    assert folder.report["dataset"]["sizes"] == {"train_pairs": 36, "test_pairs": 4}
    assert math.isfinite(folder.metrics["reward_score"]) and "judge_score" not in folder.metrics


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"methods": ("ppo", "dpa")}, "unknown method 'dpa'.*did you mean 'dpo'"),
        ({"methods": ()}, "methods is empty"),
        ({"max_new_tokens": 192}, "leaves no room for a prompt"),
        ({"context": 68}, "a prompt has .* tokens and the context is 4"),
        ({"num_attention_heads": 3}, "must be a multiple of num_attention_heads"),
        ({"dataset": "none.jsonl"}, "no file or folder"),
    ],
)
def test_what_cannot_be_trained_is_told(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run_stage("rlhf", overrides=TINY["rlhf"] | changes, output_dir=tmp_path)


def test_the_command_answers_with_both(folder, capsys, monkeypatch, tmp_path):
    talk(folder, ["Who is the baker?"], temperature=0.7, seed=1)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("1 SFT: ") and second.startswith("2 aligned: ")
    with pytest.raises(UserError, match="the prompt is empty"):
        talk(folder, [" "], temperature=0.7, seed=1)
    talk(folder, ["Who is the bakerr ☃?"], temperature=0.7, seed=1)
    printed = capsys.readouterr()
    assert printed.err == "never seen: bakerr, ☃\n" and len(printed.out.splitlines()) == 2
    # Typed: a prompt, the choice, and an empty line.
    torch.manual_seed(0)
    lines = iter([line for n in range(6) for line in (f"Who is the baker? {n}", "2")] + [""])
    monkeypatch.setattr("builtins.input", lambda question: next(lines))
    talk(folder, [], temperature=1.5, seed=5, save_to=tmp_path / "thumbs.jsonl")
    out = capsys.readouterr().out.splitlines()
    saved = [json.loads(line) for line in (tmp_path / "thumbs.jsonl").read_text().splitlines()]
    assert saved
    for row in saved:
        assert f"2 aligned: {row['chosen'][0]['content']}".strip() in [line.strip() for line in out]


def test_the_command_line_names_the_line_of_a_bad_pair(capsys, tmp_path):
    path = tmp_path / "thumbs.jsonl"
    pair = {"prompt": "Who?", "chosen": "Mara.", "rejected": "Go away!"}
    rows = [pair, pair, pair | {"rejected": "Mara."}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["run", "rlhf", "--dataset", str(path), "-o", str(tmp_path / "runs")]) == 2
    assert f"line 3 of {path}: 'chosen' and 'rejected' are equal" in " ".join(capsys.readouterr().err.split())


def test_generate_writes_the_reply_of_the_chatbot(folder, capsys):
    from hf_llmpath.decoding.chatbot import Chatbot

    root = str(folder.path.parent)
    assert main(["generate", "rlhf", "Who is the baker?", "--greedy", "-o", root]) == 0
    *_, expected = Chatbot(folder.model_dir).stream("Who is the baker?", temperature=0)
    written = capsys.readouterr().out.strip()
    assert expected and (written.startswith(expected) or expected.startswith(written))
    assert main(["generate", "rlhf", " ", "-o", root]) == 2
    assert "llmpath chat" in capsys.readouterr().err


def test_chat_without_a_run_says_how_to_train_one(capsys, tmp_path):
    assert main(["chat", "Hello", "-o", str(tmp_path)]) == 2
    assert "llmpath run rlhf" in capsys.readouterr().err
