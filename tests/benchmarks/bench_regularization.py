"""Forward and backward pass of our dropout, batch and layer normalization beside torch.nn's. Run it on a
quiet machine:

python tests/benchmarks/bench_regularization.py
"""

import statistics
import time

import torch
from torch import nn

from hf_llmpath.models.layers_regularization import BatchNorm, Dropout, LayerNorm

LAYERS = {
    "dropout": lambda units: (nn.Dropout(0.5), Dropout(0.5)),
    "batch norm": lambda units: (nn.BatchNorm1d(units), BatchNorm(units)),
    "layer norm": lambda units: (nn.LayerNorm(units), LayerNorm(units)),
}
SHAPES = ((64, 256), (128, 1024), (256, 1024))  # (batch, units)


def seconds(layer: nn.Module, x: torch.Tensor, grad: torch.Tensor) -> float:
    """One forward and backward pass."""
    began = time.perf_counter()
    layer(x).backward(grad)
    return time.perf_counter() - began


def compare(name: str, batch: int, units: int, repeats: int = 200) -> tuple[float, float]:
    """Median microseconds of torch's layer and of ours, taken in turn."""
    torch.manual_seed(0)
    x, grad = torch.randn(batch, units, requires_grad=True), torch.randn(batch, units)
    layers = LAYERS[name](units)
    times: list[list[float]] = [[], []]
    for repeat in range(repeats + 20):
        for layer, found in zip(layers, times, strict=True):
            found.append(seconds(layer, x, grad) if repeat >= 20 else 0)
    return tuple(1e6 * statistics.median(found[20:]) for found in times)


if __name__ == "__main__":
    print(f"{'layer':12} {'batch x units':14} {'torch.nn us':>12} {'ours us':>9} {'ratio':>6}")
    for name in LAYERS:
        for batch, units in SHAPES:
            library, ours = compare(name, batch, units)
            print(
                f"{name:12} {f'{batch} x {units}':14} {library:12.0f} {ours:9.0f} {ours / library:6.2f}",
                flush=True,
            )
