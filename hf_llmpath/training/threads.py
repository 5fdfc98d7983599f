"""How many threads a training computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for the operators of PyTorch inside, and as many as before afterwards.

    For models whose matrices are small: a step is hundreds of operators of microseconds each, and after
    every one of them all threads wait for the last. Where another process holds a core for a moment, that
    wait is longer than the work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
