"""Implements layers, each of which computes an output (forward) and passes a gradient back (backward).

`forward(x)` stores what `backward` will need. `backward(grad)` receives dL/dy, the gradient of the loss L
with respect to the layer's output y. It writes dL/dw for every parameter w into `grads` and returns dL/dx
for the layer before. That is the chain rule, one factor per layer. A batch is a matrix with one example per
row, so no layer loops over examples.
"""

import math

import numpy as np
from numpy.typing import DTypeLike

INITIALIZATIONS = ("xavier", "he", "normal")
NORMAL_STD = 0.05  # standard deviation of the weights for init="normal"


class Layer:
    """The base class of all layers.

    Attributes:
        params: the learned arrays by name.
        grads: the gradient of the loss with respect to each of `params`, in arrays that every backward pass
            overwrites.
        buffers: the arrays that are saved but not learned.
    """

    def __init__(self, **params: np.ndarray):
        self.params = params
        # The arrays are allocated once, because optimizers hold references to them.
        self.grads = {name: np.zeros_like(value) for name, value in params.items()}
        self.buffers: dict[str, np.ndarray] = {}

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Returns the output y for a batch x; `training` turns on dropout and the statistics of the batch."""
        raise NotImplementedError

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """Takes dL/dy of the last forward pass, fills `grads`, and returns dL/dx."""
        raise NotImplementedError


class Dense(Layer):
    """A layer of neurons, y = x Wᵀ + b.

    Each row of W, with its entry of b, is one neuron: a weighted sum of the inputs.

    Args:
        inputs, outputs: the numbers of features.
        rng: the generator that draws the weights; the bias starts at zero.
        init: `"xavier"`, `"he"` or `"normal"` (see `initial_weight`).
        dtype: `float32` or `float64`.

    Raises:
        ValueError: If a batch passed to `forward` has a different number of features.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        rng: np.random.Generator,
        init: str = "xavier",
        dtype: DTypeLike = np.float32,
    ):
        weight = initial_weight(inputs, outputs, rng, init).astype(dtype)  # (outputs, inputs)
        super().__init__(weight=weight, bias=np.zeros(outputs, dtype))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if x.ndim != 2 or x.shape[1] != self.params["weight"].shape[1]:
            raise ValueError(
                f"the input has shape {x.shape}; it must be (batch, {self.params['weight'].shape[1]})"
            )
        self._x = x  # (batch, inputs)
        y = x @ self.params["weight"].T  # (batch, inputs) @ (inputs, outputs) -> (batch, outputs)
        y += self.params["bias"]  # in place, which saves an array; (outputs,) broadcasts over the batch
        return y

    def backward(self, grad: np.ndarray) -> np.ndarray:
        # dL/dW = (dL/dy)ᵀ x, summed over the batch: (outputs, batch) @ (batch, inputs) -> (outputs, inputs)
        np.matmul(grad.T, self._x, out=self.grads["weight"])
        np.sum(grad, axis=0, out=self.grads["bias"])  # dL/db = Σ dL/dy: (batch, outputs) -> (outputs,)
        return grad @ self.params["weight"]  # dL/dx = dL/dy W: (batch, outputs) -> (batch, inputs)


def initial_weight(inputs: int, outputs: int, rng: np.random.Generator, init: str) -> np.ndarray:
    """Draws the initial weight matrix `(outputs, inputs)` of a dense layer.

    `"xavier"` is uniform within ±√(6 / (inputs + outputs)), which preserves the scale of signals through tanh
    and sigmoid layers (Glorot & Bengio 2010, eq. 16). `"he"` is normal with standard deviation
    √(2 / inputs), which does the same for ReLU layers, which zero half of the signal (He et al. 2015,
    eq. 10). `"normal"` has the fixed standard deviation 0.05.

    Raises:
        ValueError: If `init` is unknown or a size is below 1.
    """
    if inputs < 1 or outputs < 1:
        raise ValueError(f"a dense layer of {inputs} inputs and {outputs} outputs; both must be at least 1")
    if init == "xavier":
        limit = math.sqrt(6 / (inputs + outputs))  # variance: limit² / 3 = 2 / (inputs + outputs)
        return rng.uniform(-limit, limit, (outputs, inputs))
    if init == "he":
        return rng.normal(0, math.sqrt(2 / inputs), (outputs, inputs))
    if init == "normal":
        return rng.normal(0, NORMAL_STD, (outputs, inputs))
    raise ValueError(f"init is '{init}'; it must be one of {', '.join(INITIALIZATIONS)}")


class Dropout(Layer):
    """Sets a random fraction `p` of the features to zero while training.

    The other features are scaled by 1 / (1 − p), which preserves the expected value, so the trained network
    needs no correction ("inverted" dropout; Srivastava et al. 2014).

    Attributes:
        mask: the factors of the last forward pass, in the shape of its input; `None` if it dropped nothing.

    Raises:
        ValueError: If `p` is below 0, or 1 or more.
    """

    def __init__(self, p: float, rng: np.random.Generator):
        if not 0 <= p < 1:
            raise ValueError(f"dropout p is {p}; it must be from 0 to below 1")
        super().__init__()
        self.p, self.rng = p, rng
        self.mask: np.ndarray | None = None

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if not training or self.p == 0:
            self.mask = None
            return x
        kept = self.rng.random(x.shape, dtype=np.float32) >= self.p  # (batch, features), boolean
        # 0 or 1 / (1 − p); the scalar has the dtype of x, because a Python float would make the mask float64.
        self.mask = kept * x.dtype.type(1 / (1 - self.p))
        return x * self.mask

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad if self.mask is None else grad * self.mask


class BatchNorm(Layer):
    """Batch normalization, y = γ (x − mean) / √(var + eps) + β for each feature; γ is `weight`, β is `bias`.

    In training, mean and var are computed over the batch. Otherwise they are the running statistics, moving
    averages over the training batches: running ← (1 − momentum) running + momentum · batch. As in
    `torch.nn.BatchNorm1d`, the variance of a batch has n in its denominator, the running variance n − 1.
    Ioffe & Szegedy 2015, algorithm 1.

    Raises:
        ValueError: If `forward` gets a training batch of fewer than two examples.
    """

    def __init__(
        self, features: int, eps: float = 1e-5, momentum: float = 0.1, dtype: DTypeLike = np.float32
    ):
        super().__init__(weight=np.ones(features, dtype), bias=np.zeros(features, dtype))
        self.buffers = {"running_mean": np.zeros(features, dtype), "running_var": np.ones(features, dtype)}
        self.eps, self.momentum = eps, momentum

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        self._of_batch = training  # tells `backward` that the statistics depend on x
        if training:
            if len(x) < 2:
                raise ValueError("batch normalization needs at least 2 examples in a batch to train on")
            mean, var = x.mean(axis=0), x.var(axis=0)  # (batch, features) -> (features,) each
            # The running variance is unbiased: n / (n − 1) replaces the denominator n by n − 1.
            for running, batch in (("running_mean", mean), ("running_var", var * (len(x) / (len(x) - 1)))):
                self.buffers[running] *= 1 - self.momentum
                self.buffers[running] += self.momentum * batch
        else:
            mean, var = self.buffers["running_mean"], self.buffers["running_var"]
        self._scale = 1 / np.sqrt(var + self.eps)  # (features,)
        self._normal = (x - mean) * self._scale  # x̂ = (x − mean) / √(var + eps): (batch, features)
        return self._normal * self.params["weight"] + self.params["bias"]  # y = γ x̂ + β

    def backward(self, grad: np.ndarray) -> np.ndarray:
        np.sum(grad * self._normal, axis=0, out=self.grads["weight"])  # dL/dγ = Σ dL/dy x̂: (features,)
        np.sum(grad, axis=0, out=self.grads["bias"])  # dL/dβ = Σ dL/dy: (batch, features) -> (features,)
        grad = grad * self.params["weight"]  # g = dL/dx̂ = dL/dy γ: (batch, features)
        if self._of_batch:  # the mean and the variance of the batch also depend on x
            # dL/dx = (g − mean(g) − x̂ mean(g x̂)) / √(var + eps); the means over the batch are (features,).
            grad = grad - grad.mean(axis=0) - self._normal * (grad * self._normal).mean(axis=0)
        return grad * self._scale
