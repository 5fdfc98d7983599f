"""Implements the activation functions, without which a stack of layers would be one big weighted sum.

Every function except softmax acts on one number at a time, so its backward pass multiplies the gradient by
the function's derivative. A layer stores only its output y if the derivative can be written in terms of y.
"""

import math

import numpy as np

from .layers import Layer


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Computes σ(x) = 1 / (1 + e⁻ˣ) in the equivalent form (1 + tanh(x/2)) / 2, which never overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def softmax(x: np.ndarray) -> np.ndarray:
    """Turns each row into probabilities, exp(xᵢ) / Σⱼ exp(xⱼ); subtracting the maximum keeps exp finite."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))  # (batch, classes) - (batch, 1) -> (batch, classes)
    return e / e.sum(axis=-1, keepdims=True)  # (batch, classes) / (batch, 1)


class Sigmoid(Layer):
    """Computes σ(x), which lies between 0 and 1.

    Its derivative σ (1 − σ) is at most 1/4, so gradients vanish in deep networks of sigmoid layers.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = sigmoid(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * self._y * (1 - self._y)  # dL/dx = dL/dy σ (1 − σ)


class Tanh(Layer):
    """Computes tanh(x), which lies between −1 and 1 and has the derivative 1 − tanh²."""

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = np.tanh(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * (1 - self._y**2)  # dL/dx = dL/dy (1 − y²)


class ReLU(Layer):
    """Computes max(x, 0).

    The gradient passes where x > 0 and stops elsewhere. It also stops at x = 0, where the function has no
    derivative, as in torch.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = np.maximum(x, 0)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * (self._y > 0)  # y > 0 exactly where x > 0


class GELU(Layer):
    """Computes x Φ(x), a smooth ReLU (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    Φ(x) = (1 + erf(x/√2)) / 2 is the distribution function of the standard normal distribution. The
    derivative is Φ(x) + x φ(x), with the density φ(x) = e^(−x²/2) / √(2π). This is the exact form, as in
    `torch.nn.GELU()`. NumPy has no erf, and calling Python's for each number takes about a hundred times as
    long as the other activations.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._x = x
        # `_erf` returns an array of Python objects, which `asarray` converts back to the dtype of x.
        self._probability = 0.5 + 0.5 * np.asarray(_erf(x * math.sqrt(0.5)), dtype=x.dtype)  # Φ(x)
        return x * self._probability

    def backward(self, grad: np.ndarray) -> np.ndarray:
        density = np.exp(-0.5 * self._x**2) / math.sqrt(2 * math.pi)  # φ(x)
        return grad * (self._probability + self._x * density)  # dL/dx = dL/dy (Φ(x) + x φ(x))


_erf = np.frompyfunc(math.erf, 1, 1)  # one input, one output


class Softmax(Layer):
    """Turns scores `(batch, classes)` into probabilities, row by row.

    Leave this layer out of training: `CategoricalCrossEntropy` takes the scores themselves.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._y = softmax(x)
        return self._y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        # dyᵢ/dxⱼ = yᵢ (δᵢⱼ − yⱼ), so dL/dxⱼ = yⱼ (gⱼ − Σᵢ gᵢ yᵢ), where the sum over classes is (batch, 1).
        return self._y * (grad - np.sum(grad * self._y, axis=-1, keepdims=True))
