"""Implements Muon from scratch: it makes momentum matrices orthogonal before they move the weights.

    trainer = Trainer(
        model, args, optimizer_cls_and_kwargs=(Muon, {"params": muon_groups(model, lr=0.02)}), ...
    )

The gradient of a weight matrix mostly consists of a few directions with large singular values. Muon keeps the
directions and sets all singular values to about 1, so the model learns rare directions as fast as frequent
ones. Muon is meant for hidden matrices only. In the same optimizer, AdamW moves the embeddings and the head,
whose rows are looked up one by one, and vectors, which have no directions to balance.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from .optimizers import AdamW, Tensors, _check

# 3.4445 x - 4.7750 x³ + 2.0315 x⁵ lifts a small x more than threefold and keeps an x near 1 between 0.68
# and 1.14.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalized(
    matrices: Tensor,
    steps: int = 5,
    coefficients: tuple[float, float, float] = COEFFICIENTS,
    eps: float = 1e-7,
) -> Tensor:
    """Returns U S' Vᵀ for U S Vᵀ, with all singular values S' near 1, in the same shape.

    A new singular value lies between 0.68 and 1.14 if the old one is at least 1/100 of the Frobenius norm.

    The Newton-Schulz iteration X ← aX + b(XXᵀ)X + c(XXᵀ)²X changes each singular value independently, as
    s ← as + bs³ + cs⁵. It needs only products, no decomposition. Jordan et al. 2024, *Muon: An optimizer for
    hidden layers in neural networks*.

    Args:
        matrices: matrices `(..., rows, columns)`.
        steps: number of steps of the iteration.
        coefficients: a, b, and c.
        eps: smallest norm to divide by.
    """
    a, b, c = coefficients
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices  # (..., rows, columns), rows <= columns, so XXᵀ is small
    shape = x.shape
    x = x.reshape(-1, *shape[-2:])  # (matrices, rows, columns)
    # norm (matrices,) -> (matrices, 1, 1)
    # No singular value exceeds the Frobenius norm, so after the division none is above 1.
    x = x / x.flatten(1).norm(dim=1).clamp(min=eps)[:, None, None]
    for _ in range(steps):
        gram = x @ x.mT  # (matrices, rows, rows)
        # aX + (b XXᵀ + c (XXᵀ)²) X: (matrices, rows, columns)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.view(shape)  # (..., rows, columns)
    return x.mT if is_tall else x  # the shape of `matrices`


class Muon(AdamW):
    """Orthogonal momentum: B ← μB + g; θ ← (1 − ηλ)θ − η √max(1, rows/columns) NS(g + μB).

    Jordan et al. 2024; equal to `torch.optim.Muon` up to the precision of the iteration. `AdamW` moves the
    parameter groups with `use_muon=False`, so a single optimizer with a single state can move a whole model;
    see `muon_groups`.

    Args:
        params: parameters or parameter groups; those moved by Muon must be matrices.
        lr (`float`, *optional*, defaults to 0.02): learning rate η.
        momentum (`float`, *optional*, defaults to 0.95): μ, from 0 to below 1.
        weight_decay (`float`, *optional*, defaults to 0): λ.
        nesterov (`bool`, *optional*, defaults to `True`): whether to use NS(g + μB) instead of NS(B).
        ns_steps (`int`, *optional*, defaults to 5): number of Newton-Schulz steps.
        ns_dtype (`torch.dtype`, *optional*): precision of the iteration, by default that of the parameters.
        betas, eps: constants of AdamW.
        use_muon (`bool`, *optional*, defaults to `True`): value for groups that do not set it.

    Raises:
        ValueError: a value is out of range, or a parameter for Muon is not a matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        nesterov: bool = True,
        ns_steps: int = 5,
        ns_dtype: torch.dtype | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        use_muon: bool = True,
    ):
        _check(momentum=(momentum, 1))
        if ns_steps < 1:
            raise ValueError(f"ns_steps is {ns_steps}; it must be 1 or more")
        self._muon_defaults = {
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_steps": ns_steps,
            "ns_dtype": ns_dtype,
            "use_muon": use_muon,
        }
        super().__init__(params, lr, betas, eps, weight_decay)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for name, value in self._muon_defaults.items():
            group.setdefault(name, value)
        for parameter in group["params"]:
            if group["use_muon"] and parameter.dim() != 2:
                shape = tuple(parameter.shape)
                raise ValueError(
                    f"Muon is for matrices; one of its parameters is {shape}: give it use_muon=False"
                )

    def update(self, parameters: Tensors, gradients: Tensors, group: dict[str, Any]) -> None:
        if not group["use_muon"]:
            super().update(parameters, gradients, group)
            return
        buffers = self.memory("momentum_buffer", parameters)
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients)  # B ← μB + g
        # g + μB, or B without Nesterov
        moves = (
            torch._foreach_add(gradients, buffers, alpha=group["momentum"]) if group["nesterov"] else buffers
        )
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])  # θ ← (1 − ηλ)θ
        moves = [_gathered(move) for move in moves]
        for indices in _alike(parameters):
            # Matrices of one shape, or of its transpose, go through the iteration as one batch.
            stacked = torch.stack([_wide(moves[index]) for index in indices])  # (matrices, rows, columns)
            orthogonal = orthogonalized(stacked.to(group["ns_dtype"] or stacked.dtype), group["ns_steps"])
            for index, move in zip(indices, orthogonal.to(stacked.dtype), strict=True):
                rows, columns = parameters[index].shape
                # Entries of the move are about 1/√max(rows, columns); the scale makes that 1/√columns.
                scale = max(1, rows / columns) ** 0.5
                move = move.mT if rows > columns else move  # (rows, columns) of the parameter
                parameters[index].add_(_shared_out(move, parameters[index]), alpha=-group["lr"] * scale)


def _gathered(matrix: Tensor) -> Tensor:
    """Returns the whole of a matrix that `fully_shard` may have split among processes.

    Singular values are a property of the whole matrix.
    """
    return matrix.full_tensor() if isinstance(matrix, DTensor) else matrix


def _shared_out(matrix: Tensor, like: Tensor) -> Tensor:
    """Returns this process's part of a matrix that every process holds, split in the same way as `like`."""
    if not isinstance(like, DTensor):
        return matrix
    # Every process has computed the same matrix and takes only its part, so no data is sent.
    whole = DTensor.from_local(
        matrix, like.device_mesh, [Replicate()] * like.device_mesh.ndim, run_check=False
    )
    return whole.redistribute(like.device_mesh, like.placements)


def _wide(matrix: Tensor) -> Tensor:
    # Returns (rows, columns) with rows <= columns.
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _alike(matrices: Tensors) -> list[list[int]]:
    """Groups the indices of matrices that have the same shape once the tall ones are transposed."""
    indices: dict[Any, list[int]] = {}
    for index, matrix in enumerate(matrices):
        indices.setdefault((tuple(sorted(matrix.shape)), matrix.dtype, matrix.device), []).append(index)
    return list(indices.values())


def muon_groups(
    model: nn.Module, lr: float = 0.02, adam_lr: float = 3e-3, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Splits the trainable parameters of a model into groups for `Muon`.

    Muon moves the matrices of the hidden layers. AdamW moves the rest, without weight decay: embeddings, the
    output layer, and everything that is not a matrix.

    Args:
        model: a transformers model.
        lr: learning rate of Muon.
        adam_lr: learning rate of AdamW.
        weight_decay: decoupled weight decay of the matrices.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    outer = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding) or module is head
        for parameter in module.parameters(recurse=False)
    }
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [p for p in trainable if p.dim() == 2 and id(p) not in outer]
    hidden = {id(p) for p in matrices}
    rest = [p for p in trainable if id(p) not in hidden]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay, "use_muon": True},
        {"params": rest, "lr": adam_lr, "weight_decay": 0.0, "use_muon": False},
    ]
    return [group for group in groups if group["params"]]
