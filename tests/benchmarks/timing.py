"""Timing of several things in turn, so that a busy moment of the machine hits all of them."""

import time
from collections.abc import Callable, Sequence


def seconds_in_turn(
    calls: Sequence[Callable[[], object]], repeats: int, warm_up: int = 1
) -> list[list[float]]:
    """The seconds of `repeats` runs of each call; `warm_up` more runs come first and are not counted."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(warm_up + repeats):
        for seconds, call in zip(times, calls, strict=True):
            start = time.perf_counter()
            call()
            if turn >= warm_up:
                seconds.append(time.perf_counter() - start)
    return times
