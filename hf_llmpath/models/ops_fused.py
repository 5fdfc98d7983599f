"""Small operations whose gradient is written by hand: squared ReLU, RMSNorm, and the rotation of positions.

On a CPU each plain form is a chain of operations that autograd records one by one. Written out, the backward
pass keeps less and takes a third to a fifth of the time. Every function below runs its plain form, which
stands in its own body, when no gradient is needed or the model is compiled or exported.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether autograd follows an operation on these tensors, and nobody compiles or exports it.

    Only then does a hand-written gradient pay.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return any(tensor.requires_grad for tensor in tensors)


def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)² for a tensor of any shape. So et al. 2021, "Primer", section 4.1."""
    return _ReLUSquared.apply(x) if needs_gradient(x) else x.relu().square()


class _ReLUSquared(torch.autograd.Function):
    """y = max(x, 0)²,  dx = 2 max(x, 0) ⊙ dy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (positive,) = ctx.saved_tensors
        return (grad * positive).mul_(2)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """y = g ⊙ x / √(mean(x²) + ε) over the last dimension; g is `weight`, of that dimension's size.

    Computed in 32 bits where the input has fewer, and returned in the dtype of x.
    """
    if needs_gradient(x, weight) and x.device.type == "cpu":
        return _RMSNorm.apply(x, weight, eps)
    return F.rms_norm(x, weight.shape, weight.to(x.dtype), eps)


class _RMSNorm(torch.autograd.Function):
    """With r = 1 / √(mean(x²) + ε), n = r x, and y = g ⊙ n:

    dx = r (g ⊙ dy - n mean(g ⊙ dy ⊙ n)),  dg = Σ dy ⊙ n over all dimensions but the last.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # (..., size)
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)  # (..., 1)
        scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()  # r, (..., 1)
        normed = wide * scale
        ctx.save_for_backward(normed, scale, weight)
        return (normed * weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        normed, scale, weight = ctx.saved_tensors
        wide = grad.to(normed.dtype)
        products = wide * normed  # dy ⊙ n, (..., size)
        grad_weight = products.sum(dim=tuple(range(grad.dim() - 1)))  # (size,)
        mean = (products @ weight.to(products.dtype)).unsqueeze(-1) / normed.shape[-1]  # (..., 1)
        grad_x = (wide * weight).addcmul_(normed, mean, value=-1).mul_(scale)
        return grad_x.to(grad.dtype), grad_weight.to(weight.dtype), None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates every pair (a, b) of coordinates i and i + d/2: (a cos - b sin, b cos + a sin).

    Args:
        x: queries or keys, `(batch, heads, length, d)`.
        cos, sin: of the angles, `(batch, 1, length, d)`, from `layers_positions.RotaryPositions`.
    """
    if needs_gradient(x):
        return _Rotation.apply(x, cos, sin)
    first, second = x.chunk(2, dim=-1)  # each (batch, heads, length, d / 2)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class _Rotation(torch.autograd.Function):
    """The gradient of a rotation is the rotation back: only the angles have to be kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin, direction=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, sin, direction=-1), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    half = x.shape[-1] // 2
    cos, sin = cos.to(x.dtype), sin[..., :half].to(x.dtype)  # both halves of sin are equal
    rotated = x * cos
    rotated[..., :half].addcmul_(x[..., half:], sin, value=-direction)
    rotated[..., half:].addcmul_(x[..., :half], sin, value=direction)
    return rotated
