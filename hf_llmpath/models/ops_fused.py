"""Implements small operations with hand-written gradients: squared ReLU, RMSNorm, and rotary rotation.

The plain form of each operation is a chain of smaller ones that autograd records one by one. A hand-written
backward pass stores fewer tensors and, on a CPU, takes a third to a fifth of the time. Each function below
falls back to its plain form, which its body also shows, when no gradient is needed or when the model is being
compiled or exported.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def needs_gradient(*tensors: Tensor) -> bool:
    """Returns whether autograd records operations on these tensors outside a compiler or exporter.

    Only then does a hand-written gradient save time.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return any(tensor.requires_grad for tensor in tensors)


def relu_squared(x: Tensor) -> Tensor:
    """Returns max(x, 0)² for a tensor of any shape. So et al. 2021, "Primer", section 4.1."""
    return _ReLUSquared.apply(x) if needs_gradient(x) else x.relu().square()


class _ReLUSquared(torch.autograd.Function):
    """Computes y = max(x, 0)² and dx = 2 max(x, 0) ⊙ dy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)  # enough for the gradient, so x itself can be freed
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (positive,) = ctx.saved_tensors
        return (grad * positive).mul_(2)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Returns y = g ⊙ x / √(mean(x²) + ε) over the last dimension, in the dtype of x.

    The gain g is `weight`, which has the size of that dimension. If x has fewer than 32 bits, the computation
    runs in 32 bits.
    """
    if needs_gradient(x, weight) and x.device.type == "cpu":
        return _RMSNorm.apply(x, weight, eps)
    return F.rms_norm(x, weight.shape, weight.to(x.dtype), eps)


class _RMSNorm(torch.autograd.Function):
    """Computes RMSNorm and its gradients, with r = 1 / √(mean(x²) + ε), n = r x, and y = g ⊙ n:

    dx = r (g ⊙ dy - n mean(g ⊙ dy ⊙ n)),  dg = Σ dy ⊙ n over all dimensions but the last.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # (..., size)
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)  # (..., 1)
        # r = 1 / √(|x|² / size + ε), (..., 1). In place: `length` is a new tensor that nothing else reads.
        scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        normed = wide * scale  # n, (..., size)
        ctx.save_for_backward(normed, scale, weight)
        return (normed * weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        normed, scale, weight = ctx.saved_tensors
        wide = grad.to(normed.dtype)
        products = wide * normed  # dy ⊙ n, (..., size)
        grad_weight = products.sum(dim=tuple(range(grad.dim() - 1)))  # (size,)
        # mean(g ⊙ dy ⊙ n) as a matrix-vector product: (..., size) @ (size,) -> (..., 1)
        mean = (products @ weight.to(products.dtype)).unsqueeze(-1) / normed.shape[-1]
        grad_x = (wide * weight).addcmul_(normed, mean, value=-1).mul_(scale)  # dx, (..., size)
        return grad_x.to(grad.dtype), grad_weight.to(weight.dtype), None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates each pair (a, b) of the coordinates i and i + d/2 to (a cos - b sin, b cos + a sin).

    Args:
        x: queries or keys, `(batch, heads, length, d)`.
        cos, sin: the cosines and sines of the angles, `(batch, 1, length, d)`, from
            `layers_positions.RotaryPositions`.
    """
    if needs_gradient(x):
        return _Rotation.apply(x, cos, sin)
    first, second = x.chunk(2, dim=-1)  # each (batch, heads, length, d / 2)
    return x * cos + torch.cat([-second, first], dim=-1) * sin  # (batch, heads, length, d)


class _Rotation(torch.autograd.Function):
    """Rotates by the angles, and its gradient by the opposite angles, so it stores only the angles."""

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
    # Both halves of sin are equal, so the first is enough: (batch, 1, length, d / 2).
    cos, sin = cos.to(x.dtype), sin[..., :half].to(x.dtype)
    rotated = x * cos  # (batch, heads, length, d)
    # In place on each half; direction -1 swaps the signs, which rotates back.
    rotated[..., :half].addcmul_(x[..., half:], sin, value=-direction)
    rotated[..., half:].addcmul_(x[..., :half], sin, value=direction)
    return rotated
