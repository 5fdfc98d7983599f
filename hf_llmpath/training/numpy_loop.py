"""Training with the NumPy engine as a job of a run: progress, history, checkpoints, and an honest end
when it diverges.
"""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..runs import Job, write_text
from ..scratch import Loss, Network, Optimizer

STATE_FILE, COMPLETE = (
    "state.npz",
    "complete",
)  # of a checkpoint; the second says that it was written to the end
LAST_FINITE = "last_finite.npz"  # weights of a training that diverged, for `Network.load_state_dict`


@dataclass(frozen=True)
class Examples:
    """What a network learns from.

    Attributes:
        x: (count, features).
        targets: what the loss takes: a column of floats, or integer labels.
    """

    x: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


@dataclass
class Fit:
    """What a training did.

    Attributes:
        steps: optimizer steps taken.
        losses: the mean loss of each epoch.
        diverged_at: the step whose loss was not finite, if there was one; the network then has its last
            finite weights.
        kept: the file that holds these weights.
    """

    steps: int
    losses: list[float]
    diverged_at: int | None = None
    kept: Path | None = None

    def require_finite(self, learning_rate: float, setting: str = "learning_rate") -> "Fit":
        """Itself.

        Raises:
            UserError: the loss was not finite.
        """
        if self.diverged_at is not None:
            raise UserError(
                f"{self.advice(learning_rate, setting)}; the last finite weights are in {self.kept}"
            )
        return self

    def advice(self, learning_rate: float, setting: str = "learning_rate") -> str:
        """What to do about a training that diverged: lower the stage's `setting`."""
        return (
            f"the loss is not finite at step {self.diverged_at}; try a lower learning rate, for example "
            f"--set {setting}={learning_rate / 3:.1g}"
        )


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
    log_every: int | None = None,
) -> Fit:
    """Trains `network` in place by mini-batches, in a new order every epoch.

    A run that was stopped goes on from the job's last checkpoint and ends with the same weights, bit for
    bit. History gets a line every `log_every` epochs (about 100 lines if not given): `step`, `epoch`,
    `loss` and what `evaluate` finds.

    Args:
        seed: of the order of the examples, and of dropout.
        evaluate: called with the network for each line of the history, for example for its test loss.
        saves: checkpoints on the way.
    """
    loop = _Loop(network, examples, loss, optimizer, batch_size, np.random.default_rng(seed))
    per_epoch = math.ceil(len(examples) / batch_size)
    steps = epochs * per_epoch
    report_every = math.ceil(steps / 200)
    log_every = log_every or math.ceil(epochs / 100)
    save_every = math.ceil(epochs / (saves + 1))
    history = _History(job.folder / "history.jsonl")
    first = loop.load(job.folder)
    history.cut(first * per_epoch)
    # A training that diverges is told by its loss.
    with (
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        job.progress.task(job.name, steps) as progress,
    ):

        def report(step: int, value: float) -> None:
            if step % report_every == 0 or step == steps:
                progress.update(step, loss=value)

        for epoch in range(first + 1, epochs + 1):
            loop.epoch(report)
            if loop.diverged_at is not None:
                break
            if epoch == 1 or epoch % log_every == 0 or epoch == epochs:
                found = evaluate(network) if evaluate else {}
                history.add({"step": loop.steps, "epoch": epoch, "loss": loop.losses[-1]} | found)
            if epoch % save_every == 0 and epoch < epochs:
                loop.save(job.folder, epoch)
    if loop.diverged_at is None:
        return Fit(loop.steps, loop.losses)
    kept = job.folder / LAST_FINITE
    np.savez(kept, **network.state_dict())
    return Fit(loop.steps, loop.losses, loop.diverged_at, kept)


class _Loop:
    """The state of a training: weights, optimizer, generators and losses so far."""

    def __init__(
        self,
        network: Network,
        examples: Examples,
        loss: Loss,
        optimizer: Optimizer,
        batch_size: int,
        rng: np.random.Generator,
    ):
        self.network, self.loss, self.optimizer, self.batch_size = network, loss, optimizer, batch_size
        self.x, self.targets = np.ascontiguousarray(examples.x, dtype=network.dtype), examples.targets
        if not np.issubdtype(self.targets.dtype, np.integer):
            self.targets = self.targets.astype(network.dtype)
        self.generators = [rng, *(layer.rng for layer in network.layers if hasattr(layer, "rng"))]
        self.steps, self.losses, self.diverged_at = 0, [], None  # type: int, list[float], int | None
        self._finite: dict[str, np.ndarray] = {}
        self._keep()

    def _keep(self) -> None:
        self._finite = {name: value.copy() for name, value in self.network.state_dict().items()}

    def epoch(self, report: Callable[[int, float], None]) -> None:
        """Every example once."""
        order, total = self.generators[0].permutation(len(self.x)), 0.0
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            value = self.network.gradient(self.x[rows], self.targets[rows], self.loss)
            if not math.isfinite(value):
                self.diverged_at = self.steps + 1
                self.network.load_state_dict(self._finite)
                return
            self._keep()
            self.optimizer.step()
            self.steps += 1
            total += value * len(rows)
            report(self.steps, value)
        self.losses.append(total / len(order))

    def save(self, folder: Path, epoch: int) -> None:
        """Writes a checkpoint; the ones before it go."""
        target = folder / f"checkpoint-{epoch}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        arrays = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        arrays |= {f"optimizer.{name}": value for name, value in self.optimizer.state_dict().items()}
        states = json.dumps([generator.bit_generator.state for generator in self.generators])
        with (target / STATE_FILE).open("wb") as file:
            np.savez(
                file,
                **arrays,
                losses=np.array(self.losses),
                steps=np.array(self.steps),
                generators=np.array(states),
            )
        (target / COMPLETE).touch()
        for older in _checkpoints(folder):
            if older != target:
                shutil.rmtree(older)

    def load(self, folder: Path) -> int:
        """Takes up the newest complete checkpoint; returns the epochs that are done."""
        found = _checkpoints(folder)
        if not found:
            return 0
        with np.load(found[-1] / STATE_FILE, allow_pickle=False) as state:
            kinds: dict[str, dict[str, Any]] = {"network": {}, "optimizer": {}}
            for name in state.files:
                kind, _, rest = name.partition(".")
                if kind in kinds:
                    kinds[kind][rest] = state[name]
            self.network.load_state_dict(kinds["network"])
            self.optimizer.load_state_dict(kinds["optimizer"])
            for generator, value in zip(self.generators, json.loads(str(state["generators"])), strict=True):
                generator.bit_generator.state = value
            self._keep()
            self.losses, self.steps = state["losses"].tolist(), int(state["steps"])
        return int(found[-1].name.rpartition("-")[2])


def _checkpoints(folder: Path) -> list[Path]:
    complete = [path for path in folder.glob("checkpoint-*") if (path / COMPLETE).exists()]
    return sorted(complete, key=lambda path: int(path.name.rpartition("-")[2]))


class _History:
    """history.jsonl of a job."""

    def __init__(self, path: Path):
        self.path = path

    def cut(self, steps: int) -> None:
        """Keeps the lines up to a step: those after the checkpoint are written anew."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= steps]
        write_text(self.path, "".join(line + "\n" for line in kept))

    def add(self, entry: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
