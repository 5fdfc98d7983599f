"""Makes processes that train together stop together.

When one process is gone, the others report which one it was and how to continue.

    with stop_together(folder):
        ...                        # the training

A process that dies closes its connections, and the next exchange of gradients fails in the others within
moments. torchrun notices the death too and asks the others to end. Here, both lead to the same one-line
error. A machine that is cut off closes no connection, and an exchange with it fails after `PATIENCE`.

    leave_group()                  # the last line of a program
"""

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import torch.distributed as dist

from ...errors import UserError
from ..checkpoints import newest_checkpoint, process_count, process_index

PATIENCE = timedelta(minutes=10)  # limit of an exchange, even one that waits for a checkpoint
LOOK_FOR = 3.0  # seconds; the connections of a killed process close before its end can be seen


def share_of(batch_size: int) -> int:
    """Returns how many rows of a batch each process takes.

    Raises:
        UserError: the rows cannot be divided evenly.
    """
    if batch_size % process_count():
        raise UserError(
            f"batch_size ({batch_size}) must be a multiple of the number of processes ({process_count()})"
        )
    return batch_size // process_count()


@dataclass(frozen=True)
class Worker:
    """One of the processes: its rank, its process id, and the machine that it runs on."""

    rank: int
    pid: int
    machine: str

    @property
    def is_gone(self) -> bool:
        """Returns whether the process has ended, as far as this machine can tell."""
        if self.machine != socket.gethostname():
            return False
        try:
            return psutil.Process(self.pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.NoSuchProcess:
            return True

    def __str__(self) -> str:
        return f"worker {self.rank} (process {self.pid} on {self.machine})"


class _AskedToEnd(BaseException):
    """Signals that the process has received SIGTERM."""


@contextmanager
def stop_together(folder: Path) -> Iterator[None]:
    """Guards a training run of several processes; does nothing if there is only one.

    Every process must enter this context.

    Args:
        folder: folder of the training's checkpoints.

    Raises:
        UserError: another process is gone or has not answered for `PATIENCE`. From then on, this process
            ignores SIGTERM, which torchrun sends at that moment, so that it can still report the error.
    """
    if process_count() == 1:
        yield
        return
    workers: list[Any] = [None] * process_count()
    dist.all_gather_object(workers, Worker(process_index(), os.getpid(), socket.gethostname()))
    before = _on_sigterm(_raise_asked)
    try:
        yield
    except (RuntimeError, _AskedToEnd) as error:
        _on_sigterm(signal.SIG_IGN)
        what = _what_happened(workers, error)
        if what is not None:
            raise UserError(f"{what}; {_how_to_continue(folder)}") from error
        _on_sigterm(before)
        if isinstance(error, _AskedToEnd):  # no worker is gone, so let the former handler act
            os.kill(os.getpid(), signal.SIGTERM)
        raise
    except BaseException:
        _on_sigterm(before)
        raise
    _on_sigterm(before)


def leave_group() -> None:
    """Waits for the other processes and ends the process groups, if there are any.

    Call this at the end of a program, when models and optimizers are out of scope. Anything that still holds
    a group keeps gloo's threads alive, and if one of them drops a tensor while the interpreter ends, the
    process aborts (pytorch/pytorch#179291).
    """
    if dist.is_initialized():
        dist.barrier()
        gc.collect()  # models are full of reference cycles, which keep groups alive
        dist.destroy_process_group()


def _raise_asked(*_: object) -> None:
    raise _AskedToEnd


def _on_sigterm(handler: Any) -> Any:
    # Python allows only the main thread to set signal handlers.
    if handler is not None and threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGTERM, handler)
    return None


def _what_happened(workers: list[Worker], error: BaseException) -> str | None:
    others = [worker for worker in workers if worker.rank != process_index()]
    # torchrun sends SIGTERM only after a process has ended. An exchange, however, may fail a moment before
    # that, so wait until the end of the process can be seen.
    until = time.monotonic() + (0 if isinstance(error, _AskedToEnd) else LOOK_FOR)
    while not (gone := [worker for worker in others if worker.is_gone]) and time.monotonic() < until:
        time.sleep(0.05)
    if gone:
        are = "is" if len(gone) == 1 else "are"
        return f"{', '.join(map(str, gone))} {are} gone, so worker {process_index()} stops too"
    if not isinstance(error, dist.DistError) and "gloo" not in str(error):
        return None  # no exchange failed: the error is this process's own, or someone sent it SIGTERM
    text = str(error).splitlines()[0]
    if "timed out" in text.lower():
        silent = ", ".join(map(str, others))
        return f"none of {silent} answers in time, so worker {process_index()} stops ({text})"
    away = [worker for worker in others if worker.machine != socket.gethostname()]
    broken = " or ".join(map(str, away or others))
    return f"the connection to {broken} broke, so worker {process_index()} stops ({text})"


def _how_to_continue(folder: Path) -> str:
    newest = newest_checkpoint(folder)
    if not newest:
        return "there is no checkpoint yet, so start over"
    return f"{newest} is complete: start all of them again with --resume, and they continue from there"
