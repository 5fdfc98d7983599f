"""When a gradient that is written out pays."""

import torch
from torch import Tensor


def learns(*tensors: Tensor) -> bool:
    """Whether autograd follows an operation on these, and nobody compiles or exports it: then a gradient
    that is written out pays; else it only costs."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return any(tensor.requires_grad for tensor in tensors)
