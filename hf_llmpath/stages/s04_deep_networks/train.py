"""Trains readers of digits in torch and in NumPy, and measures what depth does to gradients."""

import time
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForImageClassification

from ...convert.numpy_network import to_mlp
from ...data.images import Images, load_images
from ...metrics import confusion_matrix
from ...models.configuration_mlp import LLMPathMLPConfig
from ...models.image_processing_mlp import LLMPathMLPImageProcessor
from ...models.modeling_mlp import LLMPathMLPForImageClassification
from ...runs import Goal, Job, Run, add_mean
from ...scratch import Adam, CategoricalCrossEntropy, feed_forward
from ...training.hardware import one_thread
from ...training.numpy_loop import Examples, fit_numpy
from ...training.recipe import Recipe
from ...training.recipes.image_classifier import train_image_classifier
from . import ACTIVATIONS, DEEP, INITIALIZATIONS, DeepNetworksSettings
from .depth import activation_histograms, deep_network, norms_by_layer

PROBED = 256  # images in the batch whose gradients are measured
LONGEST = 60  # seconds that one training on MNIST may take
SMALL = 50_000_000  # multiplications in a forward pass, below which one thread is faster than several
LINEAR_RATE = 2e-2  # learning rate of the baseline, whose convex loss allows a higher rate than a network's
MOST_WAITING = 0.05  # share of the time of its steps that a training may spend waiting for a batch
GOALS = {"digits": {"accuracy": 0.97}, "mnist": {"accuracy": 0.984, "numpy/accuracy": 0.975}}


def train(settings: DeepNetworksSettings, run: Run) -> None:
    """Trains the models and saves them in `run`, with their metrics and the data of the pictures."""
    images = load_images(settings.dataset, settings.image_column, settings.label_column)
    examples = len(images.train)
    size = {"height": images.size, "width": images.size}
    mean, deviation = [images.train.mean], [images.train.std]
    processor = LLMPathMLPImageProcessor(size=size, image_mean=mean, image_std=deviation)

    def trained(name: str, config: LLMPathMLPConfig, recipe: Recipe, seed: int) -> dict[str, Any]:
        work = partial(train_network, images=images, config=config, recipe=recipe, seed=seed)
        return run.once(name, work)

    # The reader of digits, and softmax regression as the baseline.
    config = _config(
        images,
        hidden_sizes=list(settings.hidden_sizes),
        dropout=settings.dropout,
        input_dropout=settings.input_dropout,
    )
    recipe = settings.training.recipe(
        examples,
        weight_decay=settings.weight_decay,
        accumulation=settings.accumulation,
        bf16=settings.mixed_precision == "bf16",
        evaluations=min(5, settings.training.epochs),
    )
    results = [
        trained(f"reader-{seed}", config, recipe, seed)
        for seed in range(settings.seed, settings.seed + settings.seeds)
    ]
    metrics: dict[str, Any] = {}
    for name in ("accuracy", "loss", "training_seconds", "data_share", "images_per_second"):
        add_mean(metrics, name, [result[name] for result in results])
    metrics["error"] = 1 - metrics["accuracy"]
    metrics["slowest_seconds"] = max(result["training_seconds"] for result in results)
    model = AutoModelForImageClassification.from_pretrained(run.job(f"reader-{settings.seed}").model_dir)
    run.save_model(model, processor)
    metrics["parameters"] = model.num_parameters()

    recipe = settings.training.recipe(examples, learning_rate=LINEAR_RATE)
    linear = trained("linear", _config(images, hidden_sizes=[]), recipe, settings.seed)

    # The NumPy engine on the same images; its network becomes a torch model with the same answers.
    result = run.once("numpy", lambda job: train_in_numpy(job, images, settings))
    run.save_model(
        AutoModelForImageClassification.from_pretrained(run.job("numpy").model_dir), processor, name="numpy"
    )
    metrics |= {f"numpy/{name}": value for name, value in result.items()}

    # Networks of the same depth, trained by the same recipe, show which settings let a deep network learn.
    for name, changes in DEEP.items():
        config = _config(images, hidden_sizes=[settings.width] * settings.depth, **changes)
        result = trained(f"deep-{name}", config, settings.deep.recipe(examples), settings.seed)
        metrics[f"deep/{name}/accuracy"] = result["accuracy"]

    run.progress.say("measuring gradients and answers")
    norms = measure_depth(settings, run, images)
    metrics |= {f"gradient_ratio/{name}": values[0] / values[-1] for name, values in norms.items()}
    save_answers(run, model, images)
    baselines = {"accuracy": linear["accuracy"], "error": 1 - linear["accuracy"], "loss": linear["loss"]}
    goals = _goals(images, settings.depth, linear["accuracy"])
    run.report(images.provenance, metrics, baselines, goals, main="accuracy")


def _goals(images: Images, depth: int, linear: float) -> list[Goal]:
    known = GOALS.get(images.known or images.name, {"accuracy": linear})
    goals = [Goal(name, goal, higher_is_better=True) for name, goal in known.items()]
    if images.known == "mnist":
        for name in ("slowest_seconds", "numpy/seconds"):
            goals.append(Goal(name, LONGEST, higher_is_better=False))
        goals.append(Goal("data_share", MOST_WAITING, higher_is_better=False))
    if depth == 20:  # the limits below hold for the default depth
        goals.append(Goal("gradient_ratio/sigmoid_xavier", 1e-6, higher_is_better=False))
        # The gradient neither vanishes nor explodes by more than a factor of ten.
        goals.append(Goal("gradient_ratio/relu_he", 0.1, higher_is_better=True))
        goals.append(Goal("gradient_ratio/relu_he", 10, higher_is_better=False))
    return goals


def _config(images: Images, **arguments: Any) -> LLMPathMLPConfig:
    names = dict(enumerate(images.classes))
    label2id = {name: label for label, name in names.items()}
    return LLMPathMLPConfig(image_size=images.size, id2label=names, label2id=label2id, **arguments)


def _scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    right = (logits.argmax(-1) == labels).double().mean().item()  # (images, classes) -> (images,) -> share
    return {"loss": F.cross_entropy(logits, labels).item(), "accuracy": right}


def train_network(
    job: Job, images: Images, config: LLMPathMLPConfig, recipe: Recipe, seed: int
) -> dict[str, float]:
    """Trains a new network with the Accelerate loop; returns its last evaluation and its speed."""
    torch.manual_seed(seed)  # of the initial weights
    model = LLMPathMLPForImageClassification(config)
    with one_thread() if recipe.batch_size * model.num_parameters() < SMALL else nullcontext():
        fit = train_image_classifier(model, images.train, images.held_out, recipe, job, seed, _scores)
    job.save_model(model)
    return {
        "accuracy": fit.evaluations[-1]["accuracy"],
        "loss": fit.evaluations[-1]["loss"],
        "training_seconds": fit.seconds,
        "data_share": fit.data_share,
        "images_per_second": fit.images_per_second,
    }


def train_in_numpy(job: Job, images: Images, settings: DeepNetworksSettings) -> dict[str, float]:
    """Trains a network with the NumPy engine and saves it as a torch model."""
    (x, labels), (test_x, test_labels) = (
        (split[:]["pixel_values"].flatten(1).numpy(), split.labels)  # (images, pixels)
        for split in (images.train, images.held_out)
    )
    recipe, sizes = settings.numpy, (x.shape[1], *settings.numpy_hidden_sizes, len(images.classes))
    network = feed_forward(sizes, "relu", np.random.default_rng(settings.seed))
    began = time.perf_counter()
    fit = fit_numpy(
        network,
        Examples(x, labels),
        CategoricalCrossEntropy(),
        Adam(network, recipe.learning_rate),
        job,
        recipe.epochs,
        recipe.batch_size,
        settings.seed,
    )
    fit.require_finite(recipe.learning_rate, "numpy.learning_rate")
    seconds = time.perf_counter() - began
    model, logits = to_mlp(network, image_size=images.size), network.predict(test_x)  # (images, classes)
    with torch.no_grad():
        difference = np.abs(model(torch.from_numpy(test_x)).logits.numpy() - logits).max()
    job.save_model(model)
    accuracy = float((logits.argmax(axis=1) == test_labels).mean())
    return {"accuracy": accuracy, "seconds": seconds, "largest_difference": float(difference)}


def measure_depth(settings: DeepNetworksSettings, run: Run, images: Images) -> dict[str, list[float]]:
    """Measures gradient norms by layer before training, for each activation and initialization.

    It also saves the data of the pictures.
    """
    batch = images.train[: min(PROBED, len(images.train))]
    shape = (len(images.classes), settings.depth, settings.width, settings.seed)
    configs: dict[str, dict[str, Any]] = {
        f"{act}_{init}": {"hidden_act": act, "initialization": init}
        for act in ACTIVATIONS
        for init in INITIALIZATIONS
    }
    for name in ("sigmoid_xavier", "relu_he"):
        configs[f"{name}_residual"] = configs[name] | {"residual": True}
    norms = {name: norms_by_layer(batch, *shape, **config) for name, config in configs.items()}
    run.save_figure_data("gradient_norms", norms)
    histograms = {
        name: activation_histograms(deep_network(images.size**2, *shape, **configs[name]), batch)
        for name in ("sigmoid_xavier", "relu_normal", "relu_he", "relu_he_residual")
    }
    run.save_figure_data("activations", histograms)
    return norms


@torch.no_grad()
def save_answers(run: Run, model: Any, images: Images) -> None:
    """Saves the confusion matrix and, for the page, the first held-out image of each class (at most ten)."""
    model.eval()
    pixels, labels = images.held_out[:]["pixel_values"], images.held_out.labels
    # The images pass in batches, which bounds the memory: (batch, classes) -> (batch,), then (images,).
    answers = torch.cat([model(batch).logits.argmax(-1) for batch in pixels.split(2000)])
    counts = confusion_matrix(answers.tolist(), labels.tolist(), labels=range(len(images.classes)))
    run.save_figure_data("confusion", {"counts": counts.tolist(), "classes": images.classes})
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:10]]
    examples = [
        {"label": images.classes[labels[row]], "pixels": images.held_out.pixels[row].tolist()}
        for row in first
    ]
    run.save_figure_data("examples", examples)
