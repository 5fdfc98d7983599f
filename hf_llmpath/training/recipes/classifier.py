"""Fine-tunes an encoder as a text classifier, from pretrained or random weights."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    set_seed,
)

from ...data.batches.token_rows import TokenRows, TrainingBatches
from ...runs import Job
from ..adaptation import trainable_share
from ..recipe import Recipe
from ..trainer import fit

# Number of batches that are sorted by length together. The number is small because, in a small training set,
# examples would otherwise always share a batch with the same neighbors.
POOL = 4


def balanced_rows(labels: Sequence[int], count: int, seed: int) -> np.ndarray:
    """Draws `count` rows without replacement, with equal numbers of each class as far as the data permit."""
    rng = np.random.default_rng(seed)
    labels = np.asarray(labels)
    turns = np.empty(len(labels))
    for value in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == value))
        turns[rows] = np.arange(len(rows))  # the first of each class, then the second of each, ...
    return np.lexsort((rng.random(len(labels)), turns))[:count]  # sorts by turn, and at random within a turn


@torch.no_grad()
def predict(model: nn.Module, rows: TokenRows, pad: int, batch_size: int = 128) -> np.ndarray:
    """Returns the most probable class of every row, `(rows,)`."""
    was_training = model.training
    model.eval()
    classes = np.empty(len(rows), dtype=np.int64)
    order = np.argsort(rows.lengths, kind="stable")  # rows of similar length together, for little padding
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        ids, mask = rows.padded(indices, pad)  # both (batch, longest)
        # (batch, classes) -> (batch,)
        classes[indices] = model(input_ids=ids, attention_mask=mask).logits.argmax(-1).numpy()
    model.train(was_training)
    return classes


def fine_tune(
    start: Path | PretrainedConfig,
    classes: Sequence[str],
    train: tuple[TokenRows, Sequence[int]],
    held_out: tuple[TokenRows, Sequence[int]],
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    job: Job,
    seed: int,
    adapt: Callable[[nn.Module], nn.Module] | None = None,
) -> dict[str, Any]:
    """Trains a classifier once; the job keeps the model (low-rank updates are merged into its weights).

    Args:
        start: folder of a pretrained model, or a configuration for random weights. The classification head is
            new in either case.
        classes: names of the classes.
        train, held_out: rows and their classes; the accuracy is that on the held-out rows.
        tokenizer: tokenizer that is saved with the model.
        recipe, job, seed: see `fit`.
        adapt: function that chooses the weights that learn (`adaptation.py`); all learn if None.

    Returns:
        A dictionary with `accuracy`, `trainable_parameters`, `trainable_share`, and `seconds`.
    """

    def train_once(job: Job) -> dict[str, Any]:
        set_seed(seed)
        names = {"id2label": dict(enumerate(classes)), "label2id": {c: i for i, c in enumerate(classes)}}
        if isinstance(start, Path):
            model = AutoModelForSequenceClassification.from_pretrained(start, **names)
        else:
            model = AutoModelForSequenceClassification.from_config(
                type(start)(**_arguments_of(start) | names)
            )
        model = adapt(model) if adapt else model
        learning, share = trainable_share(model)
        pad, (rows, labels) = tokenizer.pad_token_id, train
        dataset = TrainingBatches(
            rows, recipe.batch_size, recipe.steps, pad, seed, labels=np.asarray(labels), pool=POOL
        )
        began = time.perf_counter()
        fit(model, dataset, recipe, job, seed, tokens_per_step=dataset.tokens_per_step)
        seconds = time.perf_counter() - began
        model = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
        job.save_model(model, tokenizer)
        accuracy = float((predict(model, held_out[0], pad) == np.asarray(held_out[1])).mean())
        return {
            "accuracy": accuracy,
            "trainable_parameters": learning,
            "trainable_share": share,
            "seconds": seconds,
        }

    return job.once(train_once)


def _arguments_of(config: PretrainedConfig) -> dict[str, Any]:
    """Returns the arguments from which a configuration was made, without the names of the classes."""
    own_fields = type(config)._own_fields()  # type: ignore[attr-defined]  # our configurations have it
    return {name: getattr(config, name) for name in own_fields}
