"""Measures what depth does to gradients and activations before training, by one pass in each direction."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.configuration_mlp import LLMPathMLPConfig
from ...models.modeling_mlp import LLMPathMLPForImageClassification

BINS = 41  # bins of an activation histogram
NETWORKS = 5  # random networks over which a gradient norm is averaged


def deep_network(features: int, classes: int, depth: int, width: int, seed: int, **config: Any):
    """Makes an untrained perceptron with `depth` hidden layers of `width` units."""
    torch.manual_seed(seed)
    return LLMPathMLPForImageClassification(
        LLMPathMLPConfig(input_size=features, hidden_sizes=[width] * depth, num_labels=classes, **config)
    )


def gradient_norms(model: LLMPathMLPForImageClassification, batch: dict[str, Tensor]) -> list[float]:
    """Computes, for each hidden layer, the norm of the gradient of the loss with respect to its weights.

    Args:
        model: the network, which is converted to float64 in place.
        batch: `pixel_values` `(batch, 1, height, width)` and `labels` `(batch,)`.
    """
    model = model.double().train()  # in float32, the squares of vanishing gradients could underflow
    model.zero_grad()
    model(batch["pixel_values"].double(), labels=batch["labels"]).loss.backward()
    return [layer.linear.weight.grad.norm().item() for layer in model.model.layers]


def norms_by_layer(
    batch: dict[str, Tensor], classes: int, depth: int, width: int, seed: int, **config: Any
) -> list[float]:
    """Returns the geometric mean of `gradient_norms` over `NETWORKS` networks with other initial weights."""
    features = batch["pixel_values"][0].numel()
    logs = []
    for index in range(NETWORKS):
        model = deep_network(features, classes, depth, width, seed + index, **config)
        # The floor keeps the logarithm of a gradient of exactly zero finite.
        logs.append([np.log(max(norm, 1e-300)) for norm in gradient_norms(model, batch)])
    return np.exp(np.mean(logs, axis=0)).tolist()  # (networks, layers) -> (layers,)


@torch.no_grad()
def activation_histograms(
    model: LLMPathMLPForImageClassification, batch: dict[str, Tensor]
) -> list[dict[str, Any]]:
    """Computes statistics of the outputs of each hidden layer.

    Returns:
        For each layer, `layer` (from 1), `std`, `dead` (the share of units whose output is the same for every
        image), and a histogram over the middle 99% of the values: `edges` and `shares`.
    """
    # The first of the hidden states is the input of the network.
    states = model.eval()(batch["pixel_values"].to(model.dtype), output_hidden_states=True).hidden_states[1:]
    results = []
    for layer, state in enumerate(states, start=1):  # (images, units)
        values = state.flatten().numpy()  # (images * units,)
        low, high = np.quantile(values, (0.005, 0.995))
        if not high > low:  # all values are equal, but a histogram needs a range
            low, high = low - 0.5, high + 0.5
        counts, edges = np.histogram(values, BINS, (low, high))
        results.append(
            {
                "layer": layer,
                "std": float(values.std()),
                # (images, units) -> (units,)
                "dead": float((state.std(dim=0) <= 1e-12).float().mean()),
                "edges": edges.tolist(),
                "shares": (counts / len(values)).tolist(),
            }
        )
    return results
