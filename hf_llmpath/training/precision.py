"""Whether to multiply in 16 bits: a processor made for it is twice as fast, any other ten times slower or
worse.
"""

import time
from functools import cache
from typing import Literal

import torch

from .threads import one_thread

Wanted = Literal["auto", "no", "bf16"]
Precision = Literal["no", "bf16"]
GAIN = 0.8  # a product in 16 bits must take at most so much of the time of one in 32
REPEATS = 12  # products either way, in turn, of which the fastest count


def precision_for(wanted: Wanted) -> Precision:
    """`"auto"` as what pays on this machine; the others as they are. In the words of Accelerate's
    `mixed_precision`.
    """
    if wanted != "auto":
        return wanted
    return "bf16" if sixteen_bits_pay() else "no"


@cache
def sixteen_bits_pay() -> bool:
    """On a GPU, if it has bfloat16; on a CPU by trying it (some milliseconds): with and without such
    instructions the ratio of times is about 0.4 and more than 5, so that chance does not decide."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    best = {torch.bfloat16: float("inf"), torch.float32: float("inf")}
    with (
        one_thread()
    ):  # several threads wait for each other where the machine is busy, and nothing could be compared
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
