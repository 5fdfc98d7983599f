"""Small models, texts and settings: what is true of a large training shows in one of a second."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_llmpath.data.batches.streams import Documents, StreamWindows
from hf_llmpath.models.configuration_rnn import LLMPathRNNConfig
from hf_llmpath.models.modeling_rnn import LLMPathRNNForCausalLM
from hf_llmpath.runs import NoProgress

VOCAB = 11
IDENTITY = {
    "stage": 7,
    "slug": "rnn",
    "preset": "quick",
    "settings": {"seed": 0, "dataset": "x"},
    "command": "llmpath",
}
_SMALL = {"embedding_size": 8, "context": 16, "training.batch_size": 4, "dropout": 0.2}
TINY: dict[str, dict[str, Any]] = {  # settings with which a stage takes seconds; every stage has its line
    "neural-network": {"hidden_size": 6, "epochs": 12, "points": 24, "xor_epochs": 20, "xor_seeds": 2},
    "backpropagation": {
        "hidden_sizes": (6,),
        "epochs": 12,
        "points": 24,
        "sweep_epochs": 20,
        "rates": (0.1, 1e12),
    },
    "optimizers": {"seeds": 2, "surface_steps": 60, "max_steps": 60, "rates_per_decade": 1, "hidden_size": 6},
    "sequences": _SMALL | {"hidden_size": 12, "training.steps": 40, "sample_by": "line"},
    "rnn": _SMALL | {"hidden_size": 12, "training.steps": 40},
    "lstm-gru": _SMALL | {"parameters": 2000, "training.steps": 30, "adding_length": 8, "adding_steps": 30},
    "deep-networks": {
        "hidden_sizes": (16,),
        "training.epochs": 3,
        "numpy_hidden_sizes": (8,),
        "numpy.epochs": 3,
        "depth": 4,
        "width": 16,
        "deep.epochs": 2,
    },
    "regularization": {"per_class": 6, "training.epochs": 3, "hidden_sizes": (16, 16)},
    "attention": {
        "hidden_size": 16,
        "embedding_size": 8,
        "training.steps": 30,
        "training.batch_size": 4,
        "max_target": 16,
    },
    "transformer": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "rewriting.steps": 30,
        "examples": 200,
        "reader_hidden_size": 16,
        "reading.steps": 20,
    },
    "fine-tuning": {
        "comparisons": ("early-stopping", "clipping", "freezing", "layer-wise", "lora", "lora-reviews"),
        "review_pretraining_steps": 10,
        "review_steps": 10,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "intermediate_size": 16,
        "pretraining_steps": 20,
        "fine_tuning.steps": 20,
        "few": 16,
        "few_steps": 24,
        "patience": 1,
        "clipping_steps": 12,
        "lora_rank": 1,
    },
    "inference": {
        "hidden_size": 64,
        "teacher.steps": 20,
        "student.steps": 10,
        "context": 64,
        "tokens": 8,
        "repeats": 1,
        "student.alone": True,
        "seeds": 2,
    },
    "pretraining": {"hidden_size": 16, "pretraining.steps": 40, "fine_tuning.steps": 20},
    "scaling": {
        "widths": (8, 12, 16),
        "checked_width": 24,
        "scaling_layers": 1,
        "scaling_steps": 12,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "head_size": 8,
        "context": 16,
        "training.batch_size": 4,
        "training.steps": 30,
    },
    "embeddings": {
        "hidden_size": 8,
        "epochs": 1,
        "glove_epochs": 1,
        "context_steps": 20,
        "context_batch_size": 8,
    },
    "rlhf": {
        "conversations": 80,
        "pairs": 80,
        "hidden_size": 16,
        "sft.steps": 12,
        "reward.steps": 6,
        "steps": 3,
        "prompts": 4,
        "dpo.steps": 4,
        "examined": 8,
    },
    "architectures": {
        "hidden_size": 16,
        "pretraining.steps": 20,
        "pretraining.batch_size": 16,
        "fine_tuning.steps": 20,
        "fine_tuning.batch_size": 16,
    },
}


ON_TEXT = ("sequences", "rnn", "lstm-gru", "scaling")  # those whose tiny run reads `text_of_hats`


def tiny_settings(slug: str, text: Path) -> dict[str, Any]:
    """The tiny settings of a stage; `text` is a file with `text_of_hats`."""
    return TINY[slug] | ({"dataset": str(text)} if slug in ON_TEXT else {})


def text_of_hats() -> str:
    """Sentences about hats, one a line, every second one in quotation marks."""
    people, colors = ("Anna", "Ben", "Otto", "Mara"), ("red", "blue", "green")
    places = ("sea", "hill", "barn", "old mill", "well")
    rows = [
        f"{x} had a {y} hat and went to the {z}." for x, y, z in itertools.product(people, colors, places)
    ]
    return "\n".join(f'"{row}"' if place % 2 else row for place, row in enumerate(rows * 3)) + "\n"


def model_of(cell: str = "lstm", seed: int = 0, **changes: Any) -> LLMPathRNNForCausalLM:
    """An untrained language model over `VOCAB` tokens."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": VOCAB, "hidden_size": 10, "embedding_size": 6, "initializer_range": 1.0}
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 2}
    return LLMPathRNNForCausalLM(LLMPathRNNConfig(cell=cell, **sizes | special | changes))


def tokens_of(count: int, seed: int = 0) -> np.ndarray:
    """Token ids with a pattern to learn: each is usually the one before plus three."""
    random = np.random.default_rng(seed)
    steps = np.where(random.random(count) < 0.8, 3, random.integers(1, VOCAB - 3, count))
    return 3 + np.cumsum(steps) % (VOCAB - 3)


def stream(streams: int = 4, length: int = 8, windows: int = 7) -> StreamWindows:
    return StreamWindows(tokens_of(streams * length * windows + 1), streams, length)


def documents(count: int = 40, longest: int = 9, shortest: int = 2) -> Documents:
    """Documents of `shortest` to `longest` tokens."""
    lengths = np.random.default_rng(1).integers(shortest, longest + 1, count)
    return Documents([tokens_of(length, seed) for seed, length in enumerate(lengths)], end=2, pad=0)


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Killed(Exception):
    """The process ended here."""


class KillAt(NoProgress):
    """Progress display that ends the training after a step, without a chance to save anything."""

    def __init__(self, step: int):
        self.at = step

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[NoProgress]:
        yield self

    def update(self, step: int, **values: float) -> None:
        if step == self.at:
            raise Killed
