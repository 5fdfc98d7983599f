"""Lists the stages of the path, in order. A new stage takes a new folder and a line in `_FOLDERS`."""

import importlib
from functools import cache

from ..errors import UserError, nearest
from .stage import Concept, Stage

_FOLDERS = (
    "s01_neural_network",
    "s02_backpropagation",
    "s03_optimizers",
    "s04_deep_networks",
    "s05_regularization",
    "s06_sequences",
    "s07_rnn",
    "s08_lstm_gru",
    "s09_attention",
    "s10_transformer",
    "s11_pretraining",
    "s12_embeddings",
    "s13_fine_tuning",
    "s14_inference",
    "s15_scaling",
    "s16_rlhf",
    "s17_architectures",
)


@cache
def all_stages() -> tuple[Stage, ...]:
    """Returns all stages, in order."""
    return tuple(importlib.import_module(f"{__name__}.{folder}").STAGE for folder in _FOLDERS)


def get_stage(name: str | int) -> Stage:
    """Returns the stage with this number, slug, or folder name.

    Raises:
        UserError: If there is no such stage; the message names the nearest slug.
    """
    text = str(name).strip().lower()
    for stage in all_stages():
        if text in (stage.slug, str(stage.number), f"{stage.number:02d}", stage.folder_name):
            return stage
    known = {stage.slug: stage.number for stage in all_stages()}
    listed = ", ".join(f"{number} {slug}" for slug, number in known.items())
    raise UserError(f"unknown stage '{name}'{nearest(text, known) or f'; there are: {listed}'}")


__all__ = ["Concept", "Stage", "all_stages", "get_stage"]
