"""Defines the contract that every training loop in this package keeps, whatever computes its steps.

    with Loop(job, recipe.steps, recipe.advice, recipe.saves) as loop:
        if loop.checkpoint is not None:
            read_state(loop.checkpoint)
        while loop.step < loop.steps:
            ...                                        # batch, forward, backward, step
            loop.after_step(loss, save=write_state)    # write_state(folder) writes all that a step changes

A training run that is killed continues from its last complete checkpoint and ends with the same weights, bit
for bit. Ctrl-C ends it with a checkpoint after the current step. A loss that is not finite ends it with an
error that names the setting to lower. `history.jsonl` holds each step at most once.
"""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..runs import Job, write_json, write_text
from .checkpoints import is_true_anywhere, last_checkpoint, process_index, step_of, write_checkpoint
from .distributed.workers import stop_together
from .recipe import save_interval

STATE_FILE = "loop.json"  # file in a checkpoint: the state that `Loop` itself needs to continue
HISTORY_FILE = "history.jsonl"
LOGGED, SHOWN = 100, 400  # number of lines in a history, and number of updates of the progress display


def diverged(
    step: int, advice: tuple[str, float], what: str = "the loss", last_finite: Path | None = None
) -> UserError:
    """Makes the error that says what to do about a training run that diverged.

    Args:
        step: number of the step that diverged.
        advice: the stage's setting to lower, and its value.
        what: name of the quantity that is not finite.
        last_finite: path of the weights from before that step.
    """
    setting, rate = advice
    kept = f"; the last finite weights are in {last_finite}" if last_finite else ""
    return UserError(
        f"{what} is not finite at step {step}; try a lower learning rate, for example "
        f"--set {setting}={rate / 3:.1g}{kept}"
    )


class Loop:
    """Counts the steps of a training run and keeps its history, checkpoints, and progress display.

    Args:
        job: the folder of checkpoints and history, the name, and the progress display.
        steps: total number of steps.
        advice: the stage's setting to lower if the training diverges, and its value.
        saves: number of checkpoints on the way, evenly spaced.
        save_every: number of steps between two checkpoints, in place of `saves`.
        log_every: number of steps between two lines of the history, by default such that there are about a
            hundred lines; 0 if the caller calls `log` itself.

    Attributes:
        step: number of steps done.
        checkpoint: the folder to continue from, or None; the caller reads its own files there.
        rows: lines of the history.
        state: values of the caller that are kept in a checkpoint, as JSON.

    Raises:
        UserError: a different number of processes wrote the checkpoint; later, a loss is not finite or
            another process is gone.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint is on disk.
    """

    def __init__(
        self,
        job: Job,
        steps: int,
        advice: tuple[str, float],
        saves: int = 0,
        save_every: int | None = None,
        log_every: int | None = None,
    ):
        self.job, self.folder, self.steps, self.advice = job, job.folder, steps, advice
        self.save_every = save_every or save_interval(steps, saves)
        self.log_every = max(1, steps // LOGGED) if log_every is None else log_every
        self.show_every = max(1, steps // SHOWN)
        self.checkpoint = last_checkpoint(self.folder)
        self.step = 0 if self.checkpoint is None else step_of(self.checkpoint)
        self.state: dict[str, Any] = self._read_state()
        self.rows = self._rows_so_far()
        self.interrupted = False
        self._losses: list[float] = self.state.pop("losses", [])  # losses since the last line of the history
        self._seconds_before: float = self.state.pop("seconds", 0.0)
        self._tokens, self._began = 0, time.perf_counter()

    def __enter__(self) -> "Loop":
        self._began = time.perf_counter()
        if process_index() == 0:  # the file is rewritten, to drop the lines after the checkpoint
            write_text(self.folder / HISTORY_FILE, "".join(json.dumps(row) + "\n" for row in self.rows))
        with ExitStack() as stack:  # if a context fails to enter, the stack leaves those entered before
            self._progress = stack.enter_context(self.job.progress.task(self.job.name, self.steps))
            stack.enter_context(stop_together(self.folder))
            stack.enter_context(self._ctrl_c_noted())
            self._contexts = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        swallowed = self._contexts.__exit__(*error)
        if error[0] is None and self.interrupted:
            raise KeyboardInterrupt
        return swallowed

    @property
    def losses(self) -> list[float]:
        """Returns the losses in the history."""
        return [row["loss"] for row in self.rows if "loss" in row]

    @property
    def seconds(self) -> float:
        """Returns the time spent in training, without interruptions."""
        return self._seconds_before + time.perf_counter() - self._began

    @property
    def is_stopping(self) -> bool:
        """Returns whether Ctrl-C was pressed in any process, since all must stop after the same step."""
        self.interrupted = is_true_anywhere(self.interrupted)
        return self.interrupted

    def after_step(
        self,
        loss: float | Tensor | None,
        save: Callable[[Path], object] | None = None,
        tokens: int = 0,
        **values: Any,
    ) -> None:
        """Counts a step, and logs, shows, and saves it if that is due.

        Args:
            loss: loss of the step, the same in every process; None if it is not known.
            save: function that writes everything that a step changes into a folder; None if the training
                cannot continue from this point or if something else writes the checkpoints.
            tokens: number of tokens read in this step, for the speed that is shown.
            values: more numbers for the step's line in the history.
        """
        loss = None if loss is None else float(loss)
        if loss is not None:
            self.require_finite(loss)
        self.step += 1
        self._tokens += tokens
        if self.log_every:
            if loss is not None:
                self._losses.append(loss)
            if self.step % self.log_every == 0 or self.step in (1, self.steps):
                mean = {"loss": sum(self._losses) / len(self._losses)} if self._losses else {}
                self.log(mean | values)
                self._losses = []
        if self.step % self.show_every == 0 or self.step == self.steps:
            shown = {} if loss is None else {"loss": loss}
            if self._tokens:
                shown["tokens_per_second"] = self._tokens / (time.perf_counter() - self._began)
            self._progress.update(self.step, **shown)
        if save is not None and self.save_if_due(save):
            raise KeyboardInterrupt

    def save_if_due(self, save: Callable[[Path], object]) -> bool:
        """Writes a checkpoint if it is due or Ctrl-C was pressed; returns whether the training must stop."""
        stopping = self.is_stopping
        if stopping or (self.step % self.save_every == 0 and self.step < self.steps):
            write_checkpoint(self.folder, self.step, lambda folder: self._write(folder, save))
        return stopping

    def _write(self, folder: Path, save: Callable[[Path], object]) -> None:
        save(folder)
        if process_index() == 0:
            write_json(folder / STATE_FILE, self.state | {"losses": self._losses, "seconds": self.seconds})

    def log(self, row: dict[str, Any]) -> None:
        """Appends a line to the history, adding the step if `row` has none."""
        row = {"step": self.step} | row
        self.rows.append(row)
        if process_index() == 0:
            with (self.folder / HISTORY_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def require_finite(self, value: float, what: str = "the loss", last_finite: Path | None = None) -> None:
        """Checks a number that belongs to the current step.

        Raises:
            UserError: the number is not finite.
        """
        if not math.isfinite(value):
            raise self.diverged(self.step + 1, what, last_finite)

    def diverged(self, step: int, what: str = "the loss", last_finite: Path | None = None) -> UserError:
        """Makes the error for a training run that diverged."""
        return diverged(step, self.advice, what, last_finite)

    def _read_state(self) -> dict[str, Any]:
        path = None if self.checkpoint is None else self.checkpoint / STATE_FILE
        return json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}

    def _rows_so_far(self) -> list[dict[str, Any]]:
        """Reads the history up to the checkpoint, without the summary that the Trainer writes at the end."""
        rows: list[dict[str, Any]] = []
        path = self.folder / HISTORY_FILE
        if self.checkpoint is None or not path.exists():
            return rows
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # the process was killed while it wrote this line
                break
            if row["step"] <= self.step and "train_runtime" not in row:
                rows.append(row)
        return rows

    @contextmanager
    def _ctrl_c_noted(self) -> Iterator[None]:
        """Makes the first Ctrl-C inside the context only set `interrupted`; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():  # only it may set signal handlers
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def note(*_: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)  # the second Ctrl-C acts at once

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
