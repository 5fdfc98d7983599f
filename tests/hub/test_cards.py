import json
import re
import shutil
from numbers import Real

import pytest
from huggingface_hub import ModelCard

from hf_llmpath import LLMPathRNNForCausalLM
from hf_llmpath.hub import resource
from hf_llmpath.hub.cards import render
from hf_llmpath.runs import write_json
from hf_llmpath.stages import all_stages


def change(folder, **values):
    report = folder.report | values
    write_json(folder.path / "metrics.json", report)
    return report


def index_of(text):
    return {result.metric_name: result for result in ModelCard(text).data.eval_results}


def test_model_index_equals_the_metrics_number_for_number(untrained_run):
    card = ModelCard.load(untrained_run.path / "README.md")
    numbers = {name: value for name, value in untrained_run.metrics.items() if isinstance(value, Real)}
    assert {result.metric_name: result.metric_value for result in card.data.eval_results} == numbers
    mean = index_of(str(card))["gru/validation_loss"]
    assert mean.metric_args == {"seeds": untrained_run.metrics["gru/validation_loss_seeds"]}
    assert (mean.metric_type, mean.task_type, mean.dataset_name) == (
        "validation_loss",
        "text-generation",
        "world/stories",
    )
    assert index_of(str(card))["adding/gru/mean_squared_error"].task_type == "other"


def test_metadata(untrained_run):
    data = ModelCard.load(untrained_run.path / "README.md").data
    assert (data.license, data.library_name, data.language) == ("apache-2.0", "hf-llmpath", "en")
    assert data.pipeline_tag == "text-generation"
    assert {"hf-llmpath", "llmpath-rnn", "lstm-gru", "lstm"} <= set(data.tags)
    assert data.datasets is None  # the world is embedded: there is no such data set on the Hub


def test_a_number_changed_in_the_metrics_changes_in_the_card(stage, a_run):
    before = render(stage, a_run.path)
    change(a_run, metrics=a_run.metrics | {"bits_per_character": 7.125, "parameters": 31337}, seconds=98.75)
    after = render(stage, a_run.path)
    assert index_of(after)["bits_per_character"].metric_value == 7.125
    for text in ("| `bits_per_character` | 7.125 | 1.5 |", "31,337", "98.75 s", "**7.125** against 1.5"):
        assert text in after and text not in before


def test_number_of_weights_is_read_from_the_weight_file(stage, a_run):
    model = LLMPathRNNForCausalLM.from_pretrained(a_run.model_dir)
    change(a_run, metrics={"bits_per_character": 1.0})
    assert f"| weights | {model.num_parameters():,} |" in render(stage, a_run.path)


def test_architecture_is_read_from_the_config(stage, a_run):
    config = json.loads((a_run.model_dir / "config.json").read_text())
    write_json(a_run.model_dir / "config.json", config | {"forget_bias": 2.5})
    assert "| `forget_bias` | 2.5 |" in render(stage, a_run.path)


def test_goals_met_and_not_met(untrained_run):
    text = (untrained_run.path / "README.md").read_text()
    assert "| `bits_per_character` ≤ 1.25 | 1 | met |" in text
    assert "| `adding/gru/mean_squared_error` ≤ 1e-06 | 3.25e-05 | **not met** |" in text


def test_pictures_are_links_to_files_that_are_there_and_have_a_text_alternative(untrained_run):
    found = re.findall(r"!\[(.*?)\]\((.*?)\)", (untrained_run.path / "README.md").read_text())
    assert {path for _, path in found} == {f"figures/{path.name}" for path in untrained_run.figures}
    assert all(text for text, _ in found)


def test_card_of_a_waiting_run_names_the_final_folder(stage, untrained_run, tmp_path):
    waiting = tmp_path / "08-lstm-gru" / "checkpoints" / "new"
    shutil.copytree(untrained_run.path, waiting)
    text = render(stage, waiting)
    assert f'from_pretrained("{tmp_path.as_posix()}/08-lstm-gru/model")' in text and "checkpoints" not in text


@pytest.mark.parametrize("any_stage", all_stages(), ids=lambda stage: stage.folder_name)
def test_every_stage_has_a_template_that_bears_a_run_with_little_in_it(any_stage, a_run):
    for name in ("models", "figures"):
        shutil.rmtree(a_run.path / name)
    (a_run.model_dir / "tokenizer.json").unlink()
    report = a_run.report
    few = {
        name: report[name] for name in ("slug", "preset", "seed", "seconds", "hardware", "command", "main")
    }
    few |= {"baselines": {}, "goals": [], "settings": {}}
    dataset = {"name": "notes.txt", "fingerprint": "ab"}
    write_json(a_run.path / "metrics.json", few | {"metrics": {"accuracy": 0.5}, "dataset": dataset})
    text = render(any_stage, a_run.path)
    assert index_of(text)["accuracy"].metric_value == 0.5
    assert "| `accuracy` | 0.5 |  |" in text
    for absent in ("### Goals", "## Figures", "### Samples", "Saved with", "{{", "{%", "None", "Undefined"):
        assert absent not in text


def test_every_template_belongs_to_a_stage():
    templates = {path.stem for path in resource("model_cards").glob("*.md")} - {"base"}
    assert templates == {stage.folder_name for stage in all_stages()}


@pytest.mark.parametrize(
    "dataset, expected",
    [
        ({"name": "stanfordnlp/imdb", "source": "stanfordnlp/imdb"}, ["stanfordnlp/imdb"]),
        ({"name": "tiny_shakespeare", "source": "../data/input.txt"}, ["karpathy/tiny_shakespeare"]),
        ({"name": "../data/my notes.txt", "source": "../data/my notes.txt"}, None),
        ({"name": "world/stories", "source": "world/stories"}, None),
    ],
)
def test_only_data_sets_of_the_hub_are_linked(stage, a_run, dataset, expected):
    change(a_run, dataset=dataset | {"fingerprint": "ab", "sizes": {}})
    text = render(stage, a_run.path)
    assert ModelCard(text).data.datasets == expected
    kinds = {result.dataset_type for result in ModelCard(text).data.eval_results}
    assert all(re.fullmatch(r"([\w-]+/)?[\w.-]+", kind) for kind in kinds)
