"""Fixtures around the local Hub; a conftest.py imports them by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_hub import LocalHub


@pytest.fixture(scope="session")
def local_hub() -> Iterator[LocalHub]:
    """A Hub that runs for the whole session; a test uses repository names of its own."""
    with LocalHub() as hub:
        yield hub
    assert not hub.unknown, f"the local Hub was asked for what it does not have: {hub.unknown}"


@pytest.fixture
def hub_here(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalHub:
    """The local Hub, with huggingface_hub in this process speaking to it (it reads its environment once,
    at import).
    """
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", local_hub.endpoint)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        local_hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", local_hub.token)
    return local_hub
