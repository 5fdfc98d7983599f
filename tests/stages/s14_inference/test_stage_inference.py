"""Stage 14: its commands on a trained model, and what it refuses in a line."""

import json
import math
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_llmpath.cli.main import main
from hf_llmpath.deploy.onnx_generation import OnnxDecoder
from hf_llmpath.deploy.quantization import load_quantized
from hf_llmpath.deploy.speed import eager, measure
from hf_llmpath.errors import UserError
from hf_llmpath.stages.runner import run_stage
from tests.support.small import TINY


@pytest.fixture(scope="module")
def folder(tiny_run):
    return tiny_run("inference")


def call(capsys, *arguments):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_form_is_measured_and_the_student_is_there(folder):
    rows = folder.figure_data("table")
    forms = [
        "no cache",
        "greedy",
        "bare steps",
        "beam search, 4 beams",
        "int8",
        "nf4",
        "ONNX",
        "ONNX int8",
        "student",
    ]
    assert list(rows) == forms
    assert folder.metrics["greedy/perplexity"] == rows["greedy"]["perplexity"]
    teacher, student = (
        AutoModelForCausalLM.from_pretrained(path) for path in (folder.model_dir, folder.model("student"))
    )
    assert 2 * student.config.num_hidden_layers == teacher.config.num_hidden_layers
    assert rows["student"]["megabytes"] < rows["greedy"]["megabytes"] > rows["int8"]["megabytes"]
    assert {f"alone/{name}" for name in ("accuracy", "validation_loss")} <= folder.metrics.keys()


def test_students_of_other_seeds_read_in_another_order(folder):
    first, second = folder.metrics["student/validation_loss_seeds"]
    assert first != second


def test_the_tokenizer_begins_a_text_and_does_not_end_it(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder.model_dir)
    ids = tokenizer("Otto smiled.")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id and tokenizer.eos_token_id not in ids[1:]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Otto smiled."


def test_a_prompt_with_words_that_it_never_saw(folder, capsys):
    assert (
        main(["generate", "inference", "the baker ☃ villagee", "--output-dir", str(folder.path.parent)]) == 2
    )
    said = capsys.readouterr().err
    assert "the model never saw '☃', 'villagee'; it knows" in said and "did you mean 'village'?" in said


def test_export_writes_what_the_model_writes(folder, tiny_run, capsys):
    files = call(capsys, "export", "inference", "--int8", "--json", "-o", folder.path.parent)
    assert [entry["path"].rpartition("/")[2] for entry in files] == ["model.onnx", "model_int8.onnx"]
    assert files[0]["max_difference"] < 1e-4 and files[0]["agreement"] == 1
    assert files[1]["megabytes"] < files[0]["megabytes"]
    model = AutoModelForCausalLM.from_pretrained(folder.model_dir).eval()
    prompt = torch.tensor([[2, 5, 9]])
    decoder = OnnxDecoder(files[0]["path"], folder.model_dir)
    expected = model.generate(prompt, max_new_tokens=12, do_sample=False)
    assert torch.equal(decoder.generate(prompt, max_new_tokens=12), expected)


@pytest.mark.parametrize("scheme", ["int8", "nf4"])
def test_quantize_saves_a_model_that_comes_back(folder, capsys, scheme):
    (report,) = call(capsys, "quantize", "inference", "--to", scheme, "--json", "-o", folder.path.parent)
    assert report["path"] == str(folder.quantized(scheme)) and report["layers"] == 4 * 6
    assert 0 < report["relative_error"] < 0.3 and report["megabytes"] < report["megabytes_before"]
    model = load_quantized(report["path"])
    tokenizer = AutoTokenizer.from_pretrained(report["path"])
    inputs = tokenizer("Otto smiled", return_tensors="pt")
    text = model.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=4)
    assert text.shape[1] > inputs["input_ids"].shape[1]


def test_the_encoder_of_another_stage_is_exported_and_quantized(tiny_run, capsys):
    folder = tiny_run("fine-tuning")
    (report,) = call(capsys, "export", "fine-tuning", "--json", "-o", folder.path.parent)
    assert report["max_difference"] < 1e-4


def test_bench_measures_the_learners_model(folder, capsys):
    options = ("--tokens", 4, "--repeats", 1, "-o", folder.path.parent)
    rows = call(capsys, "bench", "inference", "--json", *options)
    assert len(rows) == 9 and all(row["tokens_per_second"] > 0 for row in rows.values())
    assert rows["ONNX"]["perplexity"] == pytest.approx(rows["greedy"]["perplexity"], rel=1e-4)
    assert rows["no cache"]["agreement"] == 1
    assert json.loads((folder.bench_dir / "inference.json").read_text()) == rows
    assert (folder.bench_dir / "inference.png").stat().st_size > 10_000
    assert main(["bench", *map(str, options)]) == 0
    assert "first token, ms" in capsys.readouterr().out


def test_perplexity_is_that_of_the_loss(folder):
    model = AutoModelForCausalLM.from_pretrained(folder.model_dir).eval()
    torch.manual_seed(0)
    text = torch.randint(3, model.config.vocab_size, (3, 20))
    row = measure({"greedy": eager(model)}, text[:1, :4], text, tokens=3, repeats=1)["greedy"]
    with torch.no_grad():
        assert row.perplexity == pytest.approx(math.exp(model(text, labels=text).loss), rel=1e-5)
    assert row.agreement == 1 and row.megabytes == pytest.approx(4e-6 * model.num_parameters(), rel=0.05)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("export", "inference", "--model", "studnet"), "has no model 'studnet'; did you mean 'student'"),
        (("quantize", "inference", "--to", "int4"), "unknown scheme 'int4'"),
        (("bench", "speed"), "no benchmark 'speed'; there is: inference"),
    ],
)
def test_commands_refuse_in_one_line(folder, capsys, arguments, message):
    capsys.readouterr()
    assert main([*arguments, "-o", str(folder.path.parent)]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize("command", [["export", "inference"], ["quantize", "inference"], ["bench"]])
def test_a_truncated_weight_file_is_told_and_nothing_is_left_behind(folder, tmp_path, capsys, command):
    damaged = tmp_path / folder.path.name
    shutil.copytree(folder.path, damaged, ignore=shutil.ignore_patterns("onnx", "quantized", "bench"))
    weights = damaged / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    before = sorted(path.name for path in damaged.iterdir())
    capsys.readouterr()
    assert main([*command, "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "is truncated or damaged" in error and len(error.splitlines()) == 1
    assert sorted(path.name for path in damaged.iterdir()) == before


def test_bench_of_a_model_that_does_not_write_is_refused(tiny_run, capsys):
    folder = tiny_run("fine-tuning")
    assert main(["bench", "--stage", "fine-tuning", "-o", str(folder.path.parent)]) == 2
    assert "only a decoder (AutoModelForCausalLM) can be measured" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_hidden_layers": "1"}, "num_hidden_layers"),
        ({"hidden_size": "30"}, "hidden_size .30. must be a multiple of num_attention_heads"),
        ({"context": "200000"}, "the validation text has .* tokens; a window has 200000"),
        ({"num_beams": "5000"}, "num_beams is 5000; the vocabulary has"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(tmp_path, options, message):
    quick = TINY["inference"] | {"teacher.steps": "1", "student.steps": "1"}
    with pytest.raises(UserError, match=message):
        run_stage("inference", overrides=quick | options, output_dir=tmp_path)
