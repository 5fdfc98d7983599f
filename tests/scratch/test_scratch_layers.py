"""Layers, activations and losses: values and gradients are torch's, and those of the definition of the
derivative.
"""

import numpy as np
import pytest
import torch

from hf_llmpath import scratch
from hf_llmpath.scratch.layers import initial_weight
from hf_llmpath.stages.s02_backpropagation.gradient_check import check_gradients
from tests.scratch.references import LAYERS, LOSSES, pair, target_for


def assert_close(ours, theirs, tolerance=1e-10):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_equal_torch(name, training):
    ours, theirs = pair(name)
    theirs.train(training)
    rng = np.random.default_rng(1)
    for _ in range(3):  # batch normalization has a past
        x, upstream = rng.normal(size=(7, 5)) * 3, rng.normal(size=(7, 4 if name == "dense" else 5))
        inputs = torch.tensor(x, requires_grad=True)
        theirs.zero_grad()
        expected = theirs(inputs)
        expected.backward(torch.tensor(upstream))
        assert_close(ours.forward(x, training), expected)
        assert_close(ours.backward(upstream), inputs.grad)
        for parameter in ours.params:
            assert_close(ours.grads[parameter], getattr(theirs, parameter).grad)
        for buffer, value in ours.buffers.items():
            assert_close(value, getattr(theirs, buffer))


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_equal_torch(loss):
    ours, theirs = LOSSES[loss][0](), LOSSES[loss][1]()
    rng = np.random.default_rng(2)
    prediction = rng.normal(size=(6, 4)) * 5
    target = target_for(loss, prediction, rng)
    inputs = torch.tensor(prediction, requires_grad=True)
    expected = theirs(inputs, torch.tensor(target))
    expected.backward()
    assert ours.forward(prediction, target) == pytest.approx(expected.item(), abs=1e-12)
    assert_close(ours.backward(), inputs.grad)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", [*LAYERS, "dropout"])
def test_gradients_equal_central_differences(name, loss, training):
    rng = np.random.default_rng(3)
    layer = scratch.Dropout(0.4, rng) if name == "dropout" else pair(name)[0]
    first, last = scratch.Dense(3, 5, rng, dtype=np.float64), scratch.Dense(4, 3, rng, dtype=np.float64)
    if name != "dense":
        last = scratch.Dense(5, 3, rng, dtype=np.float64)
    network = scratch.Network([first, layer, last])
    x = rng.normal(size=(6, 3))
    target = target_for(loss, np.zeros((6, 3)), rng)
    errors = check_gradients(network, LOSSES[loss][0](), x, target, training=training)
    assert errors.keys() == {"input", *network.state_dict()} - {"1.running_mean", "1.running_var"}
    assert max(errors.values()) < 1e-7, errors


def test_dropout_drops_its_share_and_keeps_the_mean():
    layer = scratch.Dropout(0.3, np.random.default_rng(0))
    x = np.ones((200, 500), np.float32)
    y = layer.forward(x, training=True)
    assert y.dtype == np.float32
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.01)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    np.testing.assert_array_equal(layer.backward(x), y)
    assert layer.forward(x) is x and layer.backward(x) is x


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_losses_stay_finite_for_huge_logits(loss):
    ours = LOSSES[loss][0]()
    prediction = np.array([[1e4, -1e4], [-1e4, 1e4]])
    target = np.array([1, 0]) if loss == "cross_entropy" else np.array([[0.0, 1.0], [1.0, 0.0]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert ours.forward(prediction, target) == (2e4 if loss == "cross_entropy" else 1e4)
        assert np.isfinite(ours.backward()).all()


@pytest.mark.parametrize(
    "name, deviation", [("xavier", np.sqrt(2 / 500)), ("he", np.sqrt(2 / 200)), ("normal", 0.05)]
)
def test_initial_weights_have_their_deviation(name, deviation):
    weight = initial_weight(200, 300, np.random.default_rng(0), name)
    assert weight.shape == (300, 200)
    assert weight.std() == pytest.approx(deviation, rel=0.01)
    assert abs(weight.mean()) < 0.01 * deviation


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda rng: scratch.Dense(2, 3, rng, init="glorot"),
            "init is 'glorot'; it must be one of xavier, he, normal",
        ),
        (lambda rng: scratch.Dense(0, 3, rng), "both must be at least 1"),
        (lambda rng: scratch.Dropout(1.0, rng), "dropout p is 1.0; it must be from 0 to below 1"),
        (lambda rng: scratch.BatchNorm(2).forward(np.ones((1, 2)), training=True), "at least 2 examples"),
        (
            lambda rng: scratch.MeanSquaredError().forward(np.ones((3, 1)), np.ones(3)),
            r"shape \(3, 1\), targets \(3,\)",
        ),
        (
            lambda rng: scratch.CategoricalCrossEntropy().forward(np.ones((2, 3)), np.array([0, 3])),
            "from 0 to 2",
        ),
        (lambda rng: scratch.CategoricalCrossEntropy().forward(np.ones((2, 3)), np.ones(2)), "2 integers"),
        (
            lambda rng: scratch.BinaryCrossEntropy().forward(np.ones((1, 1)), np.array([[3]])),
            "from 3 to 3; .* 0 to 1",
        ),
        (
            lambda rng: scratch.Dense(2, 3, rng).forward(np.ones((4, 5))),
            r"shape \(4, 5\); it must be \(batch, 2\)",
        ),
    ],
)
def test_what_cannot_work_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make(np.random.default_rng(0))
