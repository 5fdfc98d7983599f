"""Finds the fastest way to compute on this machine: with one thread or several, in 16 bits or 32."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch

Precision = Literal["no", "bf16"]  # the values of Accelerate's `mixed_precision`
GAIN = 0.8  # 16 bits pay if a product takes at most this share of its time in 32 bits
REPEATS = 12  # number of products of each kind, in alternation; the fastest of each kind counts


@contextmanager
def one_thread() -> Iterator[None]:
    """Makes PyTorch's operators use a single thread inside the context and the former number afterward.

    This is for models with small matrices. A step consists of hundreds of operators that take microseconds
    each, and after each of them all threads wait for the slowest. If another process holds a core for a
    moment, the wait is longer than the work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def precision_for(wanted: Literal["auto", "no", "bf16"]) -> Precision:
    """Returns the precision that was requested or, for `"auto"`, the faster one on this machine."""
    if wanted != "auto":
        return wanted
    return "bf16" if sixteen_bits_pay() else "no"


@cache
def sixteen_bits_pay() -> bool:
    """Returns whether products in 16 bits are faster.

    A processor with instructions for them takes half the time; any other takes ten times as long or longer. A
    GPU reports whether it supports bfloat16. On a CPU, the function times products for a few milliseconds:
    the ratio of the times is about 0.4 with such instructions and more than 5 without, so timing noise does
    not change the answer.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    best = {torch.bfloat16: float("inf"), torch.float32: float("inf")}
    with one_thread():  # on a busy machine, threads wait for each other, and their times say little
        for _ in range(REPEATS):
            best = {dtype: min(seconds, _seconds(dtype)) for dtype, seconds in best.items()}
    return best[torch.bfloat16] <= GAIN * best[torch.float32]


@torch.no_grad()
def _seconds(dtype: torch.dtype) -> float:
    """Returns the time in seconds of one product (1024, 256) @ (256, 256), a size typical of training."""
    left, right = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
    began = time.perf_counter()
    left @ right
    return time.perf_counter() - began
