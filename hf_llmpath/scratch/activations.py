"""Activation functions make a stack of layers more than one big weighted sum.

Each acts on one number at a time (softmax: on one row), so its backward pass multiplies the gradient by the
activation's derivative. A layer stores only its output y if the derivative can be written in terms of y.
"""

import math

import numpy as np

from .layers import Layer


def sigmoid(x: np.ndarray) -> np.ndarray:
    """σ(x) = 1 / (1 + e⁻ˣ), computed as the equal (1 + tanh(x/2)) / 2, which never overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def softmax(x: np.ndarray) -> np.ndarray:
    """Turns each row into probabilities, exp(xᵢ) / Σⱼ exp(xⱼ); subtracting the maximum keeps exp finite."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Sigmoid(Layer):
    """σ(x), between 0 and 1. Its derivative σ (1 − σ) is at most 1/4: gradients vanish in deep networks."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = sigmoid(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * self._y * (1 - self._y)


class Tanh(Layer):
    """tanh(x), between −1 and 1, with the derivative 1 − tanh²."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = np.tanh(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * (1 - self._y**2)


class ReLU(Layer):
    """max(x, 0): the gradient passes where x > 0 and stops elsewhere, also at 0, as in torch."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = np.maximum(x, 0)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * (self._y > 0)


class GELU(Layer):
    """x Φ(x), a smooth ReLU; Φ(x) = (1 + erf(x/√2)) / 2 is the normal distribution function.

    Its derivative is Φ(x) + x φ(x), with the density φ(x) = e^(−x²/2) / √2π. This is the exact form, like
    `torch.nn.GELU()`. NumPy has no erf; calling Python's for each number takes about a hundred times as long
    as the other activations. Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._x = x
        self._probability = 0.5 + 0.5 * np.asarray(_erf(x * math.sqrt(0.5)), dtype=x.dtype)  # Φ(x)
        return x * self._probability

    def backward(self, grad: np.ndarray) -> np.ndarray:
        density = np.exp(-0.5 * self._x**2) / math.sqrt(2 * math.pi)
        return grad * (self._probability + self._x * density)


_erf = np.frompyfunc(math.erf, 1, 1)


class Softmax(Layer):
    """Turns scores into probabilities, row by row.

    Leave it out for training: `CategoricalCrossEntropy` takes the scores themselves.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = softmax(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        # dyᵢ/dxⱼ = yᵢ (δᵢⱼ − yⱼ), so dL/dxⱼ = yⱼ (gⱼ − Σᵢ gᵢ yᵢ)
        return self._y * (grad - np.sum(grad * self._y, axis=-1, keepdims=True))
