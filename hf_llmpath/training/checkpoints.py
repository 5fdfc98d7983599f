"""Checkpoints of one process or several: whole or not there, and taken up again by as many processes as
wrote them.

    write_checkpoint(folder, step, write)      # every process puts its part of the state where `write` is told to
    checkpoint = last_checkpoint(folder)       # the newest that is whole, or None

A training goes on as if it had not stopped, or not at all. In another number of processes it cannot:
gradients are summed in another order, and every process draws its dropout from random numbers of its own;
so that is refused in one line. One process and two go on bit for bit. Of three and more PyTorch's
data-parallel wrapper lays out the gradients anew after its first step, and a sum of three numbers depends
on their order: the last bit may differ, unless the layout is kept, as by the Trainer.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist

from ..errors import UserError
from ..runs import write_json

PREFIX, COMPLETE = (
    "checkpoint-",
    "complete",
)  # of a folder; the file in it that says that it was written to the end


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_index() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait_for_all() -> None:
    """Until every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def mark_complete(checkpoint: Path) -> None:
    """Says that the checkpoint was written to the end, and by how many processes; one of them is to call it."""
    write_json(checkpoint / COMPLETE, {"processes": process_count()})


def write_checkpoint(folder: Path, step: int, write: Callable[[Path], object]) -> None:
    """Writes `checkpoint-STEP` under another name and then renames it; only then the older ones go. All
    processes call it.

    Args:
        folder: of the training, on a disk that all processes share.
        step: optimizer steps done.
        write: called in every process with the folder to write into, which is there and empty.
    """
    target = folder / f"{PREFIX}{step}"
    temporary = folder / f".{target.name}.tmp"
    if process_index() == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    wait_for_all()
    write(temporary)
    wait_for_all()
    if process_index() == 0:
        mark_complete(temporary)
        older = list(folder.glob(f"{PREFIX}*"))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
        for checkpoint in older:
            if checkpoint != target:
                shutil.rmtree(checkpoint)
    wait_for_all()


def step_of(checkpoint: Path) -> int:
    """The optimizer steps after which it was written."""
    return int(checkpoint.name.removeprefix(PREFIX))


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in `folder` that was written to the end, by however many processes."""
    whole = [path.parent for path in folder.glob(f"{PREFIX}*/{COMPLETE}")]
    return max(whole, key=step_of, default=None)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint, for this number of processes to go on from. All of them call it; it
    changes nothing.

    Raises:
        UserError: it was written by another number of processes, or the processes do not see the same one.
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
    wrote, now = _processes_of(newest), process_count()
    if wrote != now:
        right = "without torchrun" if wrote == 1 else f"on one machine: torchrun --nproc_per_node {wrote}"
        raise UserError(
            f"{newest} was written by {_counted(wrote)} and cannot go on in {now}: that would be another training; "
            f"start {wrote} ({right}), or begin anew in another folder"
        )
    return newest


def _processes_of(checkpoint: Path) -> int:
    try:
        return json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))["processes"]
    except ValueError:
        raise UserError(
            f"{checkpoint} does not say how many processes wrote it, as it is of an older version; begin anew"
        ) from None


def _counted(processes: int) -> str:
    return f"{processes} process{'es' if processes > 1 else ''}"
