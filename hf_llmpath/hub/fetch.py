"""Downloads a pushed run from the Hub and lays it out as a run folder again."""

import json
import re
import shutil
from pathlib import Path

from huggingface_hub import cached_assets_path, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

from ..runs import RESULTS, RunFolder
from .client import check_repo_id
from .model_folder import check_model_folder
from .push import FOLDERS, MODEL_FILES

_RECORDS = (".png", ".jsonl", "README.md")


def fetch_run(repo_id: str, cache_dir: Path | str | None = None) -> RunFolder | None:
    """Fetches the run that `llmpath push` sent to `repo_id`.

    Args:
        repo_id: the model repository.
        cache_dir: parent of the run folder; the assets cache of huggingface_hub by default.

    Returns:
        The run folder; `None` if neither the Hub nor the cache has the run.

    Raises:
        UserError: the Hub does not allow the name, or weights are missing, truncated, or pickled.
    """
    check_repo_id(repo_id)
    # Only what a push sends: a foreign repository may contain anything.
    wanted = [f"*{ending}" for ending in (*MODEL_FILES, *_RECORDS)]
    try:
        snapshot = Path(snapshot_download(repo_id, allow_patterns=wanted))
    except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError, ConnectionError):
        return None
    name = _folder_name(snapshot / "metrics.json")
    if name is None:
        return None
    assets = cached_assets_path("hf-llmpath", "runs", repo_id.replace("/", "--"), assets_dir=cache_dir)
    folder = assets / snapshot.name / name  # a snapshot is named after its commit
    if not (folder / "metrics.json").exists():
        _lay_out(snapshot, folder)
    check_model_folder(folder / "model")
    return RunFolder(folder)


def _folder_name(metrics: Path) -> str | None:
    """Returns the name of the run folder, such as `07-rnn`; None if the file is no metrics.json of a run."""
    try:
        report = json.loads(metrics.read_text(encoding="utf-8"))
        number, slug = int(report["stage"]), str(report["slug"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # The slug becomes part of a path, so a slug with ".." or "/" must not pass.
    return f"{number:02d}-{slug}" if re.fullmatch(r"[a-z0-9-]+", slug) else None


def _lay_out(snapshot: Path, folder: Path) -> None:
    """Copies to a temporary name and then renames, so a run folder in the cache is always complete.

    A push puts the model at the top of the repository; in a run folder, it is in `model/`.
    """
    waiting = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(waiting, ignore_errors=True)
    (waiting / "model").mkdir(parents=True)
    for path in snapshot.iterdir():
        if path.is_dir() and path.name in FOLDERS:
            shutil.copytree(path, waiting / path.name)
        elif path.is_file():
            shutil.copyfile(path, waiting / ("" if path.name in RESULTS else "model") / path.name)
    shutil.rmtree(folder, ignore_errors=True)
    waiting.rename(folder)
