"""Forward and backward passes of our dropout and our batch and layer normalization, compared with torch.nn's.

Run it on a quiet machine:

    python tests/benchmarks/bench_regularization.py
"""

import statistics

import torch
from timing import seconds_in_turn
from torch import nn

from hf_llmpath.models.layers_regularization import BatchNorm, Dropout, LayerNorm

LAYERS = {
    "dropout": lambda units: (nn.Dropout(0.5), Dropout(0.5)),
    "batch norm": lambda units: (nn.BatchNorm1d(units), BatchNorm(units)),
    "layer norm": lambda units: (nn.LayerNorm(units), LayerNorm(units)),
}
SHAPES = ((64, 256), (128, 1024), (256, 1024))  # (batch, units)


def compare(name: str, batch: int, units: int, repeats: int = 200) -> tuple[float, float]:
    """Median microseconds of torch's layer and of ours."""
    torch.manual_seed(0)
    x, grad = torch.randn(batch, units, requires_grad=True), torch.randn(batch, units)
    passes = [lambda layer=layer: layer(x).backward(grad) for layer in LAYERS[name](units)]
    theirs, ours = (1e6 * statistics.median(times) for times in seconds_in_turn(passes, repeats, warm_up=20))
    return theirs, ours


if __name__ == "__main__":
    print(f"{'layer':12} {'batch x units':14} {'torch.nn us':>12} {'ours us':>9} {'ratio':>6}")
    for name in LAYERS:
        for batch, units in SHAPES:
            library, ours = compare(name, batch, units)
            size = f"{batch} x {units}"
            print(f"{name:12} {size:14} {library:12.0f} {ours:9.0f} {ours / library:6.2f}", flush=True)
