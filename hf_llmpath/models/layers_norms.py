"""Root-mean-square normalization from scratch: what T5 and the language models after it have in the place
of layer norm.

Equal to `torch.nn.RMSNorm` in values and gradients. On a CPU that one is put together from six
operations, each of which autograd follows by itself; here the gradient is written out, which takes a
third of the time in training.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .ops_gradients import learns


class RMSNorm(nn.Module):
    """y = g ⊙ x / √(mean(x²) + ε) over the last dimension. Zhang & Sennrich 2019, equation 4.

    Args:
        size: of the last dimension.
        eps: ε.
    """

    def __init__(self, size: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """`(..., size)` -> the same, of the same dtype; computed in 32 bits where the input has fewer."""
        if learns(x, self.weight) and x.device.type == "cpu":
            return _ScaledByItsLength.apply(x, self.weight, self.eps)
        return nn.functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


class _ScaledByItsLength(torch.autograd.Function):
    """With r = 1 / √(mean(x²) + ε), n = r x and y = g ⊙ n:  ∂L/∂x = r (g ⊙ dy - n mean(g ⊙ dy ⊙ n)),
    ∂L/∂g = Σ dy ⊙ n.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        normed = wide * scale
        ctx.save_for_backward(normed, scale, weight)
        return (normed * weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        normed, scale, weight = ctx.saved_tensors
        wide = grad.to(normed.dtype)
        products = wide * normed
        of_weight = products.sum(dim=tuple(range(grad.dim() - 1)))
        mean = (products @ weight.to(products.dtype)).unsqueeze(-1) / normed.shape[-1]
        of_x = (wide * weight).addcmul_(normed, mean, value=-1).mul_(scale)
        return of_x.to(grad.dtype), of_weight.to(weight.dtype), None
