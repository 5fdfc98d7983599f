"""Bad input to `llmpath`: one line that says what is wrong and what would be right, exit code 2, nothing
lost.
"""

import json
import re
import shutil
import socket

import pytest

from hf_llmpath.cli.main import main
from hf_llmpath.data.tokenizers.characters import train_character_tokenizer
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import all_stages


def test_unknown_stage(refused):
    assert "unknown stage 'lstm-gur'; did you mean 'lstm-gru'?" in refused("run", "lstm-gur")
    assert "unknown stage '99'; there are: " in refused("show", "99")
    for command in (["demo", "rn"], ["generate", "rn"], ["push", "rn", "a/b"], ["space", "rn", "a/b"]):
        assert "did you mean 'rnn'?" in refused(*command)


def test_nothing_is_trained_when_a_later_stage_is_unknown(refused, tmp_path):
    refused("run", "rnn", "lsmt", "--output-dir", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_unknown_command_and_option(refused):
    assert "No such command 'rnu'" in refused("rnu")
    assert "--preset" in refused("run", "rnn", "--presett", "full")
    assert "STAGE" in refused("run")
    assert "top-p" in refused("generate", "rnn", "--top-p", "2")


def test_unknown_preset(refused):
    assert "unknown preset 'ful'; there are quick and full; did you mean 'full'?" in refused(
        "run", "rnn", "--preset", "ful"
    )


def test_unknown_setting(refused, tmp_path):
    line = refused("run", "rnn", "--set", "hiden_size=3", "--output-dir", tmp_path / "runs")
    assert "unknown setting 'hiden_size'; did you mean 'hidden_size'?" in line
    assert not (tmp_path / "runs").exists()


def test_unknown_setting_of_one_stage_of_several(refused, tmp_path):
    line = refused("run", "rnn", "lstm-gru", "--set", "adding_length=8", "--output-dir", tmp_path / "runs")
    assert "stage 7 (rnn): unknown setting 'adding_length'" in line
    assert not (tmp_path / "runs").exists()


def test_a_stage_that_does_not_have_the_convenience_option(refused):
    assert "unknown setting 'label_column'" in refused("run", "rnn", "--label-column", "stars")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("hidden_size=big", "setting hidden_size is 'big'; it takes int"),
        ("hidden_size=0", "setting hidden_size is 0; it must be at least 1"),
        ("dropout=1.5", "setting dropout is 1.5; it must be from 0 to 0.9"),
        ("learning_rate=nan", "setting training.learning_rate is nan; it must be a finite number"),
        ("learning_rate=inf", "setting training.learning_rate is inf; it must be a finite number"),
        ("learning_rate=-1", "setting training.learning_rate is -1.0; it must be at least 0"),
        ("byte_fallback=maybe", "setting byte_fallback is 'maybe'; it takes bool"),
        ("hidden_size", "--set takes KEY=VALUE, not 'hidden_size'"),
        ("seed=-1", "setting seed is -1; it must be from 0 to 2147483647"),
    ],
)
def test_wrong_value(refused, setting, said):
    assert said in refused("run", "rnn", "--set", setting)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["transformer", "inference"])
def test_sizes_that_do_not_fit_together(refused, tmp_path, stage):
    said = refused("run", stage, "--set", "hidden_size=30", "-o", tmp_path)
    assert "hidden_size (30) must be a multiple of num_attention_heads (4)" in said


def test_a_setting_given_twice(refused):
    assert "seed is given twice: 1 and 2" in refused("run", "rnn", "--seed", "1", "--set", "seed=2")


# Data


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.txt", None, "no file or folder"),
        ("empty.txt", b"", "is empty"),
        ("blank.txt", b" \n\n", "is empty"),
        ("latin.txt", "Zoë had a hat. ".encode("latin-1") * 400, "is not UTF-8 (byte 2)"),
        ("short.txt", b"Anna had a hat.", "the training text has 13 characters"),
        (
            "table.csv",
            b"story_text,stars\nAnna had a hat,3\nBen,4\n",
            "name one of: story_text, stars with --text-column",
        ),
        ("broken.jsonl", b'{"text": "a"}\n{"text": ', "cannot be read as .jsonl"),
        ("picture.png", b"\x89PNG", "unknown kind of file"),
    ],
)
def test_data_that_cannot_be_used(refused, tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    line = refused("run", "rnn", "--dataset", path, "--output-dir", tmp_path / "runs")
    assert said in line
    assert "broken" not in name or str(path) in line


def test_nothing_is_trained_on_data_that_a_later_part_cannot_use(refused, tmp_path):
    """Stage 8 begins with the adding problem, stage 10 with its toy tasks: neither needs the data set."""
    short, table = tmp_path / "short.txt", tmp_path / "table.csv"
    short.write_text("Anna had a hat.")
    table.write_text("text,label\n" + "nice,1\n" * 30)
    for stage, path, said in (
        ("lstm-gru", short, "the training text has 13 characters"),
        ("transformer", table, "has the single class 1"),
    ):
        assert said in refused("run", stage, "--dataset", path, "--output-dir", tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/checkpoints"))


def test_a_column_that_is_not_there(refused, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("story,stars\nAnna had a hat,3\nBen had none,4\n")
    line = refused(
        "run", "rnn", "--dataset", path, "--text-column", "stori", "--output-dir", tmp_path / "runs"
    )
    assert f"{path} has no column 'stori'; it has: story, stars; did you mean 'story'?" in line


@pytest.mark.parametrize("stage", [stage.slug for stage in all_stages()])
def test_a_column_that_must_be_named_can_be_named(refused, tmp_path, stage):
    """The option that the error suggests is one that the stage has."""
    (tmp_path / "table.csv").write_text("stary,stors\nAnna had a hat,3\nBen had none,4\n")
    line = refused("run", stage, "--dataset", tmp_path / "table.csv", "--output-dir", tmp_path / "runs")
    assert "it has: " in line or "name one of: " in line
    for name in re.findall(r"--set (\w+)=", line) + [
        f"{kind}_column" for kind in re.findall(r"--(\w+)-column", line)
    ]:
        other = refused("run", stage, "--dataset", tmp_path / "table.csv", "--set", f"{name}=stary")
        assert other != line and "unknown setting" not in other


def test_a_folder_without_data(refused, tmp_path):
    (tmp_path / "data").mkdir()
    line = refused("run", "rnn", "--dataset", tmp_path / "data", "--output-dir", tmp_path / "runs")
    assert "no data files" in line and "train.*" in line


def test_a_series_that_is_not_there(refused, tmp_path, text_file):
    arguments = ["run", "sequences", "--dataset", text_file, "--output-dir", tmp_path / "runs"]
    assert "no series file 'gone.csv'" in refused(*arguments, "--set", "series=gone.csv:12")
    assert "must be PATH:PERIOD" in refused(*arguments, "--set", "series=gone.csv")


@pytest.mark.slow
def test_no_network_for_a_hub_id(llmpath, tmp_path):
    root = tmp_path / "runs"
    process = llmpath(
        "run", "rnn", "--dataset", "someone/stories", "--output-dir", root, HF_HOME=str(tmp_path / "home")
    )
    heading, error = process.stderr.splitlines()
    assert process.returncode == 2 and process.stdout == ""
    assert (
        error.startswith("error: 'someone/stories' is no embedded set")
        and "could not be read from the Hub" in error
    )


def test_a_stopped_run_survives_input_that_cannot_be_used(refused, a_run, tmp_path):
    """The run that was stopped can still be resumed, and the complete one is still there."""
    checkpoints = a_run.path / "checkpoints"
    (checkpoints / "parts" / "rnn").mkdir(parents=True)
    (checkpoints / "parts" / "rnn" / "history.jsonl").write_text('{"loss": 1.0, "step": 1}\n')
    identity = {name: a_run.report[name] for name in ("stage", "slug", "preset", "settings", "command")}
    (checkpoints / "run.json").write_text(json.dumps(identity))
    for _ in range(2):
        refused("run", "rnn", "--dataset", tmp_path / "gone.txt", "--output-dir", a_run.path.parent)
    assert RunFolder(a_run.path).state == "stopped"
    assert json.loads((checkpoints / "run.json").read_text()) == identity
    assert (checkpoints / "parts" / "rnn" / "history.jsonl").exists()
    assert RunFolder(a_run.path).is_complete


# Folders


def test_output_folder_that_is_a_file(refused, tmp_path, text_file):
    (tmp_path / "runs").write_text("keep me")
    assert "a file is in the way" in refused(
        "run", "rnn", "--dataset", text_file, "--output-dir", tmp_path / "runs"
    )
    for command in (["list"], ["show", "rnn"], ["generate", "rnn"], ["demo", "rnn"], ["export", "inference"]):
        assert "a file is in the way" in refused(*command, "--output-dir", tmp_path / "runs")
    assert (tmp_path / "runs").read_text() == "keep me"


def test_output_folder_that_cannot_be_written(refused, text_file):
    assert "cannot write to /proc/runs/07-rnn" in refused(
        "run", "rnn", "--dataset", text_file, "--output-dir", "/proc/runs"
    )


def test_output_folder_that_is_a_run_folder(refused, a_run):
    for command in (["run", "rnn"], ["show", "rnn"], ["list"], ["generate", "rnn"]):
        line = refused(*command, "--output-dir", a_run.path)
        assert f"{a_run.path} is itself a run folder" in line
        assert line.endswith(f"--output-dir {a_run.path.parent}")


def test_run_folder_of_another_stage(refused, a_run, text_file):
    root = a_run.path.parent
    shutil.copytree(a_run.path, root / "08-lstm-gru")
    for command in (
        ["run", "lstm-gru", "--dataset", text_file],
        ["show", "lstm-gru"],
        ["generate", "lstm-gru"],
    ):
        assert "is a run folder of stage 'rnn', not of 'lstm-gru'" in refused(*command, "--output-dir", root)
    assert RunFolder(root / "08-lstm-gru").report == a_run.report


def test_no_run_yet(refused, tmp_path):
    for command in (["show", "rnn"], ["generate", "rnn", "Once"], ["push", "rnn", "a/b"]):
        line = refused(*command, "--output-dir", tmp_path)
        assert f"train it with: llmpath run rnn --output-dir {tmp_path}" in line


def test_nothing_to_resume(refused, a_run):
    line = refused("run", "rnn", "--resume", "--output-dir", a_run.path.parent)
    assert f"nothing to resume in {a_run.path}; run without --resume" in line
    assert RunFolder(a_run.path).is_complete


def test_metrics_that_cannot_be_read(refused, a_run):
    (a_run.path / "metrics.json").write_text('{"stage": 7, ')
    assert "metrics.json is not readable as JSON" in refused("show", "rnn", "--output-dir", a_run.path.parent)
    (a_run.path / "metrics.json").write_text('{"slug": "rnn", "metrics": {}}')
    for command in (["show", "rnn"], ["generate", "rnn"], ["push", "rnn", "a/b", "--dry-run"]):
        line = refused(*command, "--output-dir", a_run.path.parent)
        assert "metrics.json lacks preset, seed, dataset" in line and line.endswith("; run the stage again")
    assert main(["list", "--output-dir", str(a_run.path.parent)]) == 0  # as damaged


# Models


def test_model_folder_without_weights(refused, a_run):
    (a_run.model_dir / "model.safetensors").unlink()
    assert "has no model.safetensors" in refused("generate", "rnn", "Anna", "--output-dir", a_run.path.parent)


def test_model_folder_with_truncated_weights(refused, a_run):
    weights = a_run.model_dir / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for command in (["generate", "rnn", "Anna"], ["push", "rnn", "a/b", "--dry-run"]):
        assert "is truncated or damaged" in refused(*command, "--output-dir", a_run.path.parent)


def test_model_folder_with_pickled_weights(refused, a_run):
    weights = a_run.model_dir / "model.safetensors"
    weights.rename(a_run.model_dir / "pytorch_model.bin")
    for command in (["generate", "rnn", "Anna"], ["push", "rnn", "a/b", "--dry-run"]):
        line = refused(*command, "--output-dir", a_run.path.parent)
        assert "only pickled weights (pytorch_model.bin)" in line and "save_pretrained" in line


def test_model_folder_with_the_tokenizer_of_another_model_or_none(refused, a_run, trained):
    arguments = ["generate", "rnn", "Anna", "--output-dir", a_run.path.parent]
    tokenizer = a_run.model_dir / "tokenizer.json"
    (a_run.model_dir / "tokenizer.json").write_text(
        train_character_tokenizer(["Anna"]).backend_tokenizer.to_str()
    )
    assert "it is the tokenizer of another model; use the one that was saved with the model" in refused(
        *arguments
    )
    tokenizer.unlink()
    (a_run.model_dir / "tokenizer_config.json").unlink()
    assert f"{a_run.model_dir} has no tokenizer" in refused(*arguments)


def test_model_folder_with_a_configuration_that_is_damaged_or_of_another_size(refused, a_run):
    config = a_run.model_dir / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"hidden_size": 16', '"hidden_size": 24'))
    line = refused("generate", "rnn", "Anna", "--output-dir", a_run.path.parent)
    assert "the weights do not have the sizes in config.json" in line
    config.write_text(text[:-9])  # no JSON any more
    for command in (["generate", "rnn", "Anna"], ["show", "rnn"], ["push", "rnn", "a/b", "--dry-run"]):
        assert f"{config} is not readable as JSON" in refused(*command, "--output-dir", a_run.path.parent)


def test_a_further_model_that_is_not_there(refused, a_run):
    arguments = ["generate", "rnn", "Anna", "--output-dir", a_run.path.parent, "--model"]
    assert "has no model 'twin'; it has only the main one" in refused(*arguments, "twin")
    shutil.copytree(a_run.model_dir, a_run.model("twin"))
    assert "did you mean 'twin'?" in refused(*arguments, "twim")


def test_a_further_model_that_does_not_write(refused, a_run):
    shutil.copytree(a_run.model_dir, a_run.model("series"))
    config = a_run.model("series") / "config.json"
    config.write_text(
        config.read_text().replace("LLMPathRNNForCausalLM", "LLMPathRNNForTimeSeriesPrediction")
    )
    line = refused("generate", "rnn", "Anna", "--model", "series", "--output-dir", a_run.path.parent)
    assert "holds a LLMPathRNNForTimeSeriesPrediction, which does not write text" in line


def test_prompt_with_characters_that_the_tokenizer_does_not_know(refused, trained):
    line = refused("generate", "rnn", "Anna ☃ é\x07 ☃", "--output-dir", trained.root)
    assert "the model never saw '☃', 'é', '\\x07'" in line
    assert "it knows space and . A B M O a b d e g-i " in line
    assert "byte_fallback=true" in line


def test_sampling_options_out_of_range(refused):
    assert "--temperature" in refused("generate", "rnn", "Anna", "--temperature", "0")
    assert "--seed" in refused("generate", "rnn", "Anna", "--seed", "-1")
    assert "--max-new-tokens" in refused("generate", "rnn", "Anna", "--max-new-tokens", "0")


# The demo and the Hub


def test_port_in_use(refused, trained):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused("demo", "rnn", "--port", port, "--no-browser", "--output-dir", trained.root)
    assert f"port {port} is in use" in line and "--port" in line


@pytest.mark.parametrize("command", [["push", "rnn"], ["space", "rnn"], ["space", "all"]])
def test_repository_name_that_is_not_allowed(refused, trained, command):
    place = ["--output-dir", trained.root] if command[0] == "push" else []
    for name in ("bad name", "a/b/c", "-x", "x--y"):
        assert f"'{name}' is not allowed as a repository name" in refused(*command, *place, "--", name)


def test_no_token(refused, trained, monkeypatch, tmp_path):
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for command in (
        ["push", "rnn", "someone/rnn", "--output-dir", trained.root],
        ["space", "rnn", "someone/rnn"],
    ):
        line = refused(*command)
        assert "no Hugging Face token" in line and "hf auth login" in line


# What nobody expected


def test_an_unexpected_error_is_one_line_and_code_1(monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("hf_llmpath.cli.report.path_rows", fail)
    assert main(["list"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "error: unexpected RuntimeError: two lines; run again with -v for the traceback\n"
    assert printed.out == ""
    assert main(["-v", "list"]) == 1
    printed = capsys.readouterr()
    assert "Traceback" in printed.err and printed.err.endswith("error: unexpected RuntimeError: two lines\n")


def test_verbose_shows_the_traceback_of_a_user_error(capsys):
    for arguments in (["-v", "show", "rn"], ["show", "rn", "--verbose"]):
        assert main(arguments) == 2
        printed = capsys.readouterr().err
        assert "Traceback" in printed and printed.splitlines()[-1].startswith("error: unknown stage 'rn'")
