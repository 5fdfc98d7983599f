"""Whether to multiply in 16 bits: a processor made for it is twice as fast, any other ten times slower or worse."""

import time
from functools import cache
from typing import Literal

import torch

Wanted = Literal["auto", "no", "bf16"]
Precision = Literal["no", "bf16"]
GAIN = 0.8  # a product in 16 bits must take at most so much of the time of one in 32


def precision_for(wanted: Wanted) -> Precision:
    """`"auto"` as what pays on this machine; the others as they are. In the words of Accelerate's `mixed_precision`."""
    if wanted != "auto":
        return wanted
    return "bf16" if sixteen_bits_pay() else "no"


@cache
def sixteen_bits_pay() -> bool:
    """On a GPU, if it has bfloat16; on a CPU by trying it (some milliseconds): with and without such instructions the ratio
    of times is about 0.4 and more than 5, so that chance does not decide."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return _seconds(torch.bfloat16) <= GAIN * _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """The best of a few products of the size that a training has."""
    left, right = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
    best = float("inf")
    with torch.no_grad():
        for _ in range(6):
            began = time.perf_counter()
            left @ right
            best = min(best, time.perf_counter() - began)
    return best
