"""Trains with the NumPy engine by mini-batches, as a job of a run.

The arithmetic is in `hf_llmpath.scratch`. This file adds the order of the examples and the state of a
checkpoint; `Loop` adds the rest.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..runs import Job
from ..scratch import Loss, Network, Optimizer
from .checkpoints import COMPLETE, PREFIX, mark_complete
from .loop import Loop, diverged
from .recipe import save_interval

NUMPY_STATE_FILE = "state.npz"  # file in a checkpoint
LAST_FINITE = "last_finite.npz"  # last finite weights of a run that diverged


@dataclass(frozen=True)
class Examples:
    """The examples that a network learns from.

    Attributes:
        x: inputs `(count, features)`.
        targets: targets in the form that the loss takes: a column of floats or integer labels.
    """

    x: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


@dataclass
class NumpyFit:
    """The outcome of a training run.

    Attributes:
        steps: number of optimizer steps taken.
        losses: mean loss of each epoch.
        diverged_at: step whose loss was not finite, or None; after such a step, the network has the last
            weights whose loss was finite.
        last_finite: file that holds these weights.
    """

    steps: int
    losses: list[float]
    diverged_at: int | None = None
    last_finite: Path | None = None

    def require_finite(self, learning_rate: float, setting: str = "learning_rate") -> "NumpyFit":
        """Returns itself if the training did not diverge.

        Raises:
            UserError: a loss was not finite.
        """
        if self.diverged_at is not None:
            raise diverged(self.diverged_at, (setting, learning_rate), last_finite=self.last_finite)
        return self

    def advice(self, learning_rate: float, setting: str = "learning_rate") -> str:
        """Says what to do about a training run that diverged: lower the stage's `setting`."""
        return str(diverged(self.diverged_at or 0, (setting, learning_rate)))


def fit_numpy(
    network: Network,
    examples: Examples,
    loss: Loss,
    optimizer: Optimizer,
    job: Job,
    epochs: int,
    batch_size: int,
    seed: int,
    evaluate: Callable[[Network], dict[str, float]] | None = None,
    saves: int = 4,
) -> NumpyFit:
    """Trains `network` in place by mini-batches, with the examples in a new order every epoch.

    The history gets about 100 lines with `step`, `epoch`, the mean `loss` of the epoch, and what `evaluate`
    returns. Checkpoints are written between epochs.

    Args:
        network: network to train, in place.
        examples, loss, optimizer: the data, the loss to minimize, and the optimizer of the network.
        job: where checkpoints, history, and progress go.
        epochs, batch_size: number of passes over the examples, and examples per step.
        seed: seed of the order of the examples.
        evaluate: function that is called with the network for each line of the history and returns, for
            example, its test loss.
        saves: number of checkpoints on the way.
    """
    x, targets = np.ascontiguousarray(examples.x, dtype=network.dtype), examples.targets
    if not np.issubdtype(targets.dtype, np.integer):
        targets = targets.astype(network.dtype)
    per_epoch = math.ceil(len(x) / batch_size)
    log_every = math.ceil(epochs / 100)
    rename_old_checkpoints(job.folder)
    loop = Loop(
        job,
        epochs * per_epoch,
        ("learning_rate", optimizer.learning_rate),
        save_every=per_epoch * save_interval(epochs, saves),
        log_every=0,
    )
    rng = np.random.default_rng(seed)
    generators = [rng, *(layer.rng for layer in network.layers if hasattr(layer, "rng"))]
    losses: list[float] = []
    if loop.checkpoint is not None:
        losses = _read_numpy_state(loop.checkpoint, network, optimizer, generators)

    def save(folder: Path) -> None:
        _write_numpy_state(folder, network, optimizer, generators, losses)

    finite = _weights(network)  # the weights of the last step whose loss was finite
    # The loss shows that a run diverges, so the overflows that lead to it need no warning.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), loop:
        while loop.step < loop.steps:
            order, total = rng.permutation(len(x)), 0.0
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]  # (batch,), or less at the end of an epoch
                value = network.gradient(x[rows], targets[rows], loss)
                # The previous step caused this; `finite` holds the weights from before it.
                if not math.isfinite(value):
                    network.load_state_dict(finite)
                    np.savez(job.folder / LAST_FINITE, **finite)
                    return NumpyFit(loop.step, losses, loop.step + 1, job.folder / LAST_FINITE)
                finite = _weights(network)
                optimizer.step()
                total += value * len(rows)  # the last batch of an epoch may be smaller and counts for less
                loop.after_step(value)
            losses.append(total / len(order))
            epoch = loop.step // per_epoch
            if epoch == 1 or epoch % log_every == 0 or epoch == epochs:
                loop.log({"epoch": epoch, "loss": losses[-1]} | (evaluate(network) if evaluate else {}))
            if loop.save_if_due(save):
                raise KeyboardInterrupt
    return NumpyFit(loop.step, losses)


def _weights(network: Network) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in network.state_dict().items()}


def _write_numpy_state(
    folder: Path,
    network: Network,
    optimizer: Optimizer,
    generators: list[np.random.Generator],
    losses: list[float],
) -> None:
    arrays = {f"network.{name}": value for name, value in network.state_dict().items()}
    arrays |= {f"optimizer.{name}": value for name, value in optimizer.state_dict().items()}
    # As JSON, because reading a pickle can run any code that it contains.
    states = json.dumps([generator.bit_generator.state for generator in generators])
    np.savez(folder / NUMPY_STATE_FILE, **arrays, losses=np.array(losses), generators=np.array(states))


def _read_numpy_state(
    folder: Path, network: Network, optimizer: Optimizer, generators: list[np.random.Generator]
) -> list[float]:
    """Restores the state from a checkpoint and returns the losses of the epochs so far."""
    with np.load(folder / NUMPY_STATE_FILE, allow_pickle=False) as state:
        of_kind: dict[str, dict[str, Any]] = {"network": {}, "optimizer": {}}
        for name in state.files:
            kind, _, rest = name.partition(".")
            if kind in of_kind:
                of_kind[kind][rest] = state[name]
        network.load_state_dict(of_kind["network"])
        optimizer.load_state_dict(of_kind["optimizer"])
        for generator, value in zip(generators, json.loads(str(state["generators"])), strict=True):
            generator.bit_generator.state = value
        return state["losses"].tolist()


def rename_old_checkpoints(folder: Path) -> None:
    """Converts checkpoints of earlier versions to the current form.

    Those versions numbered checkpoints by epochs, and the file that marks a complete one was empty.
    """
    for mark in list(folder.glob(f"{PREFIX}*/{COMPLETE}")):
        state = mark.parent / NUMPY_STATE_FILE
        if state.exists() and not mark.read_text():
            with np.load(state, allow_pickle=False) as arrays:
                steps = int(arrays["steps"])
            mark_complete(mark.parent)
            mark.parent.rename(folder / f"{PREFIX}{steps}")
