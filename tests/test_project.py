"""The project's own files keep their promises."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hf_llmpath"


def readme_command(name):
    block = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", (ROOT / "README.md").read_text(), re.S).group(1)
    return [line.strip() for line in block.splitlines() if line.strip()]


def test_readme_has_the_two_commands():
    (path,), (tests,) = readme_command("path"), readme_command("tests")
    assert path.endswith("llmpath run all") and "-m venv" in path
    assert tests.endswith("pytest -n 2") and "-m venv" in tests


def test_ci_runs_the_test_command_of_the_readme():
    """The line by which .ci/run takes its command from the README yields exactly that command."""
    (line,) = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line.startswith("command=")]
    result = subprocess.run(
        ["bash", "-c", f'{line}; echo "$command"'], capture_output=True, text=True, cwd=ROOT
    )
    assert result.stdout.strip() == readme_command("tests")[0]


def imports(path):
    """`(level, module)` of every import statement of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def test_models_can_travel():
    everywhere = {*sys.stdlib_module_names, "torch", "transformers", "huggingface_hub"}
    for path in (PACKAGE / "models").glob("*.py"):
        # What transformers' image processors work with is where they are.
        allowed = everywhere | ({"numpy", "PIL"} if path.name.startswith("image_processing") else set())
        for level, module in imports(path):
            if level:
                assert level == 1 and module and "." not in module, f"{path.name}: from {'.' * level}{module}"
            else:
                assert module.partition(".")[0] in allowed, f"{path.name}: import {module}"


def test_rooms_do_not_know_the_stages():
    for room in ("data", "training", "figures"):
        for path in (PACKAGE / room).rglob("*.py"):
            assert not any(level and "stages" in module for level, module in imports(path)), path
    stages = [path for path in (PACKAGE / "stages").iterdir() if path.is_dir() and path.name.startswith("s")]
    for stage in stages:
        for path in stage.glob("*.py"):
            for _, module in imports(path):
                assert not re.match(r"(hf_llmpath\.stages\.)?s\d\d_", module) or stage.name in module, path


def test_nothing_reads_a_pickle():
    pattern = re.compile(r"torch\.load\(|pickle\.load|weights_only=False|trust_remote_code=True")
    for path in PACKAGE.rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            shown = line.lstrip().startswith(("#", '"', "'", "`")) or '"' in line or "`" in line
            assert not pattern.search(line) or shown, f"{path}:{number}"
