"""Dropout, batch and layer normalization equal torch's, in values, gradients and running statistics."""

import copy

import pytest
import torch
from torch import nn

from hf_llmpath.models.layers_regularization import BatchNorm, Dropout, LayerNorm, max_norm_

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def gradients(layer, x, weights=()):
    """Values, and gradients of a sum in which every value counts with a weight of its own."""
    y = layer(x)
    total = (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).cos()).sum() + y.pow(3).sum()
    return [y, *torch.autograd.grad(total, [x, *weights])]


def twins(ours, theirs, dtype=torch.float64):
    """The two layers with the same random weights, copied by name."""
    theirs = theirs.to(dtype)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(1, 0.5)
    ours = ours.to(dtype)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def assert_equal(ours, theirs, x, tolerance=EXACT):
    for mine, other in zip(
        gradients(ours, x, list(ours.parameters())),
        gradients(theirs, x, list(theirs.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, **tolerance)
    for (name, mine), (same_name, other) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert name == same_name
        torch.testing.assert_close(mine, other, **tolerance)


@pytest.mark.parametrize("shape", [(64, 33), (5, 3), (2, 7), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("options", [{}, {"momentum": 0.3, "eps": 1e-3}, {"momentum": None}], ids=str)
def test_batch_norm_equals_torch(shape, options):
    torch.manual_seed(0)
    ours, theirs = twins(BatchNorm(shape[1], **options), nn.BatchNorm1d(shape[1], **options))
    for _ in range(4):  # running statistics build up
        assert_equal(ours, theirs, (3 * torch.randn(shape, dtype=torch.float64) + 2).requires_grad_())
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 4
    ours.eval(), theirs.eval()
    before = copy.deepcopy(ours.state_dict())
    assert_equal(ours, theirs, torch.randn(shape, dtype=torch.float64, requires_grad=True))
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize(
    "shape, normalized", [((64, 33), 33), ((3, 5, 8), 8), ((3, 5, 8), (5, 8)), ((7,), 7)], ids=str
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_layer_norm_equals_torch(shape, normalized, training):
    torch.manual_seed(1)
    ours, theirs = twins(LayerNorm(normalized, eps=1e-3), nn.LayerNorm(normalized, eps=1e-3))
    ours.train(training), theirs.train(training)
    assert_equal(ours, theirs, (3 * torch.randn(shape, dtype=torch.float64) + 2).requires_grad_())


@pytest.mark.parametrize("offset", [0, 100], ids=["centered", "far_from_0"])
@pytest.mark.parametrize(
    "layers", [(BatchNorm, nn.BatchNorm1d), (LayerNorm, nn.LayerNorm)], ids=["batch", "layer"]
)
def test_float32_is_as_exact_as_torch(layers, offset):
    torch.manual_seed(2)
    ours, theirs = twins(layers[0](256), layers[1](256), torch.float32)
    exact = copy.deepcopy(theirs).double()
    x = torch.randn(128, 256) + offset
    results = [
        gradients(layer, x.to(layer.weight.dtype).requires_grad_(), list(layer.parameters()))
        for layer in (ours, theirs, exact)
    ]
    for mine, other, true in zip(*results, strict=True):
        assert (mine - true).norm() <= 2 * (other - true).norm() + 1e-6 * true.norm()


@pytest.mark.parametrize(
    "layer", [BatchNorm(6), LayerNorm(6), Dropout(0.3)], ids=["batch", "layer", "dropout"]
)
def test_gradients_equal_differences(layer):
    torch.manual_seed(3)
    layer = layer.double()
    direction = torch.randn(5, 6, dtype=torch.float64)

    def function(x):
        torch.manual_seed(4)
        return (layer(x).sin() * direction).sum()

    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x,), eps=1e-6, atol=1e-7)


def twister_draws_the_masks() -> bool:
    """Whether torch draws Bernoulli numbers on this CPU from its own generator, not from MKL's."""
    masks = []
    for draw in (
        lambda: torch.empty(999).bernoulli_(0.3),
        lambda: (torch.rand(999, dtype=torch.float64) < 0.3).float(),
    ):
        torch.manual_seed(0)
        masks.append(draw())
    return torch.equal(*masks)


@pytest.mark.parametrize("p", [0, 0.2, 0.5, 0.9, 1])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_dropout_equals_torch(p, training):
    ours, theirs = Dropout(p).train(training), nn.Dropout(p).train(training)
    if not twister_draws_the_masks():  # the formula of torch's dropout, with the numbers that ours draws

        def theirs(x):
            mask = (torch.rand(x.shape, dtype=torch.float64) < 1 - p).float()
            return x * mask / (1 - p) if training and 0 < p < 1 else x * (p < 1 or not training)

    results, states = [], []
    x = torch.randn(300, 40, requires_grad=True)
    for layer in (ours, theirs):
        torch.manual_seed(5)
        results.append(gradients(layer, x))
        states.append(torch.get_rng_state())
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=0)
    if twister_draws_the_masks():
        assert all(torch.equal(mine, other) for mine, other in zip(*results, strict=True))
        assert torch.equal(*states)


def test_dropout_keeps_the_mean_and_passes_the_gradient_through_its_mask():
    torch.manual_seed(6)
    x = torch.ones(400, 500, requires_grad=True)
    y = Dropout(0.3)(x)
    off = (y == 0).double().mean().item()
    assert off == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / x.numel()) ** 0.5)
    assert y.mean().item() == pytest.approx(1, abs=4 * (0.3 / 0.7 / x.numel()) ** 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # 0 where switched off, 1 / (1 - p) elsewhere


def test_dropout_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match=r"p \(1.5\)"):
        Dropout(1.5)


def test_batch_norm_refuses_shapes_and_batches_of_one():
    layer = BatchNorm(4)
    with pytest.raises(ValueError, match=r"\(batch, 4\).*\(3, 5\)"):
        layer(torch.randn(3, 5))
    with pytest.raises(ValueError, match="more than one value"):
        layer(torch.randn(1, 4))
    assert layer.num_batches_tracked == 0
    layer.eval()(torch.randn(1, 4))
    with pytest.raises(ValueError, match=r"\(4,\).*\(3, 5\)"):
        LayerNorm(4)(torch.randn(3, 5))


def test_normalized_units_have_mean_0_and_variance_1():
    torch.manual_seed(7)
    x = 5 * torch.randn(50, 20, dtype=torch.float64) + 3
    for layer, over in ((BatchNorm(20), 0), (LayerNorm(20), 1)):
        y = layer.double()(x)
        torch.testing.assert_close(y.mean(over), torch.zeros_like(y.mean(over)), rtol=0, atol=1e-12)
        torch.testing.assert_close(
            y.var(over, correction=0), torch.ones_like(y.mean(over)), rtol=1e-5, atol=0
        )


@pytest.mark.parametrize(
    "layer", [BatchNorm(6), LayerNorm(6), Dropout(0.3)], ids=["batch", "layer", "dropout"]
)
def test_bfloat16_input_comes_back_as_bfloat16(layer):
    torch.manual_seed(8)
    x = torch.randn(9, 6, dtype=torch.bfloat16, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.dtype is x.grad.dtype is torch.bfloat16


def test_max_norm_equals_torch_renorm():
    torch.manual_seed(9)
    weight = torch.randn(30, 20, dtype=torch.float64) * torch.linspace(0, 2, 30, dtype=torch.float64)[:, None]
    short = weight.norm(dim=1) <= 3
    assert short.any() and not short.all()
    constrained = nn.Parameter(weight.clone())
    max_norm_([constrained], 3)
    torch.testing.assert_close(
        constrained.data, weight.renorm(2, 0, 3), rtol=1e-6, atol=0
    )  # renorm adds 1e-7
    assert torch.equal(constrained[short], weight[short])
    torch.testing.assert_close(constrained[~short].norm(dim=1), torch.full(((~short).sum(),), 3.0).double())
