"""Implements optimizers from scratch as `torch.optim.Optimizer` classes, equal to torch.optim step for step.

    trainer = Trainer(model, args, optimizer_cls_and_kwargs=(AdamW, {"lr": 1e-3, "weight_decay": 0.01}), ...)

Letters are those of the papers: θ is a parameter, g its gradient, η the learning rate, λ the weight decay,
and t the number of the step, from 1. Each `torch._foreach_...` call works on a list of tensors at once, with
one kernel launch instead of one for each parameter. `hf_llmpath/scratch/optimizers.py` has the same rules in
NumPy, one array at a time.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor]


class _Optimizer(torch.optim.Optimizer):
    """The base of all optimizers in this module.

    It loops over the parameter groups and creates state when it is first needed. A subclass implements
    `update`. Parameters without a gradient keep their values and their state.
    """

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float, **others: Any):
        _check(lr=(lr, None), weight_decay=(weight_decay, None))
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay} | others)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Takes one step for every parameter that has a gradient.

        Args:
            closure: function that computes the loss and its gradients again; its loss is returned.

        Raises:
            ValueError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            gradients = [parameter.grad for parameter in parameters]
            if any(gradient.is_sparse for gradient in gradients):
                raise ValueError(f"{type(self).__name__} needs dense gradients; one is sparse")
            self.update(parameters, gradients, group)
        return loss

    def update(self, parameters: Tensors, gradients: Tensors, group: dict[str, Any]) -> None:
        """Moves `parameters` in place; `gradients` belong to the caller and do not change."""
        raise NotImplementedError

    def memory(self, name: str, parameters: Tensors) -> Tensors:
        """Returns the tensor `name` in the state of each parameter; it starts as zeros."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return [self.state[parameter][name] for parameter in parameters]

    def count(self, parameters: Tensors) -> list[int]:
        """Counts this step and returns t of each parameter."""
        for parameter in parameters:
            self.state[parameter]["step"] = self.state[parameter].get("step", 0) + 1
        return [self.state[parameter]["step"] for parameter in parameters]


class SGD(_Optimizer):
    """Gradient descent: θ ← θ − η (g + λθ).

    Robbins & Monro 1951; equal to `torch.optim.SGD`.

    Args:
        params: parameters or parameter groups.
        lr (`float`): learning rate η.
        weight_decay (`float`, *optional*, defaults to 0): λ, added to the gradient as λθ (L2).

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0):
        super().__init__(params, lr, weight_decay)

    def update(self, parameters: Tensors, gradients: Tensors, group: dict[str, Any]) -> None:
        gradients = _with_decay(gradients, parameters, group)
        torch._foreach_add_(parameters, gradients, alpha=-group["lr"])  # θ ← θ − η (g + λθ)


class Momentum(_Optimizer):
    """Gradient descent with a velocity: v ← μv + g; θ ← θ − ηv.

    With Nesterov's look-ahead, the second rule is θ ← θ − η(g + μv). Polyak 1964; Nesterov 1983 in the form
    of Sutskever et al. 2013, where θ is the look-ahead point. Equal to `torch.optim.SGD(momentum=μ)`.

    Args:
        params: parameters or parameter groups.
        lr (`float`): learning rate η.
        momentum (`float`, *optional*, defaults to 0.9): μ, from 0 to below 1.
        nesterov (`bool`, *optional*, defaults to `False`): whether to look ahead.
        weight_decay (`float`, *optional*, defaults to 0): λ, added to the gradient as λθ (L2).

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        _check(momentum=(momentum, 1))
        super().__init__(params, lr, weight_decay, momentum=momentum, nesterov=nesterov)

    def update(self, parameters: Tensors, gradients: Tensors, group: dict[str, Any]) -> None:
        gradients = _with_decay(gradients, parameters, group)
        velocity = self.memory("momentum_buffer", parameters)
        torch._foreach_mul_(velocity, group["momentum"])
        torch._foreach_add_(velocity, gradients)  # v ← μv + g
        direction = velocity
        if group["nesterov"]:
            direction = torch._foreach_add(gradients, velocity, alpha=group["momentum"])  # g + μv
        torch._foreach_add_(parameters, direction, alpha=-group["lr"])  # θ ← θ − ηv


class RMSprop(_Optimizer):
    """Gradient descent with one rate per weight: s ← αs + (1 − α)g²; θ ← θ − η g / (√s + ε).

    Hinton 2012, lecture 6e; equal to `torch.optim.RMSprop`.

    Args:
        params: parameters or parameter groups.
        lr (`float`, *optional*, defaults to 0.01): learning rate η.
        alpha (`float`, *optional*, defaults to 0.99): α, from 0 to below 1.
        eps (`float`, *optional*, defaults to 1e-8): ε.
        weight_decay (`float`, *optional*, defaults to 0): λ, added to the gradient as λθ (L2).

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        _check(alpha=(alpha, 1), eps=(eps, None))
        super().__init__(params, lr, weight_decay, alpha=alpha, eps=eps)

    def update(self, parameters: Tensors, gradients: Tensors, group: dict[str, Any]) -> None:
        gradients = _with_decay(gradients, parameters, group)
        squares = self.memory("square_avg", parameters)
        torch._foreach_mul_(squares, group["alpha"])
        # s ← αs + (1 − α)g²
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["alpha"])
        scale = torch._foreach_sqrt(squares)
        torch._foreach_add_(scale, group["eps"])
        torch._foreach_addcdiv_(parameters, gradients, scale, value=-group["lr"])  # θ ← θ − η g / (√s + ε)


class Adam(_Optimizer):
    """Momentum and one rate per weight, both corrected for their start at zero.

        m ← β₁m + (1 − β₁)g        m̂ = m / (1 − β₁ᵗ)
        v ← β₂v + (1 − β₂)g²       v̂ = v / (1 − β₂ᵗ)        θ ← θ − η m̂ / (√v̂ + ε)

    Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; equal to `torch.optim.Adam`.

    Args:
        params: parameters or parameter groups.
        lr (`float`, *optional*, defaults to 0.001): learning rate η.
        betas (`tuple[float, float]`, *optional*, defaults to `(0.9, 0.999)`): β₁ and β₂, from 0 to below 1.
        eps (`float`, *optional*, defaults to 1e-8): ε.
        weight_decay (`float`, *optional*, defaults to 0): λ, added to the gradient as λθ (L2).

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        _check(beta1=(betas[0], 1), beta2=(betas[1], 1), eps=(eps, None))
        super().__init__(params, lr, weight_decay, betas=tuple(betas), eps=eps)

    def update(self, parameters: Tensors, gradients: Tensors, group: dict[str, Any]) -> None:
        self.move(parameters, _with_decay(gradients, parameters, group), group)

    def move(self, parameters: Tensors, gradients: Tensors, group: dict[str, Any]) -> None:
        """Applies the rule itself, without weight decay."""
        beta1, beta2 = group["betas"]
        steps = self.count(parameters)
        means, squares = self.memory("exp_avg", parameters), self.memory("exp_avg_sq", parameters)
        torch._foreach_lerp_(means, gradients, 1 - beta1)  # m ← m + (1 − β₁)(g − m)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)  # v ← β₂v + (1 − β₂)g²
        # √v̂ + ε = √v / √(1 − β₂ᵗ) + ε; the correction of m̂ goes into the rate, as η / (1 − β₁ᵗ).
        scale = torch._foreach_sqrt(squares)
        torch._foreach_div_(scale, [(1 - beta2**step) ** 0.5 for step in steps])
        torch._foreach_add_(scale, group["eps"])
        torch._foreach_addcdiv_(
            parameters, means, scale, [-group["lr"] / (1 - beta1**step) for step in steps]
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← (1 − ηλ)θ, then Adam's step on the gradient alone.

    If the decay were added to the gradient, as in Adam, it would be divided by √v̂ as well. Loshchilov &
    Hutter 2019, arXiv:1711.05101, algorithm 2; equal to `torch.optim.AdamW`.

    Args:
        params: parameters or parameter groups.
        lr (`float`, *optional*, defaults to 0.001): learning rate η.
        betas (`tuple[float, float]`, *optional*, defaults to `(0.9, 0.999)`): β₁ and β₂, from 0 to below 1.
        eps (`float`, *optional*, defaults to 1e-8): ε.
        weight_decay (`float`, *optional*, defaults to 0.01): λ.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)

    def update(self, parameters: Tensors, gradients: Tensors, group: dict[str, Any]) -> None:
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        self.move(parameters, gradients, group)


def _with_decay(gradients: Tensors, parameters: Tensors, group: dict[str, Any]) -> Tensors:
    """Returns g + λθ."""
    if not group["weight_decay"]:
        return gradients
    return list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))


def _check(**values: tuple[float, float | None]) -> None:
    """Checks `values`, each a number and the limit that it must stay below (None for no limit)."""
    for name, (value, limit) in values.items():
        if not 0 <= value < (float("inf") if limit is None else limit):
            limits = "0 or more and finite" if limit is None else f"from 0 to below {limit}"
            raise ValueError(f"{name} is {value}; it must be {limits}")
