"""The NumPy engine and LLMPathMLP compute the same function from the same weights, values and gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForImageClassification

from hf_llmpath import LLMPathMLPConfig, LLMPathMLPForImageClassification
from hf_llmpath.convert.numpy_network import from_mlp, load_network, save_network, to_mlp
from hf_llmpath.scratch.activations import ReLU, Sigmoid, Softmax, Tanh
from hf_llmpath.scratch.layers import BatchNorm, Dense, Dropout
from hf_llmpath.scratch.losses import BinaryCrossEntropy, CategoricalCrossEntropy
from hf_llmpath.scratch.network import ACTIVATIONS, Network

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def network_of(sizes, activation, batch_norm, dtype, seed=0):
    """A network with random weights, running statistics included."""
    rng = np.random.default_rng(seed)
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers.append(Dense(inputs, outputs, rng, "xavier", dtype))
        if len(layers) and batch_norm:
            layers.append(BatchNorm(outputs, dtype=dtype))
        if activation != "linear":
            layers.append(ACTIVATIONS[activation]())
    while not isinstance(layers[-1], Dense):
        layers.pop()
    network = Network(layers)
    for name, value in network.state_dict().items():
        if name.endswith(("bias", "mean")):
            value[...] = rng.normal(0, 0.3, value.shape)
        elif value.ndim == 1:  # scales and variances
            value[...] = rng.uniform(0.5, 1.5, value.shape)
    return network


def assert_same_gradients(network, model, x, target, dtype):
    network.gradient(x, target, CategoricalCrossEntropy())
    model.train().zero_grad()
    model(torch.from_numpy(x), labels=torch.from_numpy(target)).loss.backward()
    ours = [grad for _, _, grad in network.parameters()]
    theirs = [parameter.grad.numpy() for parameter in model.parameters()]
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        # float64 proves equality. In float32 a batch norm multiplies rounding by 1 / deviation: where the
        # gradient is 0 and a feature hardly varies, noise of 1e-5 is usual.
        tolerance = TOLERANCE[dtype] if dtype == "float64" else 1e-4
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


nets = st.fixed_dictionaries(
    {
        "sizes": st.lists(st.integers(2, 12), min_size=2, max_size=5),
        "activation": st.sampled_from([*ACTIVATIONS, "linear"]),
        "batch_norm": st.booleans(),
        "dtype": st.sampled_from(["float32", "float64"]),
        "seed": st.integers(0, 1000),
    }
)


@settings(max_examples=40, deadline=None)
@given(nets)
def test_to_torch_and_back_is_the_same_function(net):
    network, dtype = network_of(**net), net["dtype"]
    rng = np.random.default_rng(net["seed"])
    x = rng.normal(size=(17, net["sizes"][0])).astype(dtype)
    target = rng.integers(0, net["sizes"][-1], 17)
    model = to_mlp(network)
    assert model.dtype is getattr(torch, dtype)
    with torch.no_grad():
        np.testing.assert_allclose(
            model(torch.from_numpy(x)).logits.numpy(),
            network.forward(x),
            rtol=TOLERANCE[dtype],
            atol=TOLERANCE[dtype],
        )
    again = from_mlp(model)
    assert again.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(again.forward(x), network.forward(x))
    assert_same_gradients(again, model, x, target, dtype)
    # The training pass moved the running statistics of both alike.
    for name, value in from_mlp(model).state_dict().items():
        np.testing.assert_allclose(value, again.state_dict()[name], rtol=0, atol=TOLERANCE[dtype])


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(2, 12), max_size=3),
    st.sampled_from([*ACTIVATIONS, "linear"]),
    st.sampled_from(["none", "batch"]),
    st.sampled_from(["float32", "float64"]),
)
def test_from_torch_is_the_same_function(hidden, activation, normalization, dtype):
    torch.manual_seed(len(hidden))
    config = LLMPathMLPConfig(
        input_size=6,
        hidden_sizes=hidden,
        hidden_act=activation,
        normalization=normalization,
        initialization="xavier",
        num_labels=4,
    )
    model = LLMPathMLPForImageClassification(config).to(getattr(torch, dtype)).eval()
    x = np.random.default_rng(0).normal(size=(9, 6)).astype(dtype)
    network = from_mlp(model)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).logits.numpy()
    np.testing.assert_allclose(network.forward(x), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert_same_gradients(network, model, x, np.arange(9) % 4, dtype)


def test_through_files(tmp_path):
    network = network_of([5, 8, 8, 3], "tanh", True, "float32")
    save_network(network, tmp_path / "net.safetensors")
    other = network_of([5, 8, 8, 3], "tanh", True, "float32", seed=1)
    x = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)
    assert not np.array_equal(other.forward(x), network.forward(x))
    load_network(other, tmp_path / "net.safetensors")
    np.testing.assert_array_equal(other.forward(x), network.forward(x))

    to_mlp(network).save_pretrained(tmp_path / "model")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.from_numpy(x)).logits, network.forward(x), rtol=0, atol=1e-6)
    double = from_mlp(model, dtype=np.float64)
    assert double.dtype == np.float64
    np.testing.assert_allclose(double.forward(x), network.forward(x), rtol=0, atol=1e-6)


def test_one_sigmoid_output_is_one_logit():
    rng = np.random.default_rng(0)
    layers = [Dense(2, 3, rng), Tanh(), Dense(3, 1, rng)]
    model = to_mlp(Network([*layers, Sigmoid()]))
    x = rng.normal(size=(8, 2)).astype(np.float32)
    yes = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    output = model(torch.from_numpy(x), labels=torch.from_numpy(yes))
    loss = BinaryCrossEntropy().forward(Network(layers).forward(x), yes[:, None].astype(np.float32))
    assert output.logits.shape == (8, 1)
    assert output.loss.item() == pytest.approx(loss, abs=1e-6)


def test_images_keep_their_size():
    model = to_mlp(network_of([64, 5, 3], "relu", False, "float32"), image_size=8)
    assert model.config.image_size == 8 and model(torch.zeros(2, 1, 8, 8)).logits.shape == (2, 3)


def test_dropout_travels():
    rng = np.random.default_rng(0)
    network = Network([Dense(4, 6, rng), ReLU(), Dropout(0.3, rng), Dense(6, 2, rng), Softmax()])
    model = to_mlp(network)
    assert model.config.dropout == 0.3
    assert [type(layer).__name__ for layer in from_mlp(model).layers] == ["Dense", "ReLU", "Dropout", "Dense"]


def test_what_the_other_side_lacks_is_an_error():
    rng = np.random.default_rng(0)
    mixed = Network([Dense(2, 3, rng), Tanh(), Dense(3, 3, rng), ReLU(), Dense(3, 2, rng)])
    with pytest.raises(ValueError, match=r"hidden_act differs from layer to layer \(\['relu', 'tanh'\]\)"):
        to_mlp(mixed)
    with pytest.raises(ValueError, match="a hidden layer begins with a Tanh; it must be a Dense"):
        to_mlp(Network([Tanh(), Dense(2, 2, rng)]))
    with pytest.raises(ValueError, match="the last layer is a ReLU; it must be a Dense"):
        to_mlp(Network([Dense(2, 2, rng), ReLU()]))
    for changes, message in (
        ({"hidden_sizes": [4], "residual": True}, "residual"),
        ({"normalization": "layer"}, "layer normalization"),
        ({"input_dropout": 0.1}, "dropout on the input"),
    ):
        model = LLMPathMLPForImageClassification(LLMPathMLPConfig(input_size=4, **changes))
        with pytest.raises(ValueError, match=f"the NumPy engine has no {message}"):
            from_mlp(model)
