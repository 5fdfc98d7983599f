"""Models behind the pages: checked, loaded one at a time, and kept in memory until their files change."""

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from transformers.utils import logging

import hf_llmpath  # noqa: F401  (makes the Auto classes know our models)

from ..hub.weights import check_model_folder

Loaded = TypeVar("Loaded")
# `from_pretrained` changes state of the whole process while it runs: of two at once, one may end with
# weights that are not there, and pages load models in several threads.
_ONE_AT_A_TIME = threading.Lock()


def loaded(make: Callable[..., Loaded], folder: Path, *arguments: str) -> Loaded:
    """`make(*arguments, folder)`, made anew only when a file in `folder` has changed.

    Raises:
        UserError: a weight file that is missing, truncated or a pickle; and what `make` raises.
    """
    check_model_folder(folder)
    changed = max(path.stat().st_mtime_ns for path in folder.iterdir())
    with _ONE_AT_A_TIME:
        logging.disable_progress_bar()  # a model of a megabyte is there at once
        return _made(make, folder, arguments, changed)


@lru_cache(maxsize=24)
def _made(make: Callable[..., Loaded], folder: Path, arguments: tuple[str, ...], changed: int) -> Loaded:
    return make(*arguments, folder)
