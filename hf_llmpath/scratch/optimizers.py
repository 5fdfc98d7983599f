"""Optimizers turn a gradient into a step of the weights, number for number as `torch.optim` does.

    optimizer = Adam(network, learning_rate=1e-3)
    ... forward, backward ...
    optimizer.step()

In the formulas, θ is a parameter, g its gradient, η the learning rate, λ the weight decay, and t the number
of the step.
"""

import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np

# Name, value, and gradient: the very arrays that a backward pass writes to.
Parameter = tuple[str, np.ndarray, np.ndarray]


class HasParameters(Protocol):
    """A network, or anything else that lists its parameters."""

    def parameters(self) -> Iterable[Parameter]: ...


class Optimizer:
    """The base class of all optimizers visits the parameters and keeps the rule's memory of each.

    Args:
        network: a `Network`, or the parameters themselves as `(name, value, gradient)`; the values change
            in place.
        learning_rate: η; may be changed between steps.
        weight_decay: λ; adds λθ to the gradient (in `AdamW`: shrinks θ itself).

    Raises:
        ValueError: the learning rate or weight decay is negative or not finite.
    """

    memory: tuple[str, ...] = ()  # names of the arrays kept for each parameter, which start at zero

    def __init__(
        self, network: HasParameters | Iterable[Parameter], learning_rate: float, weight_decay: float = 0.0
    ) -> None:
        for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; it must be a finite number, 0 or more")
        self.parameters = list(network if isinstance(network, Iterable) else network.parameters())
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.steps = 0
        self.state = {
            name: {kept: np.zeros_like(value) for kept in self.memory} for name, value, _ in self.parameters
        }

    def step(self) -> None:
        """Moves every parameter by the gradients of the last backward pass."""
        self.steps += 1
        for name, value, gradient in self.parameters:
            self.update(value, self.decayed(value, gradient), **self.state[name])

    def decayed(self, value: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Returns g + λθ, the gradient of the loss plus λ/2 ‖θ‖²."""
        return gradient + self.weight_decay * value if self.weight_decay else gradient

    def update(self, value: np.ndarray, gradient: np.ndarray, **memory: np.ndarray) -> None:
        """Applies the rule: changes `value` and `memory` in place."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns what resuming needs: the memory of every parameter and the number of steps."""
        arrays = {
            f"{name}.{kept}": array for name, kinds in self.state.items() for kept, array in kinds.items()
        }
        return {"steps": np.array(self.steps)} | arrays

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restores what `state_dict()` returned."""
        self.steps = int(state["steps"])
        for name, kinds in self.state.items():
            for kept, array in kinds.items():
                array[...] = state[f"{name}.{kept}"]


class SGD(Optimizer):
    """Gradient descent, θ ← θ − η g: "stochastic" because g comes from a batch, not from all examples."""

    def update(self, value: np.ndarray, gradient: np.ndarray, **memory: np.ndarray) -> None:
        value -= self.learning_rate * gradient


class Momentum(Optimizer):
    """The heavy ball, v ← μv + g and θ ← θ − η v (Polyak 1964).

    Steps in the same direction add up, and zigzags cancel out. With `nesterov` the step looks ahead:
    θ ← θ − η (g + μv) (Sutskever et al. 2013).
    """

    memory = ("velocity",)

    def __init__(
        self,
        network: HasParameters | Iterable[Parameter],
        learning_rate: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        super().__init__(network, learning_rate, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, value: np.ndarray, gradient: np.ndarray, **memory: np.ndarray) -> None:
        v = memory["velocity"]
        v *= self.momentum
        v += gradient
        value -= self.learning_rate * (gradient + self.momentum * v if self.nesterov else v)


class RMSprop(Optimizer):
    """A step length for each weight: s ← αs + (1 − α) g², θ ← θ − η g / (√s + ε).

    Tieleman & Hinton 2012.
    """

    memory = ("square",)

    def __init__(
        self,
        network: HasParameters | Iterable[Parameter],
        learning_rate: float,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(network, learning_rate, weight_decay)
        self.alpha, self.eps = alpha, eps

    def update(self, value: np.ndarray, gradient: np.ndarray, **memory: np.ndarray) -> None:
        s = memory["square"]
        s *= self.alpha
        s += (1 - self.alpha) * gradient**2
        value -= self.learning_rate * gradient / (np.sqrt(s) + self.eps)


class Adam(Optimizer):
    """Momentum and RMSprop combined (Kingma & Ba 2015, algorithm 1).

        m ← β₁m + (1 − β₁) g,   v ← β₂v + (1 − β₂) g²,   θ ← θ − η m̂ / (√v̂ + ε)

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) correct the bias of averages that start at zero.
    """

    memory = ("mean", "square")

    def __init__(
        self,
        network: HasParameters | Iterable[Parameter],
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(network, learning_rate, weight_decay)
        self.betas, self.eps = betas, eps

    def update(self, value: np.ndarray, gradient: np.ndarray, **memory: np.ndarray) -> None:
        (beta1, beta2), m, v = self.betas, memory["mean"], memory["square"]
        m *= beta1
        m += (1 - beta1) * gradient
        v *= beta2
        v += (1 - beta2) * gradient**2
        # η m̂ / (√v̂ + ε) in one work array: both corrections are scalars and stay out of m and v.
        root = np.sqrt(v)
        root /= math.sqrt(1 - beta2**self.steps)
        root += self.eps
        np.divide(m, root, out=root)
        root *= self.learning_rate / (1 - beta1**self.steps)
        value -= root


class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← (1 − ηλ) θ, then Adam's step without λ.

    Loshchilov & Hutter 2019.
    """

    def __init__(
        self,
        network: HasParameters | Iterable[Parameter],
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(network, learning_rate, betas, eps, weight_decay)

    def decayed(self, value: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        value *= 1 - self.learning_rate * self.weight_decay
        return gradient
