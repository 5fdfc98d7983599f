"""The recurrent layers equal torch's, in values and gradients, on random weights."""

import pytest
import torch
from torch import nn

from hf_llmpath.models.layers_recurrence import STEPS, RecurrentCacheLayer, RecurrentLayer
from hf_llmpath.models.ops_bptt import GRUThroughTime, LSTMThroughTime, RNNThroughTime
from hf_llmpath.models.ops_products import Matrix, affine, linear, weight_gradient

TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
CELLS = tuple(TORCH)


def layer_and_twin(cell, inputs=5, hidden=7, dtype=torch.float64):
    """Our layer and torch's, with the same random weights."""
    twin = TORCH[cell](inputs, hidden, batch_first=True).to(dtype)
    layer = RecurrentLayer(cell, inputs, hidden).to(dtype)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(layer, name).copy_(getattr(twin, f"{name}_l0"))
    return layer, twin


def random_case(cell, batch=3, length=6, inputs=5, hidden=7, dtype=torch.float64):
    x = torch.randn(batch, length, inputs, dtype=dtype, requires_grad=True)
    state = tuple(
        torch.randn(batch, hidden, dtype=dtype, requires_grad=True) for _ in range(2 if cell == "lstm" else 1)
    )
    return x, state


def gradients(outputs, state, leaves):
    """Gradients of a sum in which every output and the last state count with a different weight."""
    total = (outputs * torch.arange(outputs.numel(), dtype=outputs.dtype).view_as(outputs).cos()).sum()
    for index, part in enumerate(state):
        total = total + (index + 2) * part.sin().sum()
    return torch.autograd.grad(total, leaves)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("step_by_step", [False, True], ids=["at_once", "step_by_step"])
def test_layer_equals_torch(cell, step_by_step):
    torch.manual_seed(1)
    layer, twin = layer_and_twin(cell)
    x, state = random_case(cell)
    mask = torch.ones(3, 6) if step_by_step else None
    outputs, last, _ = layer(x, state, attention_mask=mask)
    start = tuple(part.unsqueeze(0) for part in state)
    expected, expected_last = twin(x, start if cell == "lstm" else start[0])
    expected_last = expected_last if cell == "lstm" else (expected_last,)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(last, expected_last, strict=True):
        torch.testing.assert_close(ours, theirs[0], rtol=0, atol=1e-12)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ours = gradients(outputs, last, [x, *state, *(getattr(layer, n) for n in names)])
    theirs = gradients(
        expected, tuple(p[0] for p in expected_last), [x, *state, *(getattr(twin, f"{n}_l0") for n in names)]
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [(32, 16, 64), (5, 9, 33), (1, 40, 128)])
def test_layer_equals_torch_in_float32(cell, shape):
    batch, length, hidden = shape
    torch.manual_seed(2)
    layer, twin = layer_and_twin(cell, hidden, hidden, torch.float32)
    x, state = random_case(cell, batch, length, hidden, hidden, torch.float32)
    start = tuple(part.unsqueeze(0) for part in state)
    outputs, last, _ = layer(x, state)
    expected, _ = twin(x, start if cell == "lstm" else start[0])
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=2e-6)
    ours = torch.autograd.grad(outputs.square().sum(), [x, layer.weight_ih, layer.weight_hh, layer.bias_hh])
    theirs = torch.autograd.grad(
        expected.square().sum(), [x, twin.weight_ih_l0, twin.weight_hh_l0, twin.bias_hh_l0]
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("cell", CELLS)
def test_hand_written_gradients_equal_autograd(cell):
    """The backward passes of ops_bptt.py equal central differences, and autograd of the plain formulas."""
    torch.manual_seed(3)
    hidden, length, batch = 3, 4, 2
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell]
    x = torch.randn(length, batch, 2, dtype=torch.float64, requires_grad=True)
    weight_ih = torch.randn(gates * hidden, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(gates * hidden, hidden, dtype=torch.float64, requires_grad=True)
    bias_ih, bias = (torch.randn(gates * hidden, dtype=torch.float64, requires_grad=True) for _ in range(2))
    h, c = (torch.randn(batch, hidden, dtype=torch.float64, requires_grad=True) for _ in range(2))
    cases = {
        "rnn": (RNNThroughTime.apply, (x, weight_ih, bias_ih, weight, h)),
        "lstm": (LSTMThroughTime.apply, (x, weight_ih, bias_ih, weight, h, c)),
        "gru": (GRUThroughTime.apply, (x, weight_ih, bias_ih, weight, bias, h)),
    }
    function, inputs = cases[cell]
    assert torch.autograd.gradcheck(function, inputs)

    state, states = ((h, c) if cell == "lstm" else (h,)), []
    for t in range(length):
        step_bias = bias if cell == "gru" else torch.zeros_like(bias)
        state, _ = STEPS[cell](nn.functional.linear(x[t], weight_ih, bias_ih), state, weight, step_bias)
        states.append(state[0])
    plain, fast = torch.stack(states), function(*inputs)
    fast = fast[0] if cell == "lstm" else fast
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(fast.cos().sum(), inputs),
        torch.autograd.grad(plain.cos().sum(), inputs),
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("cell", CELLS)
def test_padding_leaves_the_state_unchanged(cell):
    torch.manual_seed(4)
    layer, _ = layer_and_twin(cell)
    x, state = random_case(cell)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    outputs, last, _ = layer(x, state, attention_mask=mask)
    alone, alone_last, _ = layer(x[:1, 2:], tuple(part[:1] for part in state))
    torch.testing.assert_close(outputs[:1, 2:], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(last[0][:1], alone_last[0], rtol=0, atol=1e-12)
    _, short_last, _ = layer(x[2:, :3], tuple(part[2:] for part in state))
    torch.testing.assert_close(last[0][2:], short_last[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_autocast_keeps_the_recurrence_in_full_precision(cell):
    layer, _ = layer_and_twin(cell, dtype=torch.float32)
    x, state = random_case(cell, dtype=torch.float32)
    expected, _, _ = layer(x, state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, _, _ = layer(x, state)
    torch.testing.assert_close(outputs, expected)


@pytest.mark.parametrize("rows,inputs,outputs", [(7, 5, 3), (64, 48, 96), (33, 96, 20)])
def test_linear_equals_torch(rows, inputs, outputs):
    torch.manual_seed(5)
    x = torch.randn(rows, 2, inputs, requires_grad=True)
    weight, bias = torch.randn(outputs, inputs, requires_grad=True), torch.randn(outputs, requires_grad=True)
    ours, theirs = linear(x, weight, bias), nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), (x, weight, bias)),
        torch.autograd.grad(theirs.square().sum(), (x, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rows,inputs,outputs", [(7, 5, 3), (64, 48, 96), (33, 400, 1400)])
def test_products_equal_torch(rows, inputs, outputs):
    """Small weights and large ones take different kernels."""
    torch.manual_seed(5)
    x, weight, bias = torch.randn(rows, 2, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
    torch.testing.assert_close(
        affine(x, weight, bias), nn.functional.linear(x, weight, bias), rtol=1e-4, atol=1e-4
    )
    matrix, plus = Matrix(weight, rows), torch.randn(rows, outputs)
    expected = x[:, 0] @ weight.t()
    torch.testing.assert_close(matrix.times(x[:, 0].contiguous()), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        matrix.times(x[:, 0].contiguous(), plus), expected + plus, rtol=1e-4, atol=1e-4
    )
    total = matrix.add_product(x[:, 0].contiguous(), to=plus.clone())
    torch.testing.assert_close(total, expected + plus, rtol=1e-4, atol=1e-4)


def test_matrix_products_of_strided_tensors():
    """Slices of wider tensors are where a kernel can go wrong (or fall back to a slow reference)."""
    torch.manual_seed(6)
    wide = torch.randn(40, 64)
    x, grad = wide[:, :24], wide[:, 24:56]
    torch.testing.assert_close(weight_gradient(grad, x), grad.t() @ x, rtol=1e-5, atol=1e-5)
    weight = torch.randn(24, 16).t()
    torch.testing.assert_close(Matrix(weight, 40).times(x.contiguous()), x @ weight.t(), rtol=1e-5, atol=1e-5)


def test_cache_layer_moves_its_state():
    layer = RecurrentCacheLayer()
    layer.update((torch.arange(3.0).view(3, 1),), 5)
    layer.reorder_cache(torch.tensor([2, 0, 1]))
    assert layer.state[0].flatten().tolist() == [2, 0, 1] and layer.get_seq_length() == 5
    layer.batch_repeat_interleave(2)
    assert layer.state[0].flatten().tolist() == [2, 2, 0, 0, 1, 1]
    layer.batch_select_indices(torch.tensor([0, 4]))
    assert layer.state[0].flatten().tolist() == [2, 1]
    with pytest.raises(ValueError, match="cannot be cropped"):
        layer.crop(-1)
    layer.reset()
    assert layer.state is None and layer.get_seq_length() == 0
