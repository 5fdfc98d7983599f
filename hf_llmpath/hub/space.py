"""Builds and pushes Space folders: the files of `spaces/` with the installed versions and a model to show."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import SpaceCard

from ..errors import UserError, nearest
from ..runs import check_writable
from . import resource
from .client import Client, Files, PushResult, check_repo_id, sizes

if TYPE_CHECKING:
    from ..stages.stage import Stage

GALLERY = "00-llmpath"


def build(
    stage: "Stage | None",
    model_repo: str | None,
    target: Path,
    package_version: str | None = None,
    sdk_version: str | None = None,
) -> list[Path]:
    """Writes the Space folder of `stage` (of the gallery if `None`) to `target`; returns the files.

    Args:
        stage: the stage that the Space shows.
        model_repo: the model repository that the Space shows, named under `models:` in its README.md;
            without one, the Space offers to train the quick preset.
        target: the folder to write.
        package_version: release of hf-llmpath to pin; the installed release by default.
        sdk_version: release of Gradio to pin; the installed release by default.

    Raises:
        UserError: the stage has no Space, the Hub does not allow the name of the repository, or the target
            cannot be written.
    """
    target = Path(target)
    files = space_files(stage, model_repo, package_version, sdk_version)
    check_writable(target)
    for name, content in files.items():
        (target / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return [target / name for name in files]


def push_space(
    stage: "Stage | None",
    repo_id: str,
    private: bool = False,
    dry_run: bool = False,
    model_repo: str | None = None,
    token: str | None = None,
) -> PushResult:
    """Pushes the Space of `stage` (the gallery if `None`) to `repo_id`, in one commit.

    `push` and `build` explain the arguments.

    Raises:
        UserError: `build` raises it, the token is missing or may not write, or the Hub cannot be reached.
    """
    check_repo_id(repo_id)
    files = space_files(stage, model_repo)
    if dry_run:
        return PushResult(repo_id, None, sizes(files))
    client = Client(token)
    repo_id = client.create(repo_id, "space", private)
    return client.commit(repo_id, "space", files, "hf-llmpath demo" + (f": {stage.title}" if stage else ""))


def space_files(
    stage: "Stage | None",
    model_repo: str | None = None,
    package_version: str | None = None,
    sdk_version: str | None = None,
) -> Files:
    """Returns the files of the Space; huggingface_hub reads and writes the front matter of its README.md."""
    name = stage.folder_name if stage else GALLERY
    source = resource("spaces") / name
    if not source.is_dir():
        known = sorted(path.name for path in source.parent.iterdir() if path.is_dir())
        raise UserError(f"no Space for '{name}'; there are: {', '.join(known)}{nearest(name, known)}")
    if model_repo is not None:
        check_repo_id(model_repo)
    card = SpaceCard.load(source / "README.md")
    card.data.sdk_version = sdk_version or version("gradio")
    if model_repo is not None:
        card.data.models = [model_repo]
    # A source checkout that is not installed has no release to pin: the Space's own file stays.
    requirements = (source / "requirements.txt").read_text(encoding="utf-8")
    if (release := package_version or _installed()) is not None:
        requirements = f"hf-llmpath=={release}\n"
    return {
        "README.md": str(card).encode(),
        "app.py": source / "app.py",
        "requirements.txt": requirements.encode(),
    }


def shown_model(space: Path | str) -> str | None:
    """Returns the model repository that a Space folder shows: the first under `models:` in its README.md."""
    models = SpaceCard.load(Path(space) / "README.md").data.models
    return models[0] if models else None


def _installed() -> str | None:
    """Returns the installed release of this package; `None` in a source checkout that is not installed."""
    try:
        return version("hf-llmpath")
    except PackageNotFoundError:
        return None
