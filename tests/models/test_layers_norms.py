"""RMSNorm and squared ReLU equal PyTorch's in values and gradients."""

import pytest
import torch
from torch import nn

from hf_llmpath.models.layers_norms import RMSNorm
from hf_llmpath.models.ops_fused import relu_squared


@pytest.mark.parametrize("shape", [(5, 16), (2, 3, 16), (2, 4, 7, 16)], ids=str)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-6)], ids=str)
def test_rms_norm_equals_torchs_in_values_and_gradients(shape, dtype, tolerance):
    torch.manual_seed(0)
    ours, theirs = RMSNorm(16, eps=1e-5).to(dtype), nn.RMSNorm(16, eps=1e-5).to(dtype)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight.normal_())
    x = (3 * torch.randn(shape, dtype=dtype)).requires_grad_()
    other, upstream = x.detach().clone().requires_grad_(), torch.randn(shape, dtype=dtype)
    ours(x).backward(upstream)
    theirs(other).backward(upstream)
    for one, same in ((ours(x), theirs(other)), (x.grad, other.grad), (ours.weight.grad, theirs.weight.grad)):
        torch.testing.assert_close(one, same, rtol=tolerance, atol=5 * tolerance)


def test_rms_norm_has_a_right_gradient_where_another_dimension_comes_first():
    norm = RMSNorm(6).double()
    x = torch.randn(2, 5, 3, 6, dtype=torch.float64).transpose(1, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, weight: torch.func.functional_call(norm, {"weight": weight}, x), (x, norm.weight)
    )


def test_rms_norm_of_zeros_is_zero_and_has_a_gradient():
    x = torch.zeros(2, 8, requires_grad=True)
    output = RMSNorm(8)(x)
    output.sum().backward()
    assert not output.any() and torch.isfinite(x.grad).all()


def test_rms_norm_keeps_sixteen_bits_and_computes_in_more():
    torch.manual_seed(0)
    norm = RMSNorm(64)
    x = (200 * torch.randn(4, 64)).bfloat16().requires_grad_()
    output = norm(x)
    output.sum().backward()
    assert output.dtype is x.grad.dtype is torch.bfloat16 and norm.weight.grad.dtype is torch.float32
    torch.testing.assert_close(output.float(), norm(x.float()).float(), rtol=1e-2, atol=1e-2)


def test_squared_relu_equals_its_composition_in_values_and_gradients():
    torch.manual_seed(0)
    x = torch.randn(7, 9, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(relu_squared(x), x.relu().square(), rtol=0, atol=0)
    assert torch.autograd.gradcheck(relu_squared, x)


@pytest.mark.parametrize("module", [RMSNorm(8), relu_squared], ids=["RMSNorm", "relu_squared"])
def test_both_are_exported_as_plain_operations(module):
    program = torch.export.export(
        nn.Sequential(module) if isinstance(module, nn.Module) else _Calls(module), (torch.randn(3, 8),)
    )
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert targets and all(name.startswith("aten") for name in targets)


class _Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
