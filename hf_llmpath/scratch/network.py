"""Implements feed-forward networks, sequences of layers, and trains them by mini-batch gradient descent.

    rng = np.random.default_rng(0)
    network = Network([Dense(2, 8, rng), Tanh(), Dense(8, 1, rng)])
    optimizer, loss = Adam(network, 0.02), BinaryCrossEntropy()
    for step, value in enumerate(fit(network, x, y, loss, optimizer, epochs=500, batch_size=32, rng=rng)):
        print(step, value)

`fit` is a generator: each pass through this loop takes one step, and the loop may end at any time.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from .activations import GELU, ReLU, Sigmoid, Tanh
from .layers import Dense, Layer
from .losses import Loss
from .optimizers import Optimizer

ACTIVATIONS: dict[str, type[Layer]] = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU, "gelu": GELU}


class Network:
    """A sequence of layers.

    Parameters are named by the index of their layer, `"0.weight"`, as in `torch.nn.Sequential`.
    """

    def __init__(self, layers: Sequence[Layer]):
        self.layers = list(layers)

    @property
    def dtype(self) -> np.dtype:
        """The float type of the parameters, to which inputs are converted; float32 without parameters."""
        return next((value.dtype for _, value, _ in self.parameters()), np.dtype(np.float32))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Runs forward propagation on x `(batch, features)`; each layer's output is the next one's input."""
        return self.outputs(x, training)[-1]

    def outputs(self, x: np.ndarray, training: bool = False) -> list[np.ndarray]:
        """Returns the outputs of all layers in order, `(batch, units)` each."""
        x = np.asarray(x, dtype=self.dtype)
        outputs = []
        for layer in self.layers:
            x = layer.forward(x, training)  # (batch, units of the layer)
            outputs.append(x)
        return outputs

    def backward(self, grad: np.ndarray) -> np.ndarray:
        """Runs backpropagation: passes the gradient of the loss through the layers from last to first.

        Fills the layers' `grads` and returns the gradient with respect to the input of the last forward pass.
        """
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return grad

    def gradient(self, x: np.ndarray, target: np.ndarray, loss: Loss, training: bool = True) -> float:
        """Runs one forward and one backward pass; returns the loss and leaves the gradients in the layers."""
        value = loss.forward(self.forward(x, training), target)
        self.backward(loss.backward())
        return value

    def predict(self, x: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """Computes the outputs for many rows, batch by batch, which bounds the memory for hidden outputs.

        Dropout is off, and batch normalization uses its running statistics.
        """
        if len(x) <= batch_size:
            return self.forward(x)
        # (rows, outputs)
        return np.concatenate(
            [self.forward(x[start : start + batch_size]) for start in range(0, len(x), batch_size)]
        )

    def parameters(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Yields `(name, value, gradient)` for every learned array."""
        for index, layer in enumerate(self.layers):
            for name, value in layer.params.items():
                yield f"{index}.{name}", value, layer.grads[name]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Returns the parameters and buffers by name: the arrays themselves, not copies."""
        return {
            f"{index}.{name}": value
            for index, layer in enumerate(self.layers)
            for name, value in (layer.params | layer.buffers).items()
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Copies values into the network; after an error, the network is unchanged.

        Raises:
            ValueError: If names or shapes differ from this network's.
        """
        mine = self.state_dict()
        if mine.keys() != state.keys():
            raise ValueError(f"the weights are named {sorted(state)}; the network's are {sorted(mine)}")
        for name, value in mine.items():
            if value.shape != np.shape(state[name]):
                raise ValueError(f"{name} has shape {np.shape(state[name])}; the network's has {value.shape}")
        for name, value in mine.items():
            value[...] = state[name]  # in place, because optimizers hold references to these arrays


def feed_forward(
    sizes: Sequence[int], activation: str, rng: np.random.Generator, dtype: DTypeLike = np.float32
) -> Network:
    """Builds a network of dense layers with an activation after each layer but the last.

    `sizes` (2, 8, 1) means 2 inputs, 8 hidden units, and 1 output. ReLU and GELU layers start with He
    weights, the others with Xavier weights.

    Raises:
        ValueError: If there are fewer than two sizes, or the activation is unknown.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes are {tuple(sizes)}; at least an input and an output size are needed")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is '{activation}'; it must be one of {', '.join(ACTIVATIONS)}")
    init = "he" if activation in ("relu", "gelu") else "xavier"
    layers: list[Layer] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):  # pairs of consecutive sizes
        layers += [Dense(inputs, outputs, rng, init, dtype), ACTIVATIONS[activation]()]
    return Network(layers[:-1])  # the last layer returns scores, without an activation


def fit(
    network: Network,
    x: np.ndarray,
    target: np.ndarray,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[float]:
    """Trains by mini-batch gradient descent and yields the loss of every step.

    Each epoch visits the examples once, in a new random order. The generator takes a step only when the next
    loss is requested.
    """
    x = np.asarray(x, dtype=network.dtype)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]  # (batch,); the last batch of an epoch may be smaller
            value = network.gradient(x[rows], target[rows], loss)
            optimizer.step()
            yield value
