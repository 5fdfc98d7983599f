"""What depth does to gradients, on the digits."""

import numpy as np
import pytest
import torch

from hf_llmpath.data.images import load_images
from hf_llmpath.stages.s04_deep_networks.depth import (
    activation_histograms,
    deep_network,
    gradient_norms,
    norms_by_layer,
)


@pytest.fixture(scope="module")
def batch():
    return load_images("digits").train[:128]


def ratio(batch, depth=20, **config):
    """The gradient norm of the first layer over that of the last."""
    norms = norms_by_layer(batch, 10, depth, 64, 0, **config)
    return norms[0] / norms[-1]


def test_gradients_vanish_or_live_as_the_theory_says(batch):
    assert ratio(batch, hidden_act="sigmoid", initialization="xavier") < 1e-6
    assert 0.1 < ratio(batch, hidden_act="relu", initialization="he") < 10
    assert 0.1 < ratio(batch, hidden_act="relu", initialization="he", residual=True) < 10
    assert ratio(batch, hidden_act="sigmoid", initialization="xavier", residual=True) > 1e-3


def test_too_small_weights_starve_every_layer_alike(batch):
    """The signal fades going up as the gradient does coming down: their product is small in every layer."""
    starved = norms_by_layer(batch, 10, 20, 64, 0, hidden_act="relu", initialization="normal")
    healthy = norms_by_layer(batch, 10, 20, 64, 0, hidden_act="relu", initialization="he")
    assert 0.01 < starved[0] / starved[-1] < 100
    assert max(starved) < 1e-4 * min(healthy)


def test_twice_the_depth_is_about_the_square_of_the_loss(batch):
    ten = ratio(batch, 10, hidden_act="sigmoid", initialization="xavier")
    twenty = ratio(batch, 20, hidden_act="sigmoid", initialization="xavier")
    assert 1.6 < np.log(twenty) / np.log(ten) < 2.6


def test_norms_are_those_of_autograd(batch):
    model = deep_network(64, 10, 3, 16, 0, hidden_act="tanh")
    norms = gradient_norms(model, batch)
    model.zero_grad()
    x, labels = batch["pixel_values"].double().flatten(1), batch["labels"]
    for layer in model.model.layers:
        x = torch.tanh(x @ layer.linear.weight.T + layer.linear.bias)
    loss = torch.nn.functional.cross_entropy(x @ model.classifier.weight.T + model.classifier.bias, labels)
    grads = torch.autograd.grad(loss, [layer.linear.weight for layer in model.model.layers])
    assert norms == pytest.approx([grad.norm().item() for grad in grads], rel=1e-9)


def test_histograms_hold_the_activations(batch):
    model = deep_network(64, 10, 2, 16, 0, hidden_act="relu")
    with torch.no_grad():
        model.model.layers[1].linear.bias[0] = -1e6  # a unit that never wakes
    first, second = activation_histograms(model, batch)
    states = model(batch["pixel_values"], output_hidden_states=True).hidden_states
    assert first["std"] == pytest.approx(states[1].std(correction=0).item(), rel=1e-4)
    assert 0.98 <= sum(first["shares"]) <= 1 + 1e-9
    assert len(first["edges"]) == len(first["shares"]) + 1
    assert (first["layer"], second["layer"]) == (1, 2)
    assert second["dead"] >= 1 / 16
