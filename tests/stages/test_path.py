"""The path: every concept is code that exists, a test that proves it, and a place in the lesson."""

import ast
import importlib
import itertools
import re
import shlex
from functools import reduce
from pathlib import Path

import pytest

from hf_llmpath import stages
from hf_llmpath.errors import UserError
from hf_llmpath.models.model_table import MODELS
from hf_llmpath.stages import all_stages, get_stage
from hf_llmpath.ui.page import resolve
from tests.concepts import PROOFS

ROOT = Path(__file__).parents[2]
CONCEPTS = [
    pytest.param(s, c, id=f"{s.slug}-{c.name.replace(' ', '-')}") for s in all_stages() for c in s.concepts
]
STAGES = [pytest.param(stage, id=stage.slug) for stage in all_stages()]


@pytest.mark.parametrize("stage, concept", CONCEPTS)
def test_the_implementation_of_a_concept_exists(stage, concept):
    found = resolve(concept.implementation)
    assert concept.implementation == f"{found.__module__}.{found.__qualname__}", "it is defined elsewhere"
    assert found.__doc__


@pytest.mark.parametrize("stage, concept", CONCEPTS)
def test_a_concept_is_proven_by_a_test(stage, concept):
    file, name = PROOFS[stage.slug][concept.name]
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert name in functions
    assert _asserts(functions[name], functions)


def test_every_proof_is_that_of_a_concept():
    concepts = {stage.slug: [concept.name for concept in stage.concepts] for stage in all_stages()}
    assert {slug: list(proofs) for slug, proofs in PROOFS.items()} == concepts, (
        "tests/concepts.py is not in step"
    )


def _asserts(function: ast.FunctionDef, others: dict[str, ast.FunctionDef]) -> bool:
    """Whether the function has an `assert`, calls something such as `torch.testing.assert_close(...)`, or
    calls one of the `others` in its file that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name.startswith("assert") or (
                name in others and name != function.name and _asserts(others[name], {})
            ):
                return True
    return False


@pytest.mark.parametrize("stage, concept", CONCEPTS)
def test_the_lesson_names_the_code_of_a_concept(stage, concept):
    assert concept.implementation.rpartition(".")[2] in stage.lesson


def _commands(text: str) -> list[str]:
    """The `llmpath run` lines of a text, whole lines and in backticks; a backslash continues a line."""
    return re.findall(r"(?:^ +|`)(llmpath run [^`\n#]+)", re.sub(r"\\\n *", "", text), re.M)


def _refused(command: str) -> str | None:
    """What is wrong with the stages and settings of a command, if anything."""
    words, preset, overrides = shlex.split(command)[2:], "quick", {}
    names = [
        word for word in itertools.takewhile(lambda word: not word.startswith("-"), words) if word != "all"
    ]
    for option, value in zip(words, words[1:], strict=False):
        if option == "--set":
            overrides[value.partition("=")[0]] = value.partition("=")[2]
        elif option == "--preset":
            preset = value
        elif option.startswith("--") and option not in ("--resume", "--json", "--output-dir"):
            overrides[option[2:].replace("-", "_")] = value
    try:
        for name in names:
            get_stage(name).settings.preset(preset).updated(**overrides)
    except UserError as error:
        return f"{command}: {error}"
    return None


@pytest.mark.parametrize("stage", STAGES)
def test_the_commands_of_a_lesson_are_accepted(stage):
    inline = re.findall(r"`(--(?:set|preset) [^`]+)`", stage.lesson)
    commands = _commands(stage.lesson) + [f"llmpath run {stage.slug} {options}" for options in inline]
    assert commands and not list(filter(None, map(_refused, commands)))


def test_the_commands_of_the_readme_are_accepted():
    commands = [command for command in _commands((ROOT / "README.md").read_text()) if "STAGE" not in command]
    assert len(commands) > 3 and not list(filter(None, map(_refused, commands)))
    assert "unknown setting 'hiden_size'" in (_refused("llmpath run rnn --set hiden_size=3") or "")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_all_its_parts(stage):
    assert callable(stage.module("train").train)
    assert callable(stage.module("charts").draw)
    assert callable(stage.module("demo").build)
    assert stage.lesson.startswith("#")
    row = next(row for row in MODELS if row.model_type == stage.model_type)
    assert stage.auto_class in row.classes
    assert stage.title and stage.phase and stage.summary.endswith(".") and stage.concepts
    for preset in ("quick", "full"):
        settings = stage.settings.preset(preset)
        assert type(settings) is stage.settings
        assert settings.updated(**settings.as_dict()) == settings  # a preset is itself within its limits
    assert all(text for _, _, _, text in stage.settings.describe())


def test_numbers_and_slugs_are_unique_and_in_order():
    numbers = [stage.number for stage in all_stages()]
    assert numbers == sorted(set(numbers)) and numbers[0] >= 1 and numbers[-1] <= 17
    assert len({stage.slug for stage in all_stages()}) == len(numbers)
    for stage in all_stages():
        assert stage.source.name == f"s{stage.number:02d}_{stage.slug.replace('-', '_')}"


def test_every_stage_folder_is_on_the_path():
    folders = {
        path.name for path in Path(stages.__file__).parent.glob("s[0-9]*") if (path / "__init__.py").exists()
    }
    assert folders == {stage.source.name for stage in all_stages()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_found_by_number_slug_and_folder_name(stage):
    names = (
        stage.number,
        str(stage.number),
        f"{stage.number:02d}",
        stage.slug,
        stage.slug.upper(),
        stage.folder_name,
    )
    for name in (*names, f" {stage.slug} "):
        assert get_stage(name) is stage


@pytest.mark.parametrize(
    "name, hint", [("lstm", "did you mean 'lstm-gru'?"), ("sequence", "did you mean 'sequences'?")]
)
def test_an_unknown_stage_names_the_nearest(name, hint):
    with pytest.raises(UserError) as error:
        get_stage(name)
    assert str(error.value) == f"unknown stage '{name}'; {hint}"


@pytest.mark.parametrize("name", ["99", "", "zzzzzz", -1])
def test_an_unknown_stage_without_a_near_one_lists_all(name):
    with pytest.raises(UserError) as error:
        get_stage(name)
    assert all(f"{stage.number} {stage.slug}" in str(error.value) for stage in all_stages())


def test_a_concept_is_found_to_dangle():
    """The walk above would notice: the same steps fail for names that do not exist."""
    with pytest.raises(AttributeError):
        reduce(getattr, ["rnn_stepp"], importlib.import_module("hf_llmpath.models.layers_recurrence"))
