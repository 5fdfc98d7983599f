"""Computes the matrix products of a dense layer with the fastest kernel that this machine has.

On a CPU, PyTorch sends float32 products to MKL, which uses only AVX2 on processors not made by Intel. oneDNN,
which PyTorch also includes, generates AVX-512 code for all processors that support it, and is up to twice as
fast there. On any other device or dtype, the functions below compute plain products, which their bodies show
next to the fast ones. `linear` equals `F.linear` in values and gradients, up to rounding. The other functions
build no graph: they serve hand-written forward and backward passes.
"""

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# For weights with fewer entries, plain products are faster: a call of oneDNN costs some 20 microseconds more.
_WORTH_PACKING = 2**19
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _usable(x: Tensor) -> bool:
    return bool(
        _ONEDNN
        and x.device.type == "cpu"
        and x.dtype is torch.float32
        and torch.backends.mkldnn.enabled
        and not torch.compiler.is_compiling()
    )


class Matrix:
    """A weight `(out, in)`, prepared for many products with `rows` rows each, without a gradient."""

    def __init__(self, weight: Tensor, rows: int):
        weight = weight.detach()
        self.packed = _usable(weight) and weight.numel() >= _WORTH_PACKING
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
        else:
            self.weight = weight.t().contiguous()  # (in, out), the layout with the fastest product

    def times(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        """Returns x @ weight.T + plus; x is `(rows, in)`, plus and the result are `(rows, out)`."""
        if not self.packed:
            return torch.mm(x, self.weight) if plus is None else torch.addmm(plus, x, self.weight)
        if plus is None:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, None, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(x, plus.contiguous(), self.weight, None, "add")

    def add_product(self, x: Tensor, to: Tensor) -> Tensor:
        """Adds x @ weight.T to `to` in place; x is `(rows, in)`, to is `(rows, out)`."""
        return to.add_(self.times(x)) if self.packed else to.addmm_(x, self.weight)


def weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """Returns grad.T @ x, the gradient of a weight `(out, in)`; grad is `(rows, out)`, x is `(rows, in)`."""
    if not _usable(x) or grad.shape[1] * x.shape[1] < _WORTH_PACKING:
        return grad.t() @ x
    # The kernel needs dense factors, the first one in row-major order, so copy the transpose of the narrower
    # factor: either (xᵀ grad)ᵀ or gradᵀ x.
    grad, x = grad.contiguous(), x.contiguous()
    if x.shape[1] <= grad.shape[1]:
        return torch.ops.mkldnn._linear_pointwise(x.t().contiguous(), grad.t(), None, "none", [], "").t()
    return torch.ops.mkldnn._linear_pointwise(grad.t().contiguous(), x.t(), None, "none", [], "")


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Returns x @ weight.T + bias without a graph; x is `(..., in)`, weight `(out, in)`, bias `(out,)`."""
    if not _usable(x):
        return F.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])  # (rows, in)
    flat = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "none", [], "")
    return flat.view(*x.shape[:-1], len(weight))  # (..., out)


class _Linear(Function):
    """Computes y = x Wᵀ + b, with dx = dy W, dW = dyᵀ x, and db = Σ dy over the rows."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return affine(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x = Matrix(weight.t(), len(grad)).times(grad.contiguous()) if ctx.needs_input_grad[0] else None
        grad_weight = weight_gradient(grad, x) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, grad.sum(0) if ctx.has_bias else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes `F.linear` with the faster kernel.

    Maps x `(..., in)` with weight `(out, in)` and bias `(out,)` to `(..., out)`.
    """
    # The kernel knows only float32; under autocast, F.linear computes in fewer bits.
    if not _usable(x) or torch.is_autocast_enabled(x.device.type):
        return F.linear(x, weight, bias)
    flat = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)  # (..., in) -> (rows, in) -> (rows, out)
    return flat.view(*x.shape[:-1], weight.shape[0])  # (..., out)
