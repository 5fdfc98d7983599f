"""A client of the Hub that checks names and tokens, sends many files in one commit, and explains errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from ..errors import UserError

Files = dict[str, Path | bytes]  # path in the repository -> local file, or its content


@dataclass(frozen=True)
class PushResult:
    """The files that a push sent or, with `dry_run`, would send.

    Attributes:
        repo_id: the repository; after a real push, its name includes the owner.
        url: the address of the repository; `None` after a dry run.
        files: `(path in the repository, size in bytes)` of each file.
    """

    repo_id: str
    url: str | None
    files: list[tuple[str, int]]

    @property
    def total_bytes(self) -> int:
        return sum(size for _, size in self.files)


def check_repo_id(repo_id: str) -> None:
    """Checks that the Hub allows a repository name.

    Raises:
        UserError: the Hub does not allow it.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise UserError(
            f"'{repo_id}' is not allowed as a repository name; it takes NAME or OWNER/NAME of letters, "
            "digits, '-', '_' and '.', at most 96 characters, no '--' or '..', no '-' or '.' at either end, "
            "no '.git' at the end"
        ) from None


def sizes(files: Files) -> list[tuple[str, int]]:
    """Returns `(path, size in bytes)` for every file, sorted by path."""
    return [
        (name, len(content) if isinstance(content, bytes) else content.stat().st_size)
        for name, content in sorted(files.items())
    ]


class Client:
    """A connection to the Hub with a token for writing.

    Args:
        token: the token to use; the one of `hf auth login` or `HF_TOKEN` by default.

    Raises:
        UserError: no token was found, or offline mode is on.
    """

    def __init__(self, token: str | None = None):
        if constants.HF_HUB_OFFLINE:
            raise UserError("HF_HUB_OFFLINE is set, so nothing is sent to the Hub; unset it to push")
        token = token or get_token()
        if not token:
            raise UserError(
                "no Hugging Face token; run `hf auth login`, or set HF_TOKEN to one that may write"
            )
        self.api = HfApi(token=token)

    def create(self, repo_id: str, repo_type: str, private: bool) -> str:
        """Creates the repository unless it exists; returns its full name, OWNER/NAME."""
        sdk = {"space_sdk": "gradio"} if repo_type == "space" else {}
        with explained(repo_id):
            created = self.api.create_repo(
                repo_id, repo_type=repo_type, private=private, exist_ok=True, **sdk
            )
        return created.repo_id

    def commit(
        self, repo_id: str, repo_type: str, files: Files, message: str, replace: tuple[str, ...] = ()
    ) -> PushResult:
        """Sends `files` in one commit, which also deletes all other files in the folders `replace`.

        A single commit means that no reader sees a repository with half of the new files.
        """
        with explained(repo_id):
            existing = self.api.list_repo_files(repo_id, repo_type=repo_type) if replace else []
            additions = [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
            deletions = [
                CommitOperationDelete(name)
                for name in existing
                if "/" in name and name.partition("/")[0] in replace and name not in files
            ]
            self.api.create_commit(
                repo_id, [*additions, *deletions], commit_message=message, repo_type=repo_type
            )
        prefix = "" if repo_type == "model" else f"{repo_type}s/"
        return PushResult(repo_id, f"{self.api.endpoint}/{prefix}{repo_id}", sizes(files))


@contextmanager
def explained(repo_id: str) -> Iterator[None]:
    """Turns an error of the Hub or the network into a `UserError` of one line."""
    try:
        yield
    except Exception as error:
        cause = _hub_error(error)
        if cause is None:
            raise
        raise UserError(_explain(cause, repo_id)) from error


def _hub_error(error: BaseException | None) -> BaseException | None:
    """Finds the error of the Hub or the network in the causes of `error`; None if it has no such cause.

    huggingface_hub wraps the error of an upload in a RuntimeError.
    """
    while error is not None and not isinstance(error, HTTPError | ConnectionError | TimeoutError):
        error = error.__cause__
    return error


def _explain(error: BaseException, repo_id: str) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it"
    if not isinstance(error, HfHubHTTPError):
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return (
            f"the Hub ({constants.ENDPOINT}) cannot be reached ({reason}); check the network, then try again"
        )
    status, said = error.response.status_code, (error.server_message or "").strip()
    said = f" ({said.splitlines()[0]})" if said else ""
    if status == 401:
        return (
            f"the Hub does not accept this token{said}; run `hf auth login`, or set HF_TOKEN to a valid one"
        )
    if status == 403:
        advice = "use a token with write access, or a repository of your own"
        return f"this token may not write to '{repo_id}'{said}; {advice}"
    if status == 404:
        return f"the Hub knows no repository '{repo_id}'{said}, or this token may not see it"
    if status < 500 and status != 429:  # 429, too many requests, passes by itself
        return f"the Hub refused '{repo_id}' with status {status}{said}"
    return f"the Hub answered with status {status}{said}; try again later"
