"""A library of neural networks that needs nothing but NumPy.

Read `layers.py` first, then `activations.py`, `losses.py`, `network.py`, and `optimizers.py`.
"""

from .activations import GELU, ReLU, Sigmoid, Softmax, Tanh
from .layers import BatchNorm, Dense, Dropout, Layer
from .losses import BinaryCrossEntropy, CategoricalCrossEntropy, Loss, MeanSquaredError
from .network import ACTIVATIONS, Network, feed_forward, fit
from .optimizers import SGD, Adam, AdamW, Momentum, Optimizer, RMSprop

__all__ = [
    "ACTIVATIONS",
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "Dense",
    "Dropout",
    "Layer",
    "Loss",
    "MeanSquaredError",
    "Momentum",
    "Network",
    "Optimizer",
    "RMSprop",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "feed_forward",
    "fit",
]
