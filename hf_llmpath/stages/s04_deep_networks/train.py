"""Trains the reader of digits in torch and in NumPy, then measures what depth does to gradients."""

import time
from contextlib import nullcontext
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
from ...runs import Goal, Run, add_mean
from ...scratch import Adam, CategoricalCrossEntropy, feed_forward
from ...training.accelerate_loop import LoopRecipe, train_with_accelerate
from ...training.numpy_loop import Examples, fit_numpy
from ...training.threads import one_thread
from . import ACTIVATIONS, DEEP, INITIALIZATIONS, DeepNetworksSettings
from .depth import activation_histograms, deep_network, first_over_last, norms_by_layer

PROBED = 256  # images in the batch whose gradients are measured
LONGEST = 60  # seconds that one training on MNIST may take
SMALL = 50_000_000  # products in a forward pass, below which a step is too short to be shared between threads
LINEAR_RATE = 2e-2  # of the baseline, whose loss is convex: it takes a higher rate than a network
MOST_WAITING = 0.05  # share of its steps that may be spent waiting for a batch
GOALS = {"digits": {"accuracy": 0.97}, "mnist": {"accuracy": 0.984, "numpy/accuracy": 0.975}}


def train(settings: DeepNetworksSettings, run: Run) -> None:
    """Fills `run` with the models, their numbers and what the pictures are drawn from."""
    images = load_images(settings.dataset, settings.image_column, settings.label_column)
    processor = LLMPathMLPImageProcessor(
        size={"height": images.size, "width": images.size},
        image_mean=[images.train.mean],
        image_std=[images.train.std],
    )
    results = [
        _reader(settings, run, images, seed) for seed in range(settings.seed, settings.seed + settings.seeds)
    ]
    metrics: dict[str, Any] = {}
    for name in ("accuracy", "loss", "training_seconds", "data_share", "images_per_second"):
        add_mean(metrics, name, [result[name] for result in results])
    metrics |= {
        "error": 1 - metrics["accuracy"],
        "slowest_seconds": max(r["training_seconds"] for r in results),
    }
    model = AutoModelForImageClassification.from_pretrained(run.job(f"reader-{settings.seed}").model_dir)
    run.save_model(model, processor)
    metrics["parameters"] = model.num_parameters()
    linear = _linear(settings, run, images)
    metrics |= _numpy(settings, run, images, processor)
    metrics |= _deep(settings, run, images)

    run.progress.say("measuring gradients and answers")
    ratios = _gradients(settings, run, images)
    metrics |= {f"gradient_ratio/{name}": ratio for name, ratio in ratios.items()}
    _answers(run, model, images)
    run.report(
        images.provenance,
        metrics,
        {"accuracy": linear["accuracy"], "error": 1 - linear["accuracy"], "loss": linear["loss"]},
        _goals(images, settings.depth, linear["accuracy"]),
        main="accuracy",
    )


def _goals(images: Images, depth: int, linear: float) -> list[Goal]:
    known = GOALS.get(images.known or images.name, {"accuracy": linear})
    goals = [Goal(name, goal, higher_is_better=True) for name, goal in known.items()]
    if images.known == "mnist":
        goals += [
            Goal(name, LONGEST, higher_is_better=False) for name in ("slowest_seconds", "numpy/seconds")
        ]
        goals.append(Goal("data_share", MOST_WAITING, higher_is_better=False))
    if depth == 20:
        goals.append(Goal("gradient_ratio/sigmoid_xavier", 1e-6, higher_is_better=False))
        goals.append(Goal("gradient_ratio/relu_he", 0.1, higher_is_better=True))
        goals.append(Goal("gradient_ratio/relu_he", 10, higher_is_better=False))
    return goals


def _config(images: Images, **arguments: Any) -> LLMPathMLPConfig:
    names = dict(enumerate(images.classes))
    return LLMPathMLPConfig(
        image_size=images.size,
        id2label=names,
        label2id={name: number for number, name in names.items()},
        **arguments,
    )


def _scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    right = (logits.argmax(-1) == labels).double().mean().item()
    return {"loss": F.cross_entropy(logits, labels).item(), "accuracy": right}


def _trained(
    run: Run, images: Images, name: str, config: LLMPathMLPConfig, recipe: LoopRecipe, seed: int
) -> dict[str, Any]:
    """One training through the Accelerate loop, as a part of the run; reports what it reaches at its end."""
    job = run.job(name)
    if job.done:
        return job.result
    torch.manual_seed(seed)
    model = LLMPathMLPForImageClassification(config)
    with one_thread() if recipe.batch_size * model.num_parameters() < SMALL else nullcontext():
        fit = train_with_accelerate(model, images.train, images.held_out, recipe, job, seed, _scores)
    last = fit.evaluations[-1]
    result = {
        "accuracy": last["accuracy"],
        "loss": last["loss"],
        "training_seconds": fit.seconds,
        "data_share": fit.data_share,
        "images_per_second": fit.images_per_second,
    }
    return job.finish(result, model)


def _reader(settings: DeepNetworksSettings, run: Run, images: Images, seed: int) -> dict[str, Any]:
    recipe = LoopRecipe(
        epochs=settings.epochs,
        batch_size=min(settings.batch_size, len(images.train)),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        accumulation=settings.accumulation,
        mixed_precision=settings.mixed_precision,
        evaluations=min(5, settings.epochs),
    )
    config = _config(
        images,
        hidden_sizes=list(settings.hidden_sizes),
        dropout=settings.dropout,
        input_dropout=settings.input_dropout,
    )
    return _trained(run, images, f"reader-{seed}", config, recipe, seed)


def _linear(settings: DeepNetworksSettings, run: Run, images: Images) -> dict[str, Any]:
    """The baseline: softmax regression, the same loop without a hidden layer."""
    batch = min(settings.batch_size, len(images.train))
    recipe = LoopRecipe(epochs=settings.epochs, batch_size=batch, learning_rate=LINEAR_RATE)
    return _trained(run, images, "linear", _config(images, hidden_sizes=[]), recipe, settings.seed)


def _numpy(settings: DeepNetworksSettings, run: Run, images: Images, processor: Any) -> dict[str, float]:
    """The NumPy engine on the same images; its network is saved as a torch model that gives the same answers."""
    train, test = (_rows(split) for split in (images.train, images.held_out))
    sizes = (images.size**2, *settings.numpy_hidden_sizes, len(images.classes))
    network = feed_forward(sizes, "relu", np.random.default_rng(settings.seed))
    job = run.job("numpy")
    if not job.done:
        began = time.perf_counter()
        optimizer = Adam(network, settings.numpy_learning_rate)
        fit = fit_numpy(
            network,
            Examples(*train),
            CategoricalCrossEntropy(),
            optimizer,
            job,
            settings.numpy_epochs,
            settings.numpy_batch_size,
            settings.seed,
        )
        fit.require_finite(settings.numpy_learning_rate, "numpy_learning_rate")
        seconds = time.perf_counter() - began
        model = to_mlp(network, image_size=images.size)
        logits = network.predict(test[0])
        with torch.no_grad():
            difference = np.abs(model(torch.from_numpy(test[0])).logits.numpy() - logits).max()
        accuracy = float((logits.argmax(axis=1) == test[1]).mean())
        job.finish({"accuracy": accuracy, "seconds": seconds, "largest_difference": float(difference)}, model)
    model = AutoModelForImageClassification.from_pretrained(job.model_dir)
    run.save_model(model, processor, name="numpy")
    return {f"numpy/{name}": value for name, value in job.result.items()}


def _rows(split: Any) -> tuple[np.ndarray, np.ndarray]:
    batch = split[:]
    return batch["pixel_values"].flatten(1).numpy(), batch["labels"].numpy()


def _deep(settings: DeepNetworksSettings, run: Run, images: Images) -> dict[str, float]:
    """Equally deep networks, trained with the same recipe: which of them learn?"""
    recipe = LoopRecipe(
        epochs=settings.deep_epochs,
        batch_size=min(settings.batch_size, len(images.train)),
        learning_rate=settings.deep_learning_rate,
        rate_setting="deep_learning_rate",
    )
    found = {}
    for name, changes in DEEP.items():
        config = _config(images, hidden_sizes=[settings.width] * settings.depth, **changes)
        found[f"deep/{name}/accuracy"] = _trained(run, images, f"deep-{name}", config, recipe, settings.seed)[
            "accuracy"
        ]
    return found


def _gradients(settings: DeepNetworksSettings, run: Run, images: Images) -> dict[str, float]:
    """First layer's gradient norm over the last's, by activation and initialization; saves the pictures'
    numbers.
    """
    batch = images.train[: min(PROBED, len(images.train))]
    shape = (len(images.classes), settings.depth, settings.width, settings.seed)
    nets = {
        f"{act}_{init}": {"hidden_act": act, "initialization": init}
        for act in ACTIVATIONS
        for init in INITIALIZATIONS
    }
    nets |= {f"{name}_residual": nets[name] | {"residual": True} for name in ("sigmoid_xavier", "relu_he")}
    norms = {name: norms_by_layer(batch, *shape, **config) for name, config in nets.items()}
    run.save_figure_data("gradient_norms", norms)
    features = images.size**2
    classes, depth, width, seed = shape
    histograms = {
        name: activation_histograms(deep_network(features, classes, depth, width, seed, **nets[name]), batch)
        for name in ("sigmoid_xavier", "relu_normal", "relu_he", "relu_he_residual")
    }
    run.save_figure_data("activations", histograms)
    return {name: first_over_last(values) for name, values in norms.items()}


@torch.no_grad()
def _answers(run: Run, model: Any, images: Images) -> None:
    """The confusion matrix, and images for the page: the first of each class that is held out."""
    model.eval()
    batch = images.held_out[:]
    answers = torch.cat([model(part).logits.argmax(-1) for part in batch["pixel_values"].split(2000)])
    labels = images.held_out.labels
    counts = confusion_matrix(answers.tolist(), labels.tolist(), labels=range(len(images.classes)))
    run.save_figure_data("confusion", {"counts": counts.tolist(), "classes": images.classes})
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:10]]
    examples = [
        {"label": images.classes[labels[row]], "pixels": images.held_out.pixels[row].tolist()}
        for row in first
    ]
    run.save_figure_data("examples", examples)
