"""hf_llmpath: the path into large language models in 17 runnable stages, each with a real Hugging Face model.

Importing the package is cheap. transformers' Auto classes know its models as soon as both are imported.
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from . import registration
from .models.model_table import MODELS

try:
    __version__ = version("hf-llmpath")
except PackageNotFoundError:  # a source folder that is not installed
    __version__ = "0+unknown"

# Public name -> the module that defines it, imported when the name is first used.
_PUBLIC = {
    path.partition(".")[2]: f".models.{path.partition('.')[0]}"
    for row in MODELS
    for path in (row.config, *row.classes.values(), *row.processors.values())
} | {
    "train_character_tokenizer": ".data.tokenizers.characters",
    "train_subwords": ".data.tokenizers.subwords",
    "load_images": ".data.images",
    "load_texts": ".data.sources",
    "run_stage": ".stages.runner",
    "get_stage": ".stages",
    "RunFolder": ".runs",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)


registration.install()
