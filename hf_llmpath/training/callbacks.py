"""Trainer callbacks: what the learner sees while a model trains, the history file, and a clean stop on
Ctrl-C.
"""

import json
import math
import signal
import threading
import time
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback

from ..errors import UserError
from ..runs import NoProgress, write_text


class ReportProgress(TrainerCallback):
    """Passes loss and tokens per second on to the progress display after every step. A loss or a weight
    that is not finite ends the training, with the advice to lower the stage's setting `rate_setting`."""

    def __init__(
        self, progress: NoProgress, tokens_per_step: int | None = None, rate_setting: str = "learning_rate"
    ):
        self.progress, self.tokens_per_step, self.rate_setting = progress, tokens_per_step, rate_setting
        self.values: dict[str, float] = {}
        self.began = self.first = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began, self.first = time.perf_counter(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        for name in ("loss", "eval_loss"):
            if name in logs:
                self.values[name] = float(logs[name])
        # The last steps may come after the last entry with a loss; `train_loss`, the mean of all, has
        # them too.
        if not all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "train_loss")):
            raise self._diverged("the loss is", args, state)

    def on_train_end(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        if not all(parameter.isfinite().all() for parameter in model.parameters() if parameter.requires_grad):
            raise self._diverged("a weight is", args, state)  # of the last step, which no loss has seen

    def _diverged(self, what: str, args: Any, state: Any) -> UserError:
        return UserError(
            f"{what} not finite at step {state.global_step}; try a lower learning rate, for example "
            f"--set {self.rate_setting}={args.learning_rate / 3:.1g}"
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.tokens_per_step:
            seconds = time.perf_counter() - self.began
            self.values["tokens_per_second"] = (
                self.tokens_per_step * (state.global_step - self.first) / seconds
            )
        self.progress.update(state.global_step, **self.values)


class History(TrainerCallback):
    """history.jsonl of a part: one line per log entry; on resume, the lines after the checkpoint are
    written anew.
    """

    def __init__(self, path: Path):
        self.path = path

    def _write(self, state: Any) -> None:
        if state.is_world_process_zero:
            write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in state.log_history))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._write(state)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(state.log_history[-1]) + "\n")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._write(state)


class CatchInterrupt:
    """Within a `with` block Ctrl-C only sets `interrupted`; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.interrupted = False
        self._before: Any = None

    def _on_signal(self, *_: Any) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, self._before)

    def __enter__(self) -> "CatchInterrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


class StopOnInterrupt(TrainerCallback):
    """Turns Ctrl-C into a checkpoint and a stop after the current step; a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self._catch = CatchInterrupt()

    @property
    def interrupted(self) -> bool:
        return self._catch.interrupted

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._catch.__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.interrupted:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._catch.__exit__()
