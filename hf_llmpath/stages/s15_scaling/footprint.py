"""Measures the memory and time of a training step in 32 or 16 bits, with activations stored or recomputed."""

import statistics
import time
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

# Name -> whether it uses autocast to 16 bits, and whether it uses gradient checkpointing
MODES = {
    "float32": (False, False),
    "bf16": (True, False),
    "checkpointing": (False, True),
    "bf16_checkpointing": (True, True),
}


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of live tensors created inside the context, and their peak.

        with PeakMemory() as memory:
            model(**batch).loss.backward()
        print(memory.peak)

    It sees the outputs of every operator, including those of the backward pass: a storage is added when it
    first appears and subtracted when it is freed. It does not see the memory that an operator allocates for
    its own use while it runs.

    Attributes:
        now, peak: the current and the largest number of bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {t.untyped_storage().data_ptr() for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)}
        outputs = func(*args, **(kwargs or {}))
        for output in tree_iter(outputs):
            if isinstance(output, Tensor):
                storage = output.untyped_storage()
                # A storage shared with an input comes from a view or an in-place operation: it is not new.
                if storage.data_ptr() not in before and storage not in self._known:
                    self._count(storage)
        return outputs

    def _count(self, storage: Any) -> None:
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, size)  # called when the last tensor on the storage is gone

    def _freed(self, size: int) -> None:
        self.now -= size


def step_footprints(
    model: nn.Module, batch: dict[str, Tensor], repeats: int = 3
) -> dict[str, dict[str, float]]:
    """Measures the cost of the forward and backward pass of one batch in each of `MODES`.

    Returns:
        For each mode, `peak_memory_mb`, `milliseconds` (the median of `repeats`, with the modes taking
        turns), and `loss`. Peak memory counts activations, gradients, and temporary results, in 10^6 bytes;
        weights and optimizer state are the same in all modes and are not counted.
    """
    costs: dict[str, dict[str, float]] = {}
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    was_training = model.training
    model.train()
    for mode in MODES:
        _set(model, mode)
        _step(model, batch, mode)  # warm-up, which keeps one-time setup out of the measurement
        model.zero_grad(set_to_none=True)  # the measured step has to allocate its gradients
        with PeakMemory() as memory:
            loss = _step(model, batch, mode)
        costs[mode] = {"peak_memory_mb": memory.peak / 1e6, "loss": loss}
    # Time is measured without `PeakMemory`, which slows every operator down.
    for _ in range(repeats):
        for mode in MODES:
            _set(model, mode)
            model.zero_grad(set_to_none=True)
            began = time.perf_counter()
            _step(model, batch, mode)
            times[mode].append(time.perf_counter() - began)
    _set(model, "float32")
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    return {
        mode: cost | {"milliseconds": 1000 * statistics.median(times[mode])} for mode, cost in costs.items()
    }


def _set(model: nn.Module, mode: str) -> None:
    if MODES[mode][1]:
        model.activation_checkpointing_enable()
    else:
        model.activation_checkpointing_disable()


def _step(model: nn.Module, batch: dict[str, Tensor], mode: str) -> float:
    # The backward pass runs outside autocast: its operators use the types of the forward pass.
    with torch.autocast(next(model.parameters()).device.type, torch.bfloat16, enabled=MODES[mode][0]):
        loss = model(**batch, use_cache=False).loss
    loss.backward()
    return float(loss.detach())
