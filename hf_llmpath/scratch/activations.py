"""Activation functions: what makes a stack of layers more than one big weighted sum.

Each works on every number by itself (softmax: on every row), so its backward pass multiplies the gradient
by the activation's derivative. Where the derivative can be written with the output y, only y is kept.
"""

import math

import numpy as np

from .layers import Layer


def sigmoid(x: np.ndarray) -> np.ndarray:
    """σ(x) = 1 / (1 + e⁻ˣ), written as (1 + tanh(x/2)) / 2, which is the same and never overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def softmax(x: np.ndarray) -> np.ndarray:
    """Each row as probabilities: exp(xᵢ) / Σⱼ exp(xⱼ). The maximum is subtracted to keep exp finite."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Sigmoid(Layer):
    """σ(x), between 0 and 1; dσ/dx = σ (1 − σ) is 1/4 at most: why deep sigmoid networks have vanishing
    gradients.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = sigmoid(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * self._y * (1 - self._y)


class Tanh(Layer):
    """tanh(x), between −1 and 1; d tanh/dx = 1 − tanh²."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = np.tanh(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * (1 - self._y**2)


class ReLU(Layer):
    """max(x, 0); the gradient passes where x > 0 and stops elsewhere (also at 0, as in torch)."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = np.maximum(x, 0)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * (self._y > 0)


class GELU(Layer):
    """x Φ(x), where Φ(x) = (1 + erf(x/√2)) / 2 is the normal distribution function (Hendrycks & Gimpel
    2016, arXiv:1606.08415): a smooth ReLU. The derivative is Φ(x) + x φ(x), with the density φ(x) =
    e^(−x²/2) / √2π.

    The exact form, as `torch.nn.GELU()`. NumPy has no erf, so Python's is called for each number: some
    hundred times slower than the other activations.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._x = x
        self._below = 0.5 + 0.5 * np.asarray(_erf(x * math.sqrt(0.5)), dtype=x.dtype)  # Φ(x)
        return x * self._below

    def backward(self, grad: np.ndarray) -> np.ndarray:
        density = np.exp(-0.5 * self._x**2) / math.sqrt(2 * math.pi)
        return grad * (self._below + self._x * density)


_erf = np.frompyfunc(math.erf, 1, 1)


class Softmax(Layer):
    """Scores to probabilities, row by row. For training leave it out: `CategoricalCrossEntropy` takes the
    scores.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = softmax(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        # dyᵢ/dxⱼ = yᵢ (δᵢⱼ − yⱼ), so dL/dxⱼ = yⱼ (gⱼ − Σᵢ gᵢ yᵢ)
        return self._y * (grad - np.sum(grad * self._y, axis=-1, keepdims=True))
