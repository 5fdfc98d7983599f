"""Converts networks of the NumPy engine to `LLMPathMLP` and back.

    save_network(network, "net.safetensors")                 # NumPy alone
    model = to_mlp(network)                                  # an LLMPathMLPForImageClassification
    model.save_pretrained("net")
    network = from_mlp(AutoModelForImageClassification.from_pretrained("net"), dtype=np.float64)

A hidden layer of the engine is a `Dense`, an optional `BatchNorm`, the activation, and an optional `Dropout`.
The last layer is a `Dense`. A final `Softmax`, or a `Sigmoid` after a single output, is dropped, because the
model returns logits.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from safetensors.numpy import load_file, save_file

from ..models.configuration_mlp import LLMPathMLPConfig
from ..models.modeling_mlp import LLMPathMLPForImageClassification
from ..scratch.activations import Sigmoid, Softmax
from ..scratch.layers import BatchNorm, Dense, Dropout, Layer
from ..scratch.network import ACTIVATIONS, Network

_NAME_OF = {layer: name for name, layer in ACTIVATIONS.items()}


def save_network(network: Network, path: Path | str) -> None:
    """Writes the weights and buffers of a NumPy network under the names of its `state_dict()`."""
    save_file({name: np.ascontiguousarray(value) for name, value in network.state_dict().items()}, str(path))


def load_network(network: Network, path: Path | str) -> None:
    """Loads the file that `save_network` wrote into a network with the same layers.

    Raises:
        ValueError: names or shapes differ from this network's.
    """
    network.load_state_dict(load_file(str(path)))


def to_mlp(network: Network, **config: Any) -> LLMPathMLPForImageClassification:
    """Returns the torch model that computes the same logits, in the network's float type and in eval mode.

    Args:
        network: its layers are in the order described above; all hidden layers have the same activation and
            dropout.
        config: further arguments of `LLMPathMLPConfig`, such as `image_size` where the input is an image.

    Raises:
        ValueError: `LLMPathMLP` lacks these layers, or has them in another order.
    """
    hidden, output, shared = _parse(network.layers)
    arguments = {
        "hidden_sizes": [len(layer["linear"].params["bias"]) for layer in hidden],
        "num_labels": len(output.params["bias"]),
        **shared,
        **config,
    }
    if "image_size" not in arguments:
        # A weight of the engine is (outputs, inputs), as in torch.
        arguments["input_size"] = (hidden[0]["linear"] if hidden else output).params["weight"].shape[1]
    model: Any = LLMPathMLPForImageClassification(LLMPathMLPConfig(**arguments))
    state = {f"classifier.{name}": value for name, value in output.params.items()}
    for index, layer in enumerate(hidden):
        for module in ("linear", "norm"):
            if module in layer:
                values = layer[module].params | layer[module].buffers
                state |= {f"model.layers.{index}.{module}.{name}": value for name, value in values.items()}
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    model.to(next(iter(tensors.values())).dtype)  # before loading, which casts to the model's dtype
    # torch's BatchNorm counts its batches and the engine's does not; the loading wants every entry.
    counters = {
        name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")
    }
    model.load_state_dict(tensors | counters)
    return model.eval()


def from_mlp(
    model: LLMPathMLPForImageClassification,
    dtype: DTypeLike | None = None,
    rng: np.random.Generator | None = None,
) -> Network:
    """Returns the NumPy network that computes the same logits.

    Args:
        model: a model without residual connections, layer normalization, and dropout on the input, all of
            which the engine lacks.
        dtype: `float32` or `float64`; the model's by default.
        rng: random generator for the engine's dropout layers.

    Raises:
        ValueError: the engine lacks a layer of the model.
    """
    config, rng = model.config, rng or np.random.default_rng(0)
    lacking = {
        "residual connections": any(config.residual_layers),
        "layer normalization": config.normalization == "layer",
        "dropout on the input": config.input_dropout > 0,
    }
    for what, used in lacking.items():
        if used:
            raise ValueError(f"the NumPy engine has no {what}")
    dtype = np.dtype(dtype or str(model.dtype).removeprefix("torch."))
    layers: list[Layer] = []
    for layer in model.model.layers:
        layers.append(_dense(layer.linear, dtype, rng))
        if config.normalization == "batch":
            norm = BatchNorm(layer.linear.out_features, eps=config.norm_eps, dtype=dtype)
            _copy(norm, layer.norm)
            layers.append(norm)
        if config.hidden_act != "linear":
            layers.append(ACTIVATIONS[config.hidden_act]())
        if config.dropout > 0:
            layers.append(Dropout(config.dropout, rng))
    return Network([*layers, _dense(model.classifier, dtype, rng)])


def _dense(linear: torch.nn.Linear, dtype: np.dtype, rng: np.random.Generator) -> Dense:
    dense = Dense(linear.in_features, linear.out_features, rng, dtype=dtype)
    _copy(dense, linear)  # replaces the weights that `Dense` has drawn from rng
    return dense


def _copy(layer: Layer, module: torch.nn.Module) -> None:
    state = module.state_dict()
    for name, value in (layer.params | layer.buffers).items():
        value[...] = state[name].cpu().numpy()  # in place, which keeps the engine's float type


def _parse(network_layers: list[Layer]) -> tuple[list[dict[str, Any]], Dense, dict[str, Any]]:
    """Splits a network into its hidden layers, its output layer, and the settings of all hidden layers.

    Raises:
        ValueError: a layer is missing or out of order, or the hidden layers differ in a setting.
    """
    layers: list[Any] = list(network_layers)
    # The final activation is dropped only if it turns logits into probabilities of exclusive classes: a
    # sigmoid does so for one output, a softmax for several.
    single = len(layers) > 1 and len(layers[-2].params.get("bias", ())) == 1
    if layers and isinstance(layers[-1], Sigmoid if single else Softmax):
        layers.pop()
    if not layers or not isinstance(layers[-1], Dense):
        raise ValueError(
            f"the last layer is a {type(layers[-1]).__name__ if layers else 'nothing'}; it must be a Dense"
        )
    output, hidden = layers.pop(), []
    while layers:  # each turn takes a Dense and the optional layers that follow it, in their order
        layer: dict[str, Any] = {"linear": layers.pop(0)}
        if not isinstance(layer["linear"], Dense):
            raise ValueError(
                f"a hidden layer begins with a {type(layer['linear']).__name__}; it must be a Dense"
            )
        if layers and isinstance(layers[0], BatchNorm):
            layer["norm"] = layers.pop(0)
        if layers and type(layers[0]) in _NAME_OF:
            layer["activation"] = _NAME_OF[type(layers.pop(0))]
        if layers and isinstance(layers[0], Dropout):
            layer["dropout"] = layers.pop(0).p
        hidden.append(layer)
    # Name -> the values that occur. LLMPathMLP has one value for all layers.
    shared = {
        "hidden_act": {layer.get("activation", "linear") for layer in hidden},
        "dropout": {layer.get("dropout", 0.0) for layer in hidden},
        "normalization": {"batch" if "norm" in layer else "none" for layer in hidden},
        "norm_eps": {layer["norm"].eps for layer in hidden if "norm" in layer},
    }
    for name, values in shared.items():
        if len(values) > 1:
            raise ValueError(
                f"{name} differs from layer to layer ({sorted(values)}); LLMPathMLP has the same in all"
            )
    return hidden, output, {name: values.pop() for name, values in shared.items() if values}
