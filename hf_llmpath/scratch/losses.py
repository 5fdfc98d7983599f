"""Implements loss functions, each of which measures how wrong a batch of predictions is in one number.

`forward(prediction, target)` returns the mean over the batch. `backward()` returns its gradient with respect
to the prediction, where the backward pass starts. The two cross-entropies take logits, the scores before
sigmoid or softmax. The combination of both steps has the simple gradient probability − target and never
takes the logarithm of zero.
"""

import numpy as np

from .activations import sigmoid


class Loss:
    """The base class of all losses."""

    def forward(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Returns the mean loss of a batch.

        Raises:
            ValueError: If the target does not fit the prediction.
        """
        raise NotImplementedError

    def backward(self) -> np.ndarray:
        """Returns dL/dprediction of the last forward pass, in the prediction's shape."""
        raise NotImplementedError


def _same_shape(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    if prediction.shape != target.shape:
        raise ValueError(
            f"predictions have shape {prediction.shape}, targets {target.shape}; they must be the same"
        )
    return target.astype(prediction.dtype, copy=False)


class MeanSquaredError(Loss):
    """Computes the mean of (prediction − target)² over all numbers of the batch, as `torch.nn.MSELoss`."""

    def forward(self, prediction: np.ndarray, target: np.ndarray) -> float:
        self._difference = prediction - _same_shape(prediction, target)
        return float(np.mean(self._difference**2))

    def backward(self) -> np.ndarray:
        return self._difference * (2 / self._difference.size)  # 2 (prediction − target) / count


class BinaryCrossEntropy(Loss):
    """Computes −log p(target) for p = sigmoid(prediction), as `torch.nn.BCEWithLogitsLoss`.

    With z the prediction and t the target, a number from 0 to 1:

        −t log σ(z) − (1 − t) log(1 − σ(z)) = max(z, 0) − z t + log(1 + e^−|z|)

    The right-hand side never takes the exponential of a large number.
    """

    def forward(self, prediction: np.ndarray, target: np.ndarray) -> float:
        self._z, self._target = prediction, _same_shape(prediction, target)
        if target.min() < 0 or target.max() > 1:
            raise ValueError(
                f"targets run from {target.min():g} to {target.max():g}; they must be from 0 to 1"
            )
        z, t = self._z, self._target
        # log1p(x) is log(1 + x), without rounding a small x away.
        return float(np.mean(np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z)))))

    def backward(self) -> np.ndarray:
        return (sigmoid(self._z) - self._target) / self._z.size  # (σ(z) − t) / count


class CategoricalCrossEntropy(Loss):
    """Computes −log p(label) for p = softmax(prediction), as `torch.nn.CrossEntropyLoss`.

    Predictions are `(batch, classes)`, labels are integers `(batch,)`.
    """

    def forward(self, prediction: np.ndarray, target: np.ndarray) -> float:
        count, classes = prediction.shape
        if target.shape != (count,) or not np.issubdtype(target.dtype, np.integer):
            raise ValueError(
                f"labels must be {count} integers, one per row; they are {target.dtype} {target.shape}"
            )
        if target.min() < 0 or target.max() >= classes:
            raise ValueError(
                f"labels run from {target.min()} to {target.max()}; they must be from 0 to {classes - 1}"
            )
        self._rows, self._target = np.arange(count), target
        # Subtracting the maximum changes no probability and keeps exp finite.
        shifted = prediction - prediction.max(axis=1, keepdims=True)  # (batch, classes) - (batch, 1)
        e = np.exp(shifted)
        total = e.sum(axis=1, keepdims=True)  # (batch, classes) -> (batch, 1)
        self._probabilities = e / total  # (batch, classes)
        # −log p(label) = log Σⱼ exp(zⱼ) − z_label, which stays finite even if p(label) rounds to 0: (batch,)
        return float(np.mean(np.log(total[:, 0]) - shifted[self._rows, target]))

    def backward(self) -> np.ndarray:
        grad = self._probabilities.copy()  # (batch, classes); a copy, so `backward` can run twice
        grad[self._rows, self._target] -= 1  # p − one-hot(label): one number in each row
        grad /= len(grad)  # the loss is a mean over the batch
        return grad
