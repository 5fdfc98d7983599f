"""A check of a backward pass against the definition of the derivative, (L(w + h) − L(w − h)) / 2h.

    python -m hf_llmpath.stages.s02_backpropagation.gradient_check

NumPy alone, like the engine whose gradients it checks.
"""

import copy
from collections.abc import Callable

import numpy as np

from ...scratch.losses import Loss
from ...scratch.network import Network

# Smaller gradients are compared absolutely: rounding of the loss alone puts about 1e-10 into a difference.
SMALLEST = 1e-2


def central_difference(function: Callable[[], float], array: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The numerical gradient of `function()` by the `array` that it reads; its error falls as step²."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        below = function()
        array[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


def relative_error(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, divided by the largest number (or by `SMALLEST`)."""
    scale = max(np.abs(one).max(), np.abs(other).max(), SMALLEST)
    return float(np.abs(one - other).max() / scale)


def check_gradients(
    network: Network,
    loss: Loss,
    x: np.ndarray,
    target: np.ndarray,
    step: float = 1e-5,
    training: bool = False,
) -> dict[str, float]:
    """The relative error of every gradient of `network`, measured against central differences.

    The weights must be float64: in float32 the differences drown in rounding. Every evaluation works on a
    copy, which makes dropout draw the same mask again and leaves the statistics of batch normalization alone.

    Returns:
        Errors by the name of the parameter; `"input"` is the gradient with respect to x.

    Raises:
        ValueError: the network is not float64.
    """
    if network.dtype != np.float64:
        raise ValueError(f"gradients are checked in float64; the network is {network.dtype}")
    x = np.array(x, dtype=np.float64)

    def loss_value() -> float:
        return loss.forward(copy.deepcopy(network).forward(x, training), target)

    twin = copy.deepcopy(network)
    loss.forward(twin.forward(x, training), target)
    gradients = {"input": twin.backward(loss.backward())}
    gradients |= {name: gradient for name, _, gradient in twin.parameters()}
    arrays = {"input": x} | {name: array for name, array, _ in network.parameters()}
    return {
        name: relative_error(gradients[name], central_difference(loss_value, array, step))
        for name, array in arrays.items()
    }


def _main() -> None:
    from ...scratch import BinaryCrossEntropy, Dense, Tanh

    rng = np.random.default_rng(0)
    network = Network([Dense(2, 3, rng, dtype=np.float64), Tanh(), Dense(3, 1, rng, dtype=np.float64)])
    x, target = rng.normal(size=(5, 2)), rng.integers(0, 2, (5, 1))
    for name, error in check_gradients(network, BinaryCrossEntropy(), x, target).items():
        print(f"{name:10} relative error {error:.1e}")


if __name__ == "__main__":
    _main()
