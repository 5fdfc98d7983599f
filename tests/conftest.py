"""What all tests share: no network, the real data next to the checkout, each stage trained once, and the
division of the work between two processes.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # the processes share the cores; torch reads this as it is imported
    _share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _share)))

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

from hf_llmpath.runs import Run, RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.runner import run_stage
from tests.support.hub_fixture import hub_here, local_hub
from tests.support.small import IDENTITY, text_of_hats, tiny_settings

__all__ = ["hub_here", "local_hub"]
# The longest files are begun first, the longest training of all before them: so both processes end together.
FIRST = (
    "tests/stages/test_quick.py",
    "tests/stages/test_resume.py",
    "tests/ui/",
    "tests/stages/",
    "tests/training/",
    "tests/hub/",
)
LONGEST_PRESETS = (
    "pretraining",
    "attention",
    "rlhf",
    "architectures",
    "inference",
    "fine-tuning",
    "transformer",
)
SLOW_FIXTURES = {"quick_runs", "tiny_run", "browser"}  # a training or a page takes seconds


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the tests, marks as slow those that need a trained stage or a browser, and names the groups that
    stay in one process: the tests of a file, which share its fixtures; those of one stage's quick preset;
    each stage that is stopped, and each process that is killed.
    """

    def rank(item: pytest.Item) -> tuple[int, int]:
        file = next((i for i, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))
        stage = item.nodeid.rpartition("[")[2].rstrip("]")
        is_long = file == 0 and stage in LONGEST_PRESETS
        return file, LONGEST_PRESETS.index(stage) if is_long else len(LONGEST_PRESETS)

    items.sort(key=rank)
    for item in items:
        if SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
        group = item.nodeid.partition("::")[0]
        if group.endswith(("test_quick.py", "test_resume.py")):
            group += "-" + item.nodeid.rpartition("[")[2].rstrip("]")  # xdist wants no "]" after its "@"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session share."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root


def run_once(root: Path, slug: str, **options) -> RunFolder:
    """The stage's run in `root`, trained by the first process that asks for it."""
    root.mkdir(exist_ok=True)
    with FileLock(root / f"{slug}.lock"):
        folder = RunFolder(root / get_stage(slug).folder_name)
        return folder if folder.state == "complete" else run_stage(slug, output_dir=root, **options)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets next to the repository."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data sets (../shared/data) are not here")
    return folder


@pytest.fixture(scope="session")
def quick_runs(session_folder: Path) -> Callable[[str], RunFolder]:
    """`quick_runs(slug)`: the stage's quick preset, trained once in a session. Read it, do not change it."""
    return cache(lambda slug: run_once(session_folder / "quick_runs", slug))


@pytest.fixture(scope="session")
def tiny_text(session_folder: Path) -> Path:
    """A text file of some thousand characters that a small model learns quickly."""
    path = session_folder / "hats.txt"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            path.write_text(text_of_hats(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_text: Path, session_folder: Path) -> Callable[[str], RunFolder]:
    """`tiny_run(slug)`: the stage with tiny settings, trained once. Read it, do not change it."""
    root = session_folder / "tiny_runs"
    return cache(lambda slug: run_once(root, slug, overrides=tiny_settings(slug, tiny_text)))


@pytest.fixture
def a_started_run(tmp_path: Path) -> Run:
    """A run whose jobs can be trained."""
    return Run.start(tmp_path / "07-rnn", IDENTITY)
