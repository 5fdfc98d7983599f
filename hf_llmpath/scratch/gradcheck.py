"""Is a backward pass right? Compare it with the definition of the derivative, (L(w + h) − L(w − h)) / 2h.

python -m hf_llmpath.scratch.gradcheck
"""

import copy
from collections.abc import Callable

import numpy as np

from .losses import Loss
from .network import Network

SMALLEST = 1e-2  # gradients below it are compared absolutely: rounding of the loss leaves about 1e-10 in a central difference


def central_difference(function: Callable[[], float], array: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Numerical gradient of `function()` with respect to the `array` that it reads; the error falls as step²."""
    found = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        before = array[place]
        array[place] = before + step
        above = function()
        array[place] = before - step
        below = function()
        array[place] = before
        found[place] = (above - below) / (2 * step)
    return found


def relative_error(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference, divided by the largest number (or by `SMALLEST`)."""
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
    """Relative error of every gradient of `network` against central differences.

    The network is checked with float64 weights; in float32 the differences drown in rounding. Every
    evaluation works on a copy, so that dropout draws the same mask and batch normalization keeps its
    statistics.

    Returns:
        By name of the parameter; `"input"` is the gradient with respect to x.

    Raises:
        ValueError: the network is not float64.
    """
    if network.dtype != np.float64:
        raise ValueError(f"gradients are checked in float64; the network is {network.dtype}")
    x = np.array(x, dtype=np.float64)

    def value() -> float:
        return loss.forward(copy.deepcopy(network).forward(x, training), target)

    twin = copy.deepcopy(network)
    loss.forward(twin.forward(x, training), target)
    gradients = {"input": twin.backward(loss.backward())}
    gradients |= {name: gradient for name, _, gradient in twin.parameters()}
    arrays = {"input": x} | {name: array for name, array, _ in network.parameters()}
    return {
        name: relative_error(gradients[name], central_difference(value, array, step))
        for name, array in arrays.items()
    }


def _main() -> None:
    from .activations import Tanh
    from .layers import Dense
    from .losses import BinaryCrossEntropy

    rng = np.random.default_rng(0)
    network = Network([Dense(2, 3, rng, dtype=np.float64), Tanh(), Dense(3, 1, rng, dtype=np.float64)])
    x, target = rng.normal(size=(5, 2)), rng.integers(0, 2, (5, 1))
    for name, error in check_gradients(network, BinaryCrossEntropy(), x, target).items():
        print(f"{name:10} relative error {error:.1e}")


if __name__ == "__main__":
    _main()
