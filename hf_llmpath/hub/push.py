"""Sends a run to the Hub in one commit.

The model is at the top of the repository and loads by the repository's name. Card, figures, and numbers are
next to it, and further models are in `models/NAME`. Every weight file is checked before anything is sent.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..runs import RunFolder
from .cards import render
from .client import Client, Files, PushResult, check_repo_id, sizes
from .model_folder import check_model_folder

if TYPE_CHECKING:
    from ..stages.stage import Stage

MODEL_FILES = (".json", ".safetensors", ".py", ".txt", ".jinja")
RECORDS = ("metrics.json", "history.jsonl")
FOLDERS = ("figures", "models")  # a push replaces these folders as a whole


def push(
    stage: "Stage",
    folder: RunFolder,
    repo_id: str,
    private: bool = False,
    dry_run: bool = False,
    token: str | None = None,
) -> PushResult:
    """Pushes the complete run in `folder` to the model repository `repo_id`, which is created if need be.

    Args:
        stage: the stage of the run.
        folder: the run folder; checkpoints and pickles in it are not sent.
        repo_id: `NAME` or `OWNER/NAME`.
        private: whether to make a new repository private.
        dry_run: whether to return what would be sent and send nothing; needs no token and no network.
        token: the token to use; the one of `hf auth login` or `HF_TOKEN` by default.

    Raises:
        UserError: the Hub does not allow the name; the folder has no complete run or one of another stage; a
            weight file is missing, truncated, or pickled; the token is missing or may not write; or the Hub
            cannot be reached.
    """
    check_repo_id(repo_id)
    report = folder.report
    if report["slug"] != stage.slug:
        raise UserError(f"{folder.path} is a run of stage '{report['slug']}', not of '{stage.slug}'")
    for model in (folder.model_dir, *_further_models(folder)):
        check_model_folder(model)
    if dry_run:
        return PushResult(repo_id, None, sizes(repository_files(stage, folder, repo_id)))
    client = Client(token)
    repo_id = client.create(repo_id, "model", private)  # before the card, which names the repository in full
    files = repository_files(stage, folder, repo_id)
    message = f"Stage {stage.number}: {stage.title} ({report['preset']})"
    return client.commit(repo_id, "model", files, message, FOLDERS)


def repository_files(stage: "Stage", folder: RunFolder, repo_id: str) -> Files:
    """Returns the files that a push sends. The card is new, because its snippets load from the repository."""
    files = _model_files(folder.model_dir, "")
    for model in _further_models(folder):
        files |= _model_files(model, f"models/{model.name}/")
    for path in sorted((folder.path / "figures").glob("*")):
        if path.suffix in (".png", ".json"):
            files[f"figures/{path.name}"] = path
    files |= {name: folder.path / name for name in RECORDS if (folder.path / name).exists()}
    files["README.md"] = render(stage, folder.path, repo_id).encode()
    return files


def _further_models(folder: RunFolder) -> list[Path]:
    return sorted(path for path in (folder.path / "models").glob("*") if path.is_dir())


def _model_files(model: Path, prefix: str) -> Files:
    return {prefix + path.name: path for path in sorted(model.iterdir()) if path.suffix in MODEL_FILES}
