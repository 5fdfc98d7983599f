"""Implements optimizers, which turn gradients into steps of the weights, just as `torch.optim` does.

    optimizer = Adam(network, learning_rate=1e-3)
    ... forward, backward ...
    optimizer.step()

The steps agree number for number. In the formulas, θ is a parameter, g its gradient, η the learning rate, λ
the weight decay, and t the number of the step, from 1.
"""

import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np

# Name, value, and gradient. The arrays are the ones that a backward pass writes to, not copies.
Parameter = tuple[str, np.ndarray, np.ndarray]


class HasParameters(Protocol):
    """The interface of a network, or of anything else that lists its parameters."""

    def parameters(self) -> Iterable[Parameter]: ...


class Optimizer:
    """The base class of all optimizers, which visits the parameters and stores the state of each.

    Args:
        network: a `Network`, or the parameters themselves as `(name, value, gradient)`; the values change
            in place.
        learning_rate: η, which may be changed between steps.
        weight_decay: λ, which adds λθ to the gradient or, in `AdamW`, shrinks θ itself.

    Raises:
        ValueError: If the learning rate or weight decay is negative or not finite.
    """

    memory: tuple[str, ...] = ()  # names of the state arrays of each parameter, which start at zero

    def __init__(
        self, network: HasParameters | Iterable[Parameter], learning_rate: float, weight_decay: float = 0.0
    ) -> None:
        for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; it must be a finite number, 0 or more")
        self.parameters = list(network if isinstance(network, Iterable) else network.parameters())
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.steps = 0  # t
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
        """Applies the update rule, which changes `value` and `memory` in place."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns what a resumed training needs: the state of every parameter and the number of steps."""
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
    """Gradient descent, θ ← θ − η g; "stochastic" because g comes from a batch, not from all examples."""

    def update(self, value: np.ndarray, gradient: np.ndarray, **memory: np.ndarray) -> None:
        value -= self.learning_rate * gradient  # θ ← θ − η g, in the network's own array


class Momentum(Optimizer):
    """Gradient descent with momentum ("heavy ball"; Polyak 1964): v ← μv + g, then θ ← θ − η v.

    Steps in the same direction add up, and zigzags cancel out. With `nesterov`, the step looks ahead:
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
        v += gradient  # v ← μv + g, without the factor 1 − μ of a moving average, as in torch.optim
        # θ ← θ − η v, or with Nesterov's look-ahead θ ← θ − η (g + μv)
        value -= self.learning_rate * (gradient + self.momentum * v if self.nesterov else v)


class RMSprop(Optimizer):
    """Scales the step of each weight: s ← αs + (1 − α) g², then θ ← θ − η g / (√s + ε).

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
        s += (1 - self.alpha) * gradient**2  # s ← αs + (1 − α) g²
        # ε is outside the root, as in torch.optim: θ ← θ − η g / (√s + ε)
        value -= self.learning_rate * gradient / (np.sqrt(s) + self.eps)


class Adam(Optimizer):
    """Momentum and RMSprop combined (Kingma & Ba 2015, algorithm 1).

        m ← β₁m + (1 − β₁) g,   v ← β₂v + (1 − β₂) g²,   θ ← θ − η m̂ / (√v̂ + ε)

    The corrected averages m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) make up for the start at zero.
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
        m += (1 - beta1) * gradient  # m ← β₁m + (1 − β₁) g
        v *= beta2
        v += (1 - beta2) * gradient**2  # v ← β₂v + (1 − β₂) g²
        # η m̂ / (√v̂ + ε) in one work array. Both corrections are scalars and leave m and v unchanged.
        root = np.sqrt(v)
        root /= math.sqrt(1 - beta2**self.steps)  # √v̂
        root += self.eps  # √v̂ + ε
        np.divide(m, root, out=root)  # m / (√v̂ + ε)
        root *= self.learning_rate / (1 - beta1**self.steps)  # η m̂ / (√v̂ + ε)
        value -= root


class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← (1 − ηλ) θ, followed by Adam's step without λ.

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
        value *= 1 - self.learning_rate * self.weight_decay  # θ ← (1 − ηλ) θ, before Adam's step
        return gradient
