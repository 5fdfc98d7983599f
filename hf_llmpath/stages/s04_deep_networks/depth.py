"""The effect of depth on gradients and activations before training: one forward and one backward pass."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.configuration_mlp import LLMPathMLPConfig
from ...models.modeling_mlp import LLMPathMLPForImageClassification

BINS = 41  # of an activation histogram
NETWORKS = 5  # random networks that a number is averaged over


def deep_network(features: int, classes: int, depth: int, width: int, seed: int, **config: Any):
    """An untrained perceptron of `depth` hidden layers of `width` units."""
    torch.manual_seed(seed)
    return LLMPathMLPForImageClassification(
        LLMPathMLPConfig(input_size=features, hidden_sizes=[width] * depth, num_labels=classes, **config)
    )


def gradient_norms(model: LLMPathMLPForImageClassification, batch: dict[str, Tensor]) -> list[float]:
    """For each hidden layer the norm of the loss's gradient with respect to its weights, in float64.

    Args:
        batch: `pixel_values` and `labels`.
    """
    model = model.double().train()
    model.zero_grad()
    model(batch["pixel_values"].double(), labels=batch["labels"]).loss.backward()
    return [layer.linear.weight.grad.norm().item() for layer in model.model.layers]


def norms_by_layer(
    batch: dict[str, Tensor], classes: int, depth: int, width: int, seed: int, **config: Any
) -> list[float]:
    """The geometric mean of `gradient_norms` over `NETWORKS` networks with different first weights."""
    features = batch["pixel_values"][0].numel()
    logs = []
    for index in range(NETWORKS):
        model = deep_network(features, classes, depth, width, seed + index, **config)
        logs.append([np.log(max(norm, 1e-300)) for norm in gradient_norms(model, batch)])
    return np.exp(np.mean(logs, axis=0)).tolist()  # (networks, layers) -> (layers,)


@torch.no_grad()
def activation_histograms(
    model: LLMPathMLPForImageClassification, batch: dict[str, Tensor]
) -> list[dict[str, Any]]:
    """Statistics of the outputs of each hidden layer.

    Returns:
        For each layer `layer` (from 1), `std`, `dead` (share of units whose output is the same for every
        image), and a histogram over the middle 99 % of the values: `edges` and `shares`.
    """
    states = model.eval()(batch["pixel_values"].to(model.dtype), output_hidden_states=True).hidden_states[1:]
    results = []
    for layer, state in enumerate(states, start=1):  # (images, units)
        values = state.flatten().numpy()
        low, high = np.quantile(values, (0.005, 0.995))
        if not high > low:
            low, high = low - 0.5, high + 0.5
        counts, edges = np.histogram(values, BINS, (low, high))
        results.append(
            {
                "layer": layer,
                "std": float(values.std()),
                "dead": float((state.std(dim=0) <= 1e-12).float().mean()),
                "edges": edges.tolist(),
                "shares": (counts / len(values)).tolist(),
            }
        )
    return results
