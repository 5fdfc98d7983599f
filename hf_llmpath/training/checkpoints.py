"""Writes and finds checkpoints that are either complete or absent, in one process or several.

    write_checkpoint(folder, step, write)      # every process writes its share of the state
    checkpoint = last_checkpoint(folder)       # the newest one that is complete, or None

A training run either continues as if it had never stopped or does not continue at all. A different number of
processes cannot continue it, because they would sum gradients in a different order, and each process draws
its dropout from its own random numbers; `last_checkpoint` refuses this with a one-line error. With one or two
processes, the continuation is equal bit for bit. With three or more, PyTorch's data-parallel wrapper changes
the layout of the gradients after its first step, and a sum of three numbers depends on their order. The last
bit may then differ unless the layout is kept, as the Trainer does.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from ..errors import UserError
from ..runs import write_json

PREFIX = "checkpoint-"  # beginning of a folder's name; the number of steps done follows
COMPLETE = "complete"  # file that is written last; it records the number of processes


def process_count() -> int:
    """Returns how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_index() -> int:
    """Returns which of the processes this one is, counting from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait_for_all() -> None:
    """Waits until every process has reached this point."""
    if dist.is_initialized():
        dist.barrier()


def is_true_anywhere(flag: bool) -> bool:
    """Returns whether `flag` is true in any process. Every process must call this."""
    if process_count() == 1:
        return flag
    # NCCL exchanges only tensors on a GPU.
    value = torch.tensor(float(flag), device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(value)
    return value.item() > 0


def mark_complete(checkpoint: Path) -> None:
    """Marks a checkpoint as complete and records how many processes wrote it. Only one process calls this."""
    write_json(checkpoint / COMPLETE, {"processes": process_count()})


def write_checkpoint(folder: Path, step: int, write: Callable[[Path], object]) -> None:
    """Writes `checkpoint-STEP` under a temporary name, renames it, and only then deletes older ones.

    Every process must call this.

    Args:
        folder: folder of the training, on a disk that all processes share.
        step: number of optimizer steps done.
        write: function that each process calls with the new folder, to write its share.
    """
    target = folder / f"{PREFIX}{step}"
    temporary = folder / f".{target.name}.tmp"
    if process_index() == 0:
        shutil.rmtree(temporary, ignore_errors=True)  # left behind if the process was killed while writing
        temporary.mkdir(parents=True)
    wait_for_all()
    write(temporary)
    wait_for_all()
    if process_index() == 0:  # only now is every share on disk
        mark_complete(temporary)
        older = list(folder.glob(f"{PREFIX}*"))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
        for checkpoint in older:
            if checkpoint != target:
                shutil.rmtree(checkpoint)
    wait_for_all()


def step_of(checkpoint: Path) -> int:
    """Returns the number of optimizer steps after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(PREFIX))


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the newest complete checkpoint in `folder`, whoever wrote it."""
    complete = [path.parent for path in folder.glob(f"{PREFIX}*/{COMPLETE}")]
    return max(complete, key=step_of, default=None)


def last_checkpoint(folder: Path) -> Path | None:
    """Returns the newest complete checkpoint, provided that this number of processes can continue it.

    Every process must call this. Nothing is changed on disk.

    Raises:
        UserError: a different number of processes wrote it, or the processes see different checkpoints.
    """
    newest = newest_checkpoint(folder)
    if process_count() > 1:
        seen: list[str | None] = [None] * process_count()
        dist.all_gather_object(seen, newest and newest.name)
        if len(set(seen)) > 1:
            raise UserError(
                f"the processes see different checkpoints in {folder}: {', '.join(map(str, seen))}; "
                "put it on a disk that all machines share"
            )
    if newest is None:
        return None
    try:
        wrote = json.loads((newest / COMPLETE).read_text(encoding="utf-8"))["processes"]
    except ValueError:  # the mark of older versions is an empty file, not JSON
        raise UserError(
            f"{newest} was written by an older version, which did not note how many processes wrote it; "
            "start over"
        ) from None
    if wrote != process_count():
        command = "without torchrun" if wrote == 1 else f"on one machine: torchrun --nproc_per_node {wrote}"
        raise UserError(
            f"{newest} was written by {_counted(wrote)} and cannot be continued by {process_count()}: that "
            f"would be another training; start {wrote} ({command}), or start over in another folder"
        )
    return newest


def _counted(processes: int) -> str:
    return f"{processes} process{'es' if processes > 1 else ''}"
