"""Each stage's quick preset, trained once: it reaches its goals and leaves everything that the contract
names.
"""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import transformers
from huggingface_hub import ModelCard
from PIL import Image
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from hf_llmpath.hub.model_folder import snippet_of_run
from hf_llmpath.models.model_table import MODELS
from hf_llmpath.stages import all_stages

pytestmark = pytest.mark.slow
WRITING = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM")
SLUGS = [stage.slug for stage in all_stages()]


@pytest.fixture(params=SLUGS)
def stage(request):
    return next(stage for stage in all_stages() if stage.slug == request.param)


@pytest.fixture
def folder(stage, quick_runs):
    return quick_runs(stage.slug)


def test_every_goal_is_met(folder):
    goals = folder.report["goals"]
    assert goals
    for goal in goals:
        assert goal["value"] == folder.metrics[goal["name"]]
        assert goal["met"], goal


def test_the_main_number_beats_its_baseline(stage, folder):
    report = folder.report
    assert report["main"] == stage.main
    (goal,) = [goal for goal in report["goals"] if goal["name"] == stage.main]
    value, baseline = report["metrics"][stage.main], report["baselines"][stage.main]
    assert value > baseline if goal["higher_is_better"] else value < baseline


def test_metrics_json_has_what_the_contract_names(stage, folder):
    report = folder.report
    assert (report["stage"], report["slug"], report["preset"], report["seed"]) == (
        stage.number,
        stage.slug,
        "quick",
        0,
    )
    assert report["dataset"]["name"] == stage.settings.quick().dataset
    assert len(report["dataset"]["fingerprint"]) == 16
    assert all(size > 0 for size in report["dataset"]["sizes"].values())
    assert report["command"] == f"llmpath run {stage.slug} --preset quick"
    assert report["settings"] == json.loads(json.dumps(stage.settings.quick().as_dict()))
    assert report["seconds"] > report["metrics"].get("training_seconds", 0) >= 0
    assert report["peak_memory_mb"] > 50
    assert {"python", "torch", "transformers"} <= report["versions"].keys()
    assert report["hardware"]
    numbers = {**report["metrics"], **report["baselines"]}
    for name, value in numbers.items():
        for number in value if name.endswith("_seeds") else [value]:
            assert isinstance(number, int | float) and math.isfinite(number), name
    metrics = report["metrics"]
    if "bits_per_character" in metrics:
        assert metrics["bits_per_character"] == pytest.approx(metrics["validation_loss"] / math.log(2))
        assert metrics["perplexity"] == pytest.approx(math.exp(metrics["validation_loss"]))


def test_history_tells_every_part_from_its_first_step_to_its_last(folder):
    rows = folder.history
    falling = 0
    for part in {row["part"] for row in rows}:
        losses = [(row["step"], row["loss"]) for row in rows if row["part"] == part and "loss" in row]
        steps = [step for step, _ in losses]
        assert len(steps) >= 10 and steps == sorted(set(steps)), part
        falling += np.mean([loss for _, loss in losses[-5:]]) < 0.8 * losses[0][1]
    assert falling


def test_every_picture_is_readable(stage, folder):
    assert len(folder.figures) >= 3
    assert {path.name for path in stage.draw(folder)} == {path.name for path in folder.figures}
    for path in folder.figures:
        picture = Image.open(io.BytesIO(path.read_bytes()))
        picture.load()
        assert picture.format == "PNG"
        assert 600 <= picture.width <= 2400 and 200 <= picture.height <= 3000, (path.name, picture.size)
        assert path.stat().st_size < 1_000_000
        gray = np.asarray(picture.convert("L"))
        ink = (gray < 200).mean()
        assert 0.003 < ink < 0.97, (path.name, ink)


def test_the_model_folder_stands_alone(stage, folder):
    files = {path.name for path in folder.model_dir.iterdir()}
    assert {"config.json", "model.safetensors"} <= files
    row = next(row for row in MODELS if row.model_type == stage.model_type)
    assert {f"{path.partition('.')[0]}.py" for path in (row.config, *row.classes.values())} <= files
    if stage.auto_class in WRITING:
        assert {"generation_config.json", "tokenizer.json"} <= files
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in files)
    config = json.loads((folder.model_dir / "config.json").read_text())
    assert config["auto_map"][stage.auto_class] == row.classes[stage.auto_class]


def test_the_model_loads(stage, folder):
    assert AutoConfig.from_pretrained(folder.model_dir).model_type == stage.model_type
    model = getattr(transformers, stage.auto_class).from_pretrained(folder.model_dir)
    assert (
        type(model).__name__
        == next(r for r in MODELS if r.model_type == stage.model_type)
        .classes[stage.auto_class]
        .rpartition(".")[2]
    )


def test_the_code_that_loads_the_model_runs(stage, folder):
    """As the page, the card and `llmpath show` print it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(snippet_of_run(stage, folder), {})
    assert printed.getvalue().strip()


def test_a_language_model_writes_words(stage, folder):
    if stage.auto_class != "AutoModelForCausalLM":
        pytest.skip("this stage trains no language model")
    model = AutoModelForCausalLM.from_pretrained(folder.model_dir)
    tokenizer = AutoTokenizer.from_pretrained(folder.model_dir)
    assert model.num_parameters() == folder.metrics["parameters"]
    prompt = tokenizer("One morning, ", return_tensors="pt")
    output = model.generate(**prompt, max_new_tokens=200, do_sample=False)
    written = output[0, prompt["input_ids"].shape[1] :]  # characters, or words
    text = tokenizer.decode(written, skip_special_tokens=True)
    words = text.split()
    assert words and len(written) <= 200
    assert 2 < np.mean([len(word) for word in words]) < 9, text  # text of words, not one letter over and over


def test_further_models_load(folder):
    models = folder.path / "models"
    for path in models.iterdir() if models.exists() else []:
        assert AutoConfig.from_pretrained(path).model_type in {row.model_type for row in MODELS}
        assert (path / "model.safetensors").exists()


def test_the_card_tells_the_measured_numbers(stage, folder):
    card = ModelCard.load(folder.path / "README.md")
    assert card.data.library_name == "hf-llmpath"
    assert card.data.model_name
    results = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert results == {
        name: value for name, value in folder.metrics.items() if isinstance(value, int | float)
    }
    assert stage.main in results
    assert folder.report["command"] in card.text
    assert "{{" not in card.text and "{%" not in card.text


def test_nothing_is_left_of_the_training(folder):
    assert folder.state == "complete"
    assert not (folder.path / "checkpoints").exists()
    assert not [path for path in folder.path.rglob("*") if path.name.startswith(".")]
