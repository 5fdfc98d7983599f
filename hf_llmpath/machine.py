"""Describes the machine of a run: memory, versions, and hardware, for metrics.json and the card."""

import os
import platform
import sys
from pathlib import Path


def peak_memory_mb() -> float:
    """Returns the largest resident size of this process so far, in MiB."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # macOS: bytes; Linux: KiB


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that produced the numbers."""
    from importlib.metadata import PackageNotFoundError, version

    installed = {"python": platform.python_version()}
    for package in ("hf-llmpath", "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def hardware() -> str:
    """Describes GPU and CPU of this machine in words."""
    import torch

    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    text = f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{torch.cuda.get_device_name()}; {text}" if torch.cuda.is_available() else text


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:  # only Linux has /proc
        return []
