"""What a processor computes fastest with: one thread or several, 16 bits or 32."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch

Precision = Literal["no", "bf16"]  # in the words of Accelerate's `mixed_precision`
GAIN = 0.8  # a product in 16 bits must take at most this share of the time of one in 32
REPEATS = 12  # products of each kind, in turn; the fastest one counts


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, PyTorch's operators use one thread, and afterwards as many as before.

    For models with small matrices: a step is hundreds of operators of microseconds each, and after every
    one of them all threads wait for the last. Where another process holds a core for a moment, that wait
    is longer than the work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def precision_for(wanted: Literal["auto", "no", "bf16"]) -> Precision:
    """The precision that was asked for; for `"auto"`, the faster one on this machine."""
    if wanted != "auto":
        return wanted
    return "bf16" if sixteen_bits_pay() else "no"


@cache
def sixteen_bits_pay() -> bool:
    """Whether products in 16 bits are faster: a processor made for them takes half the time, any other
    ten times as long or worse.

    A GPU is asked whether it has bfloat16. A CPU is tried for some milliseconds: with and without such
    instructions the ratio of times is about 0.4 and more than 5, so chance does not decide.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    best = {torch.bfloat16: float("inf"), torch.float32: float("inf")}
    with one_thread():  # several threads wait for each other on a busy machine, and times say little
        for _ in range(REPEATS):
            best = {dtype: min(seconds, _seconds(dtype)) for dtype, seconds in best.items()}
    return best[torch.bfloat16] <= GAIN * best[torch.float32]


@torch.no_grad()
def _seconds(dtype: torch.dtype) -> float:
    """Of one product of the size that a training has."""
    left, right = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
    began = time.perf_counter()
    left @ right
    return time.perf_counter() - began
