"""The commands of `llmpath`, used as they are meant to be."""

import json
import re
import resource
import subprocess
import sys

import pytest

import hf_llmpath
from hf_llmpath.cli.main import main
from hf_llmpath.stages import all_stages

COMMANDS = ("list", "run", "show", "demo", "generate", "push", "space", "doctor")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list"], ["show", "rnn", "--settings"]])
def test_what_needs_no_model_loads_no_torch(arguments, tmp_path):
    """`--help` and `list` answer in well under a second, because nothing heavy is imported."""
    code = (
        "import sys; from hf_llmpath.cli.main import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'numpy', 'gradio', 'datasets'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0
    assert process.stderr.strip() == "[]"
    assert (
        after.ru_utime - before.ru_utime < 1.0
    )  # seconds of this process alone, however busy the machine is


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", shown), command
        assert main([command, "--help"]) == 0


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hf_llmpath {hf_llmpath.__version__}\n"


def test_module_and_function_are_the_same_program(llmpath, capsys):
    assert main(["show", "rnn", "--settings"]) == 0
    assert llmpath("show", "rnn", "--settings").stdout == capsys.readouterr().out


def test_list_of_an_empty_folder_shows_the_path(tmp_path, capsys):
    assert main(["list", "--output-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for stage in all_stages():
        assert stage.slug in shown and stage.title in shown and stage.phase in shown
    assert shown.count("not yet") == len(all_stages())
    assert f"llmpath run {all_stages()[0].slug}" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 82


def test_list_as_json_has_the_main_number_and_its_baseline(trained, capsys):
    assert main(["list", "--output-dir", str(trained.root), "--json"]) == 0
    rows = {row["slug"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == [stage.slug for stage in all_stages()]
    report = trained.folder.report
    assert rows["rnn"]["state"] == "trained"
    assert rows["rnn"]["value"] == report["metrics"]["bits_per_character"]
    assert rows["rnn"]["baseline"] == report["baselines"]["bits_per_character"]
    assert rows["rnn"]["seconds"] == report["seconds"]
    assert rows["lstm-gru"]["state"] == "not yet" and rows["lstm-gru"]["value"] is None


def test_list_survives_a_damaged_report(a_run, capsys):
    (a_run.path / "metrics.json").write_text("{")
    assert main(["list", "--output-dir", str(a_run.path.parent)]) == 0
    assert "damaged" in capsys.readouterr().out


def test_run_with_json_prints_one_document_and_progress_elsewhere(trained):
    (document,) = json.loads(trained.process.stdout)
    folder = document.pop("folder")
    assert folder == str(trained.folder.path)
    assert document == trained.folder.report
    assert "rnn: 1,200 steps, loss" in trained.process.stderr
    assert "Traceback" not in trained.process.stderr and "Warning" not in trained.process.stderr


def test_run_leaves_a_complete_folder_and_the_command_that_repeats_it(trained):
    folder = trained.folder
    assert folder.state == "complete"
    for name in (
        "model/model.safetensors",
        "model/config.json",
        "README.md",
        "metrics.json",
        "history.jsonl",
    ):
        assert (folder.path / name).stat().st_size > 0, name
    assert folder.figures
    command = folder.report["command"].split()
    assert command[:3] == ["llmpath", "run", "rnn"] and "--output-dir" not in command
    assert "training.steps=1200" in command


@pytest.mark.slow
def test_run_of_several_stages_ends_with_the_path_and_resume_keeps_what_is_complete(
    llmpath, small_run, tmp_path
):
    arguments = small_run(tmp_path, 20, "sequences")
    process = llmpath(*arguments)
    assert process.returncode == 0, process.stderr
    rnn, sequences = process.stdout.index("rnn "), process.stdout.index("sequences ")
    assert rnn < sequences
    assert "missed" in process.stdout  # 20 steps are too few, and that is said
    written = (tmp_path / "07-rnn" / "metrics.json").stat().st_mtime_ns
    again = llmpath(*arguments, "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("complete already") == 2
    assert (tmp_path / "07-rnn" / "metrics.json").stat().st_mtime_ns == written
    assert again.stdout == process.stdout


def test_run_ends_with_numbers_places_and_next_steps(trained, capsys):
    from hf_llmpath.cli.report import print_run
    from hf_llmpath.stages import get_stage

    print_run(get_stage("rnn"), trained.folder)
    shown = capsys.readouterr().out
    assert "bits per character" in shown and "baseline" in shown and "validation loss" in shown
    assert str(trained.folder.path) in shown
    for command in ("demo rnn", "generate rnn", "show rnn", "run lstm-gru"):
        assert f"llmpath {command} --output-dir {trained.root}" in shown


def test_a_missed_goal_is_shown_and_is_no_error(a_run, capsys):
    report = a_run.report
    report["goals"] = [
        {"name": "perplexity", "value": 2.5, "goal": 1.5, "higher_is_better": False, "met": False}
    ]
    (a_run.path / "metrics.json").write_text(json.dumps(report))
    assert main(["show", "rnn", "--output-dir", str(a_run.path.parent)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("perplexity"))
    assert "≤ 1.5" in row and "missed" in row


def test_show_has_all_numbers_pictures_and_code(trained, capsys):
    assert main(["show", "7", "--output-dir", str(trained.root)]) == 0
    shown = capsys.readouterr().out
    for name in trained.folder.metrics:
        assert name.replace("_", " ") in shown, name
    for figure in trained.folder.figures:
        assert str(figure) in shown.splitlines()[-1] or any(
            str(figure) in line for line in shown.splitlines()
        )
    assert f'from_pretrained("{trained.folder.model_dir}")' in shown


def test_a_terminal_without_unicode(llmpath, trained):
    process = llmpath("show", "rnn", "--output-dir", trained.root, PYTHONIOENCODING="ascii")
    assert process.returncode == 0 and process.stdout.startswith("Stage 7 ? Recurrent neural networks")


def test_the_code_that_show_prints_runs(trained, capsys):
    assert main(["show", "rnn", "--output-dir", str(trained.root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"] == trained.folder.metrics
    assert document["figures"] == [str(path) for path in trained.folder.figures]
    exec(document["load"], {})
    assert len(capsys.readouterr().out) > 20


def test_show_settings_as_json_has_both_presets(capsys):
    assert main(["show", "rnn", "--settings", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["training.steps"]["type"] == "int"
    assert rows["training.steps"]["full"] > rows["training.steps"]["quick"] > 0
    assert rows["hidden_size"]["help"]


def write(capsys, trained, *arguments: str) -> str:
    assert main(["generate", "rnn", *arguments, "--output-dir", str(trained.root)]) == 0
    return capsys.readouterr().out


def test_generate_continues_the_prompt_and_repeats_itself_with_a_seed(trained, capsys):
    options = ("--max-new-tokens", "80", "--seed", "3")
    first = write(capsys, trained, "Anna had", *options)
    assert first.startswith("Anna had") and 60 < len(first) <= 8 + 80 + 1
    assert write(capsys, trained, "Anna had", *options) == first
    assert write(capsys, trained, "Anna had", *options[:2], "--seed", "4", "--temperature", "1.5") != first


def test_generate_greedy_is_what_generate_writes(trained, capsys):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(trained.folder.model_dir)
    tokenizer = AutoTokenizer.from_pretrained(trained.folder.model_dir)
    ids = [tokenizer.bos_token_id, *tokenizer.encode("Ben", add_special_tokens=False)]
    output = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=60)[0]
    expected = tokenizer.decode(output, skip_special_tokens=True)
    assert write(capsys, trained, "Ben", "--greedy", "--max-new-tokens", "60") == expected + "\n"


def test_generate_begins_a_document_when_the_prompt_is_empty(trained, capsys):
    assert len(write(capsys, trained, "", "--max-new-tokens", "40", "--seed", "0").strip()) > 10


def test_generate_top_k_of_one_is_greedy(trained, capsys):
    greedy = write(capsys, trained, "Otto", "--greedy", "--max-new-tokens", "50")
    assert write(capsys, trained, "Otto", "--top-k", "1", "--max-new-tokens", "50") == greedy
    assert write(capsys, trained, "Otto", "--top-p", "0.01", "--max-new-tokens", "50") == greedy


def test_push_dry_run_says_what_would_be_sent(trained, capsys):
    assert main(["push", "rnn", "someone/rnn", "--dry-run", "--output-dir", str(trained.root)]) == 0
    shown = capsys.readouterr().out
    for name in ("model.safetensors", "config.json", "README.md", "modeling_rnn.py", "metrics.json"):
        assert name in shown
    assert "nothing was sent to someone/rnn" in shown
    assert "checkpoint" not in shown


@pytest.mark.parametrize("stage", ["rnn", "all"])
def test_space_dry_run_says_what_would_be_sent(stage, capsys):
    assert main(["space", stage, "someone/demo", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for name in ("app.py", "requirements.txt", "README.md"):
        assert name in shown


def test_doctor_finds_what_the_stages_need(tmp_path, capsys):
    code = main(["doctor", "--json", "--output-dir", str(tmp_path / "runs")])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert code == 0
    for name in ("python", "torch works", "Auto classes", "a training step", "output folder"):
        assert checks[name]["state"] == "ok", checks[name]
    assert all(check["fix"] for check in checks.values() if check["state"] != "ok")
    assert not (tmp_path / "runs").exists()


def test_doctor_ends_with_1_when_something_needed_is_broken(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--output-dir", str(tmp_path / "file")]) == 1
    shown = capsys.readouterr().out
    assert "Stages cannot run: output folder." in shown
    assert "choose another with --output-dir" in shown


def test_doctor_says_when_the_hub_cannot_be_reached(monkeypatch):
    from huggingface_hub import constants

    from hf_llmpath.cli.doctor import examine

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    check = examine(online=True)[-1]
    assert check.name == "Hub" and check.state == "missing" and "cannot be reached" in check.finding
