"""What a process says of the others when an exchange with them fails; dead ones of this machine are real
processes.
"""

import os
import signal
import socket
import subprocess
import sys

import pytest
import torch.distributed as dist

from hf_llmpath.errors import UserError
from hf_llmpath.training.checkpoints import write_checkpoint
from hf_llmpath.training.distributed import workers
from hf_llmpath.training.distributed.workers import Worker, share_of, stop_together

BROKEN = "[gloo/transport/tcp/pair.cc:537] Read error [10.0.0.2]:1: Connection reset by peer."
HERE = socket.gethostname()


@pytest.fixture
def grouped_with(monkeypatch):
    """`grouped_with(worker)`: this process is the first of a group, and the others are these."""

    def join(*others: Worker) -> None:
        def gather(found: list, mine: Worker) -> None:
            found[:] = [mine, *others]

        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_world_size", lambda: 1 + len(others))
        monkeypatch.setattr(dist, "get_rank", lambda: 0)
        monkeypatch.setattr(dist, "all_gather_object", gather)
        monkeypatch.setattr(workers, "LOOK_FOR", 0.2)

    before = signal.getsignal(signal.SIGTERM)
    yield join
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def ended():
    """A process that was killed and of which its parent has not taken notice yet."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.communicate()


def test_who_is_gone_is_named_and_the_checkpoint_too(grouped_with, ended, tmp_path):
    write_checkpoint(tmp_path, 6, lambda temporary: None)
    grouped_with(Worker(1, os.getppid(), HERE), Worker(2, ended, HERE))
    gone = rf"^worker 2 \(process {ended} on \S+\) is gone, so worker 0 stops too; "
    message = gone + r"\S+checkpoint-6 is complete: .*--resume"
    with pytest.raises(UserError, match=message), stop_together(tmp_path):
        raise RuntimeError(BROKEN)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN  # until it has said so


def test_without_a_checkpoint_it_begins_anew(grouped_with, ended, tmp_path):
    grouped_with(Worker(1, ended, HERE))
    with (
        pytest.raises(UserError, match="there is no checkpoint yet, so start over$"),
        stop_together(tmp_path),
    ):
        raise RuntimeError(BROKEN)


def test_a_worker_on_another_machine_is_named_by_elimination(grouped_with, tmp_path):
    grouped_with(Worker(1, os.getppid(), HERE), Worker(2, 7, "far"))
    message = r"^the connection to worker 2 \(process 7 on far\) broke, so worker 0 stops \(.*reset by peer"
    with pytest.raises(UserError, match=message), stop_together(tmp_path):
        raise RuntimeError(BROKEN)


def test_an_error_of_this_process_stays_what_it_is(grouped_with, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    grouped_with(Worker(1, os.getppid(), HERE))
    with pytest.raises(RuntimeError, match="^shapes"), stop_together(tmp_path):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(KeyError), stop_together(tmp_path):
        raise KeyError("x")
    with stop_together(tmp_path):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_asked_to_end_while_all_are_there_it_ends(grouped_with, tmp_path):
    """By what SIGTERM did before: here a handler that keeps the signal."""
    came = []
    signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    grouped_with(Worker(1, os.getppid(), HERE))
    with pytest.raises(BaseException) as caught, stop_together(tmp_path):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert came == [signal.SIGTERM] and caught.type.__name__ == "_AskedToEnd"


def test_batches_are_shared_out_evenly(grouped_with):
    assert share_of(7) == 7
    grouped_with(*[Worker(rank, 1, HERE) for rank in (1, 2, 3)])
    assert share_of(8) == 2
    with pytest.raises(
        UserError, match=r"batch_size \(6\) must be a multiple of the number of processes \(4\)"
    ):
        share_of(6)
