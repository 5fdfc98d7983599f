"""What the tests of the command line share: `llmpath` as a subprocess, as a call, and one trained stage."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hf_llmpath.cli.main import main
from hf_llmpath.runs import RunFolder

TEXT = "\n".join(
    f"{name} had a {color} hat and went to the {place}."
    for name in ("Anna", "Ben", "Otto", "Mara")
    for color in ("red", "blue", "green")
    for place in ("sea", "hill", "barn") * 4
)
SMALL = ("hidden_size=16", "context=16", "training.batch_size=4")


def environment(**changes: str) -> dict[str, str]:
    """No colors, one thread (so that sums are added in one order), no token, no network."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    }
    fixed = {"OMP_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
    return kept | fixed | changes


@pytest.fixture(scope="session")
def llmpath() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`llmpath("run", "rnn", ...)` in a process of its own."""

    def call(*arguments: object, cwd: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hf_llmpath", *map(str, arguments)]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            command,
            env=environment(PYTHONPATH=path, **changes),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Calls `llmpath` with bad input: checks that it ends with code 2 and one line of error; returns the
    line.
    """

    def call(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "Traceback" not in printed.err
        lines = printed.err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1 and lines[-1] == errors[0], printed.err
        return errors[0]

    return call


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text that a small model learns in a moment."""
    path = tmp_path_factory.mktemp("data") / "hats.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_run(text_file: Path) -> Callable[..., list[str]]:
    """Arguments of a `llmpath run` that takes seconds."""

    def arguments(root: Path, steps: int, *more: str, stage: str = "rnn") -> list[str]:
        settings = [part for value in (f"training.steps={steps}", *SMALL) for part in ("--set", value)]
        return ["run", stage, "--dataset", str(text_file), "--output-dir", str(root), *settings, *more]

    return arguments


@dataclass(frozen=True)
class Trained:
    """A stage trained by `llmpath run ... --json`."""

    root: Path
    process: subprocess.CompletedProcess[str]

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.root / "07-rnn")


@pytest.fixture(scope="session")
def trained(llmpath, small_run, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Stage 7, trained for 1,200 steps without a stop."""
    root = tmp_path_factory.mktemp("trained")
    process = llmpath(*small_run(root, 1200, "--json"))
    assert process.returncode == 0, process.stderr
    return Trained(root, process)


@pytest.fixture
def a_run(trained: Trained, tmp_path: Path) -> RunFolder:
    """A copy of it to change."""
    return RunFolder(shutil.copytree(trained.folder.path, tmp_path / "runs" / "07-rnn"))
