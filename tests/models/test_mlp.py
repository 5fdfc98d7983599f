"""The multi-layer perceptron beyond what the common suite checks."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, pipeline

from hf_llmpath import (
    LLMPathMLPConfig,
    LLMPathMLPForImageClassification,
    LLMPathMLPImageProcessor,
    LLMPathMLPModel,
)

TORCH = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "linear": nn.Identity}


def small(**changes):
    torch.manual_seed(0)
    defaults = {"input_size": 5, "hidden_sizes": [7, 7, 6], "num_labels": 3}
    if "image_size" in changes:
        del defaults["input_size"]
    return LLMPathMLPForImageClassification(LLMPathMLPConfig(**defaults | changes)).eval()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"hidden_size": [8]}, "no argument 'hidden_size'; did you mean 'hidden_sizes'"),
        ({"hidden_sizes": [8, 0]}, r"hidden_sizes \(\[8, 0\]\) must hold integers of at least 1"),
        (
            {"input_size": 2, "image_size": 8},
            r"input_size \(2\) for vectors or image_size \(8\) for images, not both",
        ),
        ({"input_size": 0}, r"input_size \(0\) must be at least 1"),
        ({"image_size": 0}, r"image_size \(0\) must be at least 1"),
        ({"num_channels": 0}, r"num_channels \(0\) must be at least 1"),
        ({"hidden_act": "rulu"}, "expected one of"),
        ({"initialization": "Xavier"}, "expected one of"),
        ({"initializer_range": 0}, r"initializer_range \(0\) must be above 0"),
        ({"input_dropout": 1}, r"input_dropout \(1\) must be at least 0 and below 1"),
    ],
)
def test_config_refuses(arguments, message):
    with pytest.raises(Exception, match=message):
        LLMPathMLPConfig(**arguments)


def test_config_of_nothing_is_one_of_mnist_images():
    config = LLMPathMLPConfig()
    assert (config.image_size, config.num_features, config.hidden_sizes) == (28, 784, [128])


@pytest.mark.parametrize("hidden_act", TORCH)
@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_model_equals_torch_layers(hidden_act, normalization, dtype):
    """Values and gradients of `nn.Sequential` with the same weights, while training and after it."""
    model = small(hidden_act=hidden_act, normalization=normalization).to(dtype)
    norm = {"none": lambda _: nn.Identity(), "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[normalization]
    sizes, parts = [5, 7, 7, 6], []
    for before, after in zip(sizes, sizes[1:], strict=False):
        parts += [nn.Linear(before, after), norm(after), TORCH[hidden_act]()]
    reference = nn.Sequential(*parts, nn.Linear(6, 3)).to(dtype)
    names = [
        name for index in range(3) for name in (f"model.layers.{index}.linear", f"model.layers.{index}.norm")
    ]
    own = [model.get_submodule(name) for name in names]
    theirs = [part for index in range(3) for part in parts[3 * index : 3 * index + 2]]
    for ours, module in zip([*own, model.classifier], [*theirs, reference[-1]], strict=True):
        for parameter in ours.parameters():
            parameter.data = torch.randn_like(parameter)
        module.load_state_dict(ours.state_dict())
    tolerance = 1e-5 if dtype is torch.float32 else 1e-12
    model.train(), reference.train()
    for _ in range(3):
        x, labels = torch.randn(11, 5, dtype=dtype), torch.randint(3, (11,))
        for net in (model, reference):
            net.zero_grad()
        logits, loss = reference(x), F.cross_entropy(reference(x), labels)
        if normalization == "batch":  # the line above ran the reference twice
            model(x)
        output = model(x, labels=labels)
        torch.testing.assert_close(output.logits, logits, rtol=0, atol=10 * tolerance)
        loss.backward(), output.loss.backward()
        for ours, theirs_ in zip(model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs_.grad, rtol=0, atol=10 * tolerance)
    model.eval(), reference.eval()
    x = torch.randn(4, 5, dtype=dtype)
    torch.testing.assert_close(model(x).logits, reference(x), rtol=0, atol=10 * tolerance)


def test_residual_layers_are_those_whose_sizes_agree():
    model = small(input_size=7, hidden_sizes=[7, 4, 4, 7], residual=True)
    assert [layer.residual for layer in model.model.layers] == [True, False, True, False]
    x = torch.randn(3, 7)
    states = model(x, output_hidden_states=True).hidden_states
    for layer, before, after in zip(model.model.layers, states, states[1:], strict=False):
        plain = torch.relu(F.linear(before, layer.linear.weight, layer.linear.bias))
        torch.testing.assert_close(after, before + plain if layer.residual else plain)
    assert not any(layer.residual for layer in small().model.layers)


@pytest.mark.parametrize(
    "initialization, expected", [("he", math.sqrt(2 / 300)), ("xavier", math.sqrt(2 / 500)), ("normal", 0.3)]
)
def test_first_weights(initialization, expected):
    model = small(input_size=300, hidden_sizes=[200], initialization=initialization, initializer_range=0.3)
    layer = model.model.layers[0].linear
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert abs(layer.weight.mean().item()) < 0.05 * expected
    assert not layer.bias.any()
    # A normal distribution, not a uniform one: its fourth moment is 3.
    assert (layer.weight / layer.weight.std()).pow(4).mean().item() == pytest.approx(3, abs=0.2)


def test_first_weights_of_residual_layers_shrink_with_their_number():
    model = small(input_size=200, hidden_sizes=[200] * 4, residual=True)
    for layer in model.model.layers:
        assert layer.linear.weight.std().item() == pytest.approx(math.sqrt(2 / 200 / 4), rel=0.02)


def test_images_and_vectors_are_the_same_numbers():
    model = small(image_size=4, num_channels=2)
    images = torch.randn(3, 2, 4, 4)
    assert torch.equal(model(images).logits, model(images.flatten(1)).logits)
    with pytest.raises(ValueError, match=r"shape \(1, 5, 4\); this model reads 2 x 4 x 4 values"):
        model(torch.randn(3, 1, 5, 4))
    with pytest.raises(ValueError, match=r"shape \(3,\); this model reads 5 features"):
        small()(torch.randn(2, 3))


def test_hidden_states_are_the_input_and_what_each_layer_gives():
    model, x = small(), torch.randn(2, 5)
    states = model(x, output_hidden_states=True).hidden_states
    assert [tuple(state.shape) for state in states] == [(2, 5), (2, 7), (2, 7), (2, 6)]
    assert torch.equal(states[0], x)
    assert torch.equal(model.classifier(states[-1]), model(x).logits)
    assert model(x).hidden_states is None


def test_no_hidden_layer_is_a_linear_model():
    model, x = small(hidden_sizes=[]), torch.randn(4, 5)
    torch.testing.assert_close(model(x).logits, F.linear(x, model.classifier.weight, model.classifier.bias))


def test_loss_follows_the_labels():
    x = torch.randn(6, 5)
    three, one = small(), small(num_labels=1)
    classes = torch.tensor([0, 1, 2, -100, 1, 0])
    assert torch.equal(three(x, labels=classes).loss, F.cross_entropy(three(x).logits, classes))
    yes = torch.tensor([0, 1, 1, 0, 1, 0])
    logit = one(x).logits[:, 0]
    torch.testing.assert_close(
        one(x, labels=yes).loss, F.binary_cross_entropy_with_logits(logit, yes.float())
    )
    numbers = torch.randn(6)
    torch.testing.assert_close(one(x, labels=numbers).loss, (logit - numbers).square().mean())
    several = torch.rand(6, 3).round()
    expected = F.binary_cross_entropy_with_logits(three(x).logits, several)
    torch.testing.assert_close(three(x, labels=several).loss, expected)
    regression = small(problem_type="regression")
    torch.testing.assert_close(regression(x, labels=several).loss, F.mse_loss(regression(x).logits, several))


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_label_that_is_no_class_is_told(wrong):
    model = LLMPathMLPForImageClassification(LLMPathMLPConfig(input_size=2, num_labels=3))
    with pytest.raises(ValueError, match=f"label {wrong} is no class; labels run from 0 to 2"):
        model(torch.rand(3, 2), labels=torch.tensor([0, -100, wrong]))


def test_loss_of_a_batch_in_pieces():
    model, x = small(), torch.randn(6, 5)
    labels = torch.tensor([0, 1, 2, 2, 1, -100])
    pieces = [model(x[p], labels=labels[p], num_items_in_batch=5).loss for p in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(pieces), model(x, labels=labels).loss)


def test_checkpointing_counts_a_batch_once():
    running = []
    for checkpointing in (False, True):
        model = small(normalization="batch").train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(1)
        model(torch.randn(8, 5), labels=torch.arange(8) % 3).loss.backward()
        running.append(model.state_dict())
    assert int(running[0]["model.layers.0.norm.num_batches_tracked"]) == 1
    assert all(torch.equal(running[0][name], running[1][name]) for name in running[0])


def test_points_load_by_auto_model(tmp_path):
    small(input_size=2, hidden_sizes=[3], num_labels=1).save_pretrained(tmp_path)
    points = torch.randn(4, 2)
    whole = AutoModelForImageClassification.from_pretrained(tmp_path)
    hidden = AutoModel.from_pretrained(tmp_path)
    assert isinstance(hidden, LLMPathMLPModel)
    assert torch.equal(whole.classifier(hidden(points).last_hidden_state), whole(points).logits)


def digit(mode="L", size=28):
    random = np.random.default_rng(3)
    array = random.integers(0, 256, (size, size), dtype=np.uint8)
    return array, Image.fromarray(array).convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "I;16"])
def test_image_processor_gives_the_standardized_pixels(mode):
    array, image = digit()
    image = Image.fromarray(array.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    values = LLMPathMLPImageProcessor()(image, return_tensors="pt")["pixel_values"]
    expected = (torch.tensor(array, dtype=torch.float64) / 255 - 0.1307) / 0.3081
    assert values.shape == (1, 1, 28, 28) and values.dtype is torch.float32
    torch.testing.assert_close(values[0, 0].double(), expected, rtol=0, atol=1e-5)


def test_image_processor_takes_arrays_tensors_and_colors():
    array, image = digit("RGB")
    processor = LLMPathMLPImageProcessor()
    expected = processor(image, return_tensors="np")["pixel_values"]
    for given in (
        array[None],
        torch.tensor(array[None]),
        np.array(image),
        np.moveaxis(np.array(image), -1, 0),
    ):
        np.testing.assert_array_equal(processor(given, return_tensors="np")["pixel_values"], expected)
    red = Image.new("RGB", (28, 28), (255, 0, 0))
    luma = processor(red, do_normalize=False, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(luma, 76 / 255, atol=1e-6)


def test_what_is_transparent_is_background():
    drawing = np.zeros((28, 28, 4), dtype=np.uint8)
    drawing[10:18, 10:18] = 255
    drawing[:10, :10, :3] = 255  # white, but wholly transparent
    values = LLMPathMLPImageProcessor()(Image.fromarray(drawing), do_normalize=False, return_tensors="np")
    np.testing.assert_array_equal(values["pixel_values"][0, 0] > 0.5, drawing[..., 3] > 0)


def test_image_processor_resizes():
    processor = LLMPathMLPImageProcessor(size={"height": 8, "width": 8}, image_mean=[0.3], image_std=[0.4])
    assert processor(digit(size=40)[1], return_tensors="pt")["pixel_values"].shape == (1, 1, 8, 8)


@pytest.fixture
def saved(tmp_path):
    model = small(
        image_size=28, id2label={0: "zero", 1: "one", 2: "two"}, label2id={"zero": 0, "one": 1, "two": 2}
    )
    folder = tmp_path / "mlp"
    model.save_pretrained(folder)
    LLMPathMLPImageProcessor().save_pretrained(folder)
    digit("RGB")[1].save(tmp_path / "digit.png")
    return model, folder, tmp_path / "digit.png"


def test_pipeline_reads_png_files(saved, monkeypatch):
    model, folder, png = saved
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run code"))
    classify = pipeline("image-classification", str(folder))
    assert type(classify.image_processor) is LLMPathMLPImageProcessor
    assert type(AutoImageProcessor.from_pretrained(folder)) is LLMPathMLPImageProcessor
    found = {row["label"]: row["score"] for row in classify(str(png))}
    expected = model(
        LLMPathMLPImageProcessor()(digit()[1], return_tensors="pt")["pixel_values"]
    ).logits.softmax(-1)
    assert found == pytest.approx(
        dict(zip(("zero", "one", "two"), expected[0].tolist(), strict=True)), abs=1e-5
    )


@pytest.mark.slow
def test_model_and_processor_travel_without_the_package(saved):
    model, folder, png = saved
    code = """
import json, sys
sys.modules["hf_llmpath"] = None
from transformers import pipeline
classify = pipeline("image-classification", sys.argv[1], trust_remote_code=True)
again = sys.argv[1] + "-again"
classify.save_pretrained(again)
both = [classify, pipeline("image-classification", again, trust_remote_code=True)]
print(json.dumps([[pipe(sys.argv[2]) for pipe in both], type(classify.image_processor).__module__]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, folder, png],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr
    (found, again), module = json.loads(done.stdout)
    assert module.startswith("transformers_modules.")
    assert found == again == pipeline("image-classification", str(folder))(str(png))
