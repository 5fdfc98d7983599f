"""What all tests share: no network, the real data beside the checkout, and each stage trained once."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from hf_llmpath.runs import Run, RunFolder
from hf_llmpath.stages.runner import run_stage
from tests.support.hub_fixture import hub_here, local_hub
from tests.support.small import IDENTITY, text_of_hats, tiny_settings

__all__ = ["hub_here", "local_hub"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets beside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data sets (../shared/data) are not here")
    return folder


@pytest.fixture(scope="session")
def quick_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunFolder]:
    """`quick_runs(slug)`: the stage's quick preset, trained once in a session. Read it, do not change it."""
    root = tmp_path_factory.mktemp("quick_runs")
    return cache(lambda slug: run_stage(slug, output_dir=root))


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of some thousand characters that a small model learns quickly."""
    path = tmp_path_factory.mktemp("data") / "hats.txt"
    path.write_text(text_of_hats(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunFolder]:
    """`tiny_run(slug)`: the stage with tiny settings, trained once. Read it, do not change it."""
    root = tmp_path_factory.mktemp("tiny_runs")
    return cache(lambda slug: run_stage(slug, overrides=tiny_settings(slug, tiny_text), output_dir=root))


@pytest.fixture
def a_started_run(tmp_path: Path) -> Run:
    """A run to train parts of."""
    return Run.start(tmp_path / "07-rnn", IDENTITY)
