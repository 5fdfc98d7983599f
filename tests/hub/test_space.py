import ast
import re
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement
from packaging.version import Version

from hf_llmpath.errors import UserError
from hf_llmpath.hub import resource
from hf_llmpath.hub.space import build, push_space, shown_model
from hf_llmpath.stages import all_stages

SPACES = (None, *all_stages())
PROJECT = (Path(__file__).parents[2] / "pyproject.toml").read_text()
VERSION = re.search(r'^version = "(.+)"', PROJECT, re.MULTILINE)[1]
GRADIO = Requirement(re.search(r'"(gradio[^"]*)"', PROJECT)[1])
COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
each_space = pytest.mark.parametrize(
    "shown", SPACES, ids=lambda stage: stage.folder_name if stage else "gallery"
)


def committed(stage):
    return resource("spaces") / (stage.folder_name if stage else "00-llmpath")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


@each_space
def test_what_is_committed_is_what_build_makes(shown, tmp_path):
    sdk = SpaceCard.load(committed(shown) / "README.md").data.sdk_version
    build(shown, None, tmp_path / "space", package_version=VERSION, sdk_version=sdk)
    assert contents(tmp_path / "space") == contents(committed(shown))


def test_there_is_a_space_for_every_stage_and_no_other():
    assert {path.name for path in resource("spaces").iterdir()} == {committed(shown).name for shown in SPACES}


@each_space
def test_front_matter_is_what_the_hub_takes(shown):
    data = SpaceCard.load(committed(shown) / "README.md").data
    assert (data.sdk, data.app_file, data.license) == ("gradio", "app.py", "apache-2.0")
    assert 0 < len(data.short_description) <= 60
    assert data.colorFrom in COLORS and data.colorTo in COLORS and len(data.emoji) == 1
    assert Version(data.sdk_version) in GRADIO.specifier


@each_space
def test_app_is_a_few_lines_that_open_its_stage(shown):
    source = (committed(shown) / "app.py").read_text()
    call = next(
        node
        for node in ast.walk(ast.parse(source))
        if getattr(getattr(node, "func", None), "id", "") == "launch_stage"
    )
    assert ast.literal_eval(call.args[0]) == (shown.slug if shown else None)
    assert len(source.splitlines()) <= 10


def test_model_and_pins(tmp_path):
    stage = all_stages()[0]
    build(stage, "me/model", tmp_path, package_version="9.8.7", sdk_version="6.1.0")
    data = SpaceCard.load(tmp_path / "README.md").data
    assert (data.models, data.sdk_version, shown_model(tmp_path)) == (["me/model"], "6.1.0", "me/model")
    assert (tmp_path / "requirements.txt").read_text() == "hf-llmpath==9.8.7\n"
    assert shown_model(committed(stage)) is None


def test_push_over_http(hub_here, tmp_path):
    stage = all_stages()[1]
    result = push_space(stage, "demo", model_repo="tester/rnn")
    assert result.url == f"{hub_here.endpoint}/spaces/tester/demo"
    repository = hub_here.repositories["space", "tester/demo"]
    assert repository.sdk == "gradio" and len(repository.commits) == 2
    files = hub_here.files("tester/demo", "space")
    assert set(files) == {".gitattributes", "README.md", "app.py", "requirements.txt"}
    assert files["app.py"] == (committed(stage) / "app.py").read_bytes()
    assert SpaceCard(files["README.md"].decode()).data.models == ["tester/rnn"]


def test_dry_run_and_errors(tmp_path, monkeypatch):
    stage = all_stages()[1]
    monkeypatch.delenv("HF_TOKEN", raising=False)
    names = [name for name, _ in push_space(stage, "me/demo", dry_run=True).files]
    assert names == ["README.md", "app.py", "requirements.txt"]
    for bad in ({"repo_id": "a--b"}, {"repo_id": "me/demo", "model_repo": "a b"}):
        with pytest.raises(UserError, match="not allowed as a repository name"):
            push_space(stage, **bad, dry_run=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be a folder"):
        build(stage, None, tmp_path / "file")


def test_requirements_pin_this_package_alone():
    for stage in SPACES:
        assert re.fullmatch(r"hf-llmpath==\S+\n", (committed(stage) / "requirements.txt").read_text())
