"""The project's own files keep their promises."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="only with several processes: pytest -n 2"
)
def test_the_tests_of_a_group_stay_in_one_process(request):
    """pytest-xdist reads the group off the end of the node's name; pytest 9.2 hides it from xdist 3.8."""
    assert request.node.nodeid.endswith("@tests/test_project.py")
