"""Push over HTTP, then load in fresh processes: with the package, without it on trust, and without trust."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from hf_llmpath.hub.client import Client
from hf_llmpath.hub.push import push
from hf_llmpath.models.model_table import MODELS
from tests.hub import roads

pytestmark = pytest.mark.slow

TEXT = "The cat sat, naïve as € 😀."
RUN, NO_RUN, TRAP = "tester/run", "tester/no-run", "tester/trap"


@pytest.fixture(scope="module")
def plan(untrained_run, stage, local_hub, tmp_path_factory):
    """Pushes the run, one model of every class in the model table, and a repository whose code leaves a
    trace.
    """
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", local_hub.endpoint)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_TOKEN", local_hub.token)
        push(stage, untrained_run, RUN)
        folder = tmp_path_factory.mktemp("roads")
        models, answers = {}, {}
        for row in MODELS:
            for auto_class, path in row.classes.items():
                repo_id = f"tester/{row.model_type}-{auto_class}"
                module, _, name = path.partition(".")
                model_class = getattr(importlib.import_module(f"hf_llmpath.models.{module}"), name)
                torch.manual_seed(1)
                model = model_class(model_class.config_class()).eval()
                model.save_pretrained(folder / repo_id)
                upload(repo_id, folder / repo_id)
                models[repo_id], answers[repo_id] = auto_class, roads.answer(model)
        sprung = folder / "sprung"
        trap = f"open({str(sprung)!r}, 'w').close()\n".encode()
        files = {path.name: path.read_bytes() for path in untrained_run.model_dir.iterdir()}
        for name in ("modeling_rnn.py", "configuration_rnn.py"):
            files[name] = files[name] + b"\n" + trap
        client = Client()
        client.commit(client.create(TRAP, "model", False), "model", files, "a trap")
        client.commit(client.create(NO_RUN, "model", False), "model", {"config.json": b"{}"}, "no run")
    common = {
        "run": RUN,
        "no_run": NO_RUN,
        "trap": TRAP,
        "text": TEXT,
        "models": models,
        "sprung": str(sprung),
    }
    return {"plan": common, "answers": answers, "hub": local_hub, "folder": folder}


def upload(repo_id, folder):
    client = Client()
    client.commit(
        client.create(repo_id, "model", False),
        "model",
        {path.name: path for path in folder.iterdir()},
        "model",
    )


def snippets(hub):
    """The Python code on the pushed card: with the package, without it, the model next to it."""
    return re.findall(r"```python\n(.*?)```", hub.files(RUN)["README.md"].decode(), re.DOTALL)


def travel(plan, **changes):
    environment = {**os.environ, **plan["hub"].environment(plan["folder"] / f"home-{changes['package']}")}
    done = subprocess.run(
        [sys.executable, Path(roads.__file__)],
        input=json.dumps(plan["plan"] | changes),
        capture_output=True,
        text=True,
        env=environment,
        cwd=plan["folder"],
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def imported(plan):
    first, _, third = snippets(plan["hub"])
    return travel(plan, package=True, snippets=[first, third])


@pytest.fixture(scope="module")
def trusted(plan):
    return travel(plan, package=False, snippets=[snippets(plan["hub"])[1]])


def test_with_the_package_every_class_loads_by_name(imported, plan):
    assert imported["answers"] == {repo: Near(value) for repo, value in plan["answers"].items()}
    assert all(module.startswith("hf_llmpath.models.") for module in imported["modules"])


def test_without_the_package_every_class_loads_on_trust(trusted, plan):
    assert trusted["answers"] == {repo: Near(value) for repo, value in plan["answers"].items()}
    assert trusted["modules"] == ["transformers_modules"] and not trusted["package"]
    assert trusted["config_class"] == "LLMPathRNNConfig"


def test_without_the_package_and_without_trust_nothing_is_run(trusted):
    for auto_class, error in trusted["refusals"].items():
        assert error.startswith("ValueError") and "trust_remote_code=True" in error, auto_class
    assert not trusted["code_was_run"]
    assert trusted["code_was_run_with_trust"]  # the trap does work


def test_the_tokenizer_comes_along(trusted, untrained_run):
    tokenizer = transformers.AutoTokenizer.from_pretrained(untrained_run.model_dir)
    assert trusted["tokens"] == tokenizer(TEXT)["input_ids"]
    assert trusted["text"] == TEXT


def test_a_further_model_loads_from_its_subfolder(trusted, untrained_run):
    gru = transformers.AutoModelForCausalLM.from_pretrained(untrained_run.model("gru"))
    assert trusted["subfolder"] == roads.answer(gru)


def test_the_code_on_the_card_runs(imported, trusted):
    assert imported["snippets"][0].startswith("The ") and imported["snippets"][1] == ""
    assert trusted["snippets"][0].startswith("The ")


def test_a_pushed_run_comes_back_as_a_run_folder(imported, untrained_run):
    def names(run):
        return sorted(path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file())

    assert set(names(untrained_run)) <= set(imported["fetched"])
    assert set(imported["fetched"]) - set(names(untrained_run)) <= {"model/.gitattributes"}
    assert (
        imported["fetched_name"] == untrained_run.path.name
        and imported["fetched_report"] == untrained_run.report
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(untrained_run.model_dir)
    assert imported["fetched_answer"] == roads.answer(model)
    assert imported["fetched_again"]


def test_what_is_no_run_or_not_there_is_not_fetched(imported):
    assert imported["not_there"] is None and imported["no_run"] is None


def test_nothing_is_fetched_from_a_hub_out_of_reach(monkeypatch, tmp_path):
    from huggingface_hub import constants

    from hf_llmpath.hub.fetch import fetch_run

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        assert fetch_run(RUN, tmp_path) is None


class Near:
    """Equal to the same tokens; to the same values up to the last digits, which another thread count may
    change.
    """

    def __init__(self, value):
        self.value = torch.tensor(value)

    def __eq__(self, other):
        other = torch.tensor(other)
        return self.value.shape == other.shape and torch.allclose(self.value, other, rtol=0, atol=1e-6)

    def __repr__(self):
        return repr(self.value)
