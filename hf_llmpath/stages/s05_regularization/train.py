"""Trains networks with different regularizers on a few images, some of which are labeled wrong.

If the settings ask for it, a large network is then trained on all images.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForImageClassification

from ...data.images import Images, LabeledImages, load_images
from ...models.image_processing_mlp import LLMPathMLPImageProcessor
from ...runs import Goal, Job, Run, add_mean
from ...training.hardware import precision_for
from ...training.recipes.image_classifier import train_image_classifier
from . import SHOWN, RegularizationSettings, WholeRecipe
from .augmentation import Augmentation
from .regularized import Regularizers, few_images, measure, pre_activations, with_wrong_labels

EVALUATIONS = 40  # of a training in the comparison, for its curves
BINS = np.linspace(-6, 6, 97)  # edges of the histogram bins
MNIST_GOALS = {"whole/dropout/error": 0.0125, "whole/augmentation/error": 0.01}
LONGEST = 180  # seconds that one training on all of MNIST may take


def train(settings: RegularizationSettings, run: Run) -> None:
    """Trains the models and saves them in `run`, with their metrics and the data of the pictures."""
    images = load_images(settings.dataset, settings.image_column, settings.label_column)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    size = {"height": images.size, "width": images.size}
    mean, deviation = [images.train.mean], [images.train.std]
    processor = LLMPathMLPImageProcessor(size=size, image_mean=mean, image_std=deviation)
    metrics: dict[str, Any] = {}
    curves = {}
    for row in SHOWN:
        work = partial(train_on_few, settings=settings, images=images, row=row)
        results = [run.once(f"{row}-{seed}", partial(work, seed=seed)) for seed in seeds]
        for name in ("error", "train_error", "test_error", "gap", "loss", "seconds"):
            add_mean(metrics, f"{row}/{name}", [result[name] for result in results])
        curves[row] = results[0]["curve"]
        run.save_model(_model(run, f"{row}-{settings.seed}"), processor, name=row)
    run.save_figure_data("curves", curves)

    baseline, main = metrics["plain/error"], f"all_augmentation-{settings.seed}"
    metrics["error"] = metrics["all_augmentation/error"]
    metrics["training_seconds"] = metrics["all_augmentation/seconds"]
    goals = [
        Goal(f"all/{name}", metrics[f"plain/{name}"], higher_is_better=False) for name in ("error", "gap")
    ]
    if settings.whole.epochs:
        goals += train_on_all(settings, run, images, seeds, metrics)
        baseline, main = metrics["whole/plain/error"], f"whole-augmentation-{settings.seed}"
    goals.append(Goal("error", baseline, higher_is_better=False))
    model = _model(run, main)
    run.save_model(model, processor)
    metrics |= {"accuracy": 1 - metrics["error"], "parameters": model.num_parameters()}

    run.progress.say("measuring activations")
    normalized = _model(run, f"batch_norm-{settings.seed}")
    run.save_figure_data("histograms", _histograms(normalized, images.held_out))
    run.save_figure_data("distorted", _distorted(images, settings.seed))
    run.report(images.provenance, metrics, {"error": baseline, "accuracy": 1 - baseline}, goals, main="error")


def regularizers(settings: RegularizationSettings) -> dict[str, Regularizers]:
    """Returns the regularizers of each row of the comparison."""
    dropout = {"dropout": settings.dropout, "input_dropout": settings.input_dropout}
    three = dropout | {"normalization": "batch", "weight_decay": settings.weight_decay}
    return {
        "plain": Regularizers(),
        "dropout": Regularizers(**dropout),
        "batch_norm": Regularizers(normalization="batch"),
        "weight_decay": Regularizers(weight_decay=settings.weight_decay),
        "all": Regularizers(**three),
        "layer_norm": Regularizers(normalization="layer"),
        "max_norm": Regularizers(max_norm=settings.max_norm),
        "label_smoothing": Regularizers(label_smoothing=settings.label_smoothing),
        "early_stopping": Regularizers(),
        "augmentation": Regularizers(augment=True),
        "all_augmentation": Regularizers(**three, augment=True),
    }


def train_on_few(
    job: Job, settings: RegularizationSettings, images: Images, row: str, seed: int
) -> dict[str, Any]:
    """Trains one network of the comparison; returns its errors on its few images and on the test images."""
    sample, validation = few_images(images.train, settings.per_class, settings.wrong_labels, seed)
    # The test images get the same share of wrong labels as the sample.
    alike = with_wrong_labels(images.held_out, settings.wrong_labels, seed)
    chosen = regularizers(settings)[row]
    model = chosen.model(images, settings.hidden_sizes, seed)
    stops = row == "early_stopping"

    def errors(logits: Tensor, labels: Tensor) -> dict[str, float]:
        train, test = measure(model, sample), measure(model, alike)
        # If the training may stop early, `logits` and `labels` are those of the validation images.
        loss = F.cross_entropy(logits, labels).item()
        return {"loss": loss, "train_error": train["error"], "test_error": test["error"]}

    recipe = settings.training.recipe(
        len(sample),
        weight_decay=chosen.weight_decay,
        schedule="cosine",
        evaluations=min(EVALUATIONS, settings.training.epochs),
        keep_best=stops,
        patience=settings.patience if stops else None,
    )
    evaluated = validation if stops else alike
    fit = train_image_classifier(
        model, sample, evaluated, recipe, job, seed, errors, chosen.in_training(sample)
    )
    job.save_model(model)
    true, train, test = measure(model, images.held_out), measure(model, sample), measure(model, alike)
    curve = {name: [row[name] for row in fit.evaluations] for name in ("step", "train_error", "test_error")}
    return {
        "error": true["error"],
        "loss": true["loss"],
        "train_error": train["error"],
        "test_error": test["error"],
        "gap": test["error"] - train["error"],
        "seconds": fit.seconds,
        "curve": curve | {"kept": fit.evaluations[fit.best]["step"] if stops else None},
    }


def train_on_all(
    settings: RegularizationSettings, run: Run, images: Images, seeds: range, metrics: dict[str, Any]
) -> list[Goal]:
    """Trains the large network on all images: plain, with dropout and max-norm, and with augmentation too.

    The metrics are added to `metrics`; the goals are returned.
    """
    whole = settings.whole
    dropout = {"dropout": whole.dropout, "input_dropout": whole.input_dropout}
    rows = {
        "plain": Regularizers(),
        "dropout": Regularizers(max_norm=whole.max_norm, **dropout),
        "augmentation": Regularizers(max_norm=whole.max_norm, dropout=whole.augmented_dropout, augment=True),
    }
    for row, chosen in rows.items():
        work = partial(train_large, whole=whole, images=images, row=row, chosen=chosen)
        results = [
            run.once(f"whole-{row}-{seed}", partial(work, seed=seed))
            for seed in (seeds[:1] if row == "plain" else seeds)
        ]
        for name in ("error", "train_error", "gap", "seconds", "data_share"):
            add_mean(metrics, f"whole/{row}/{name}", [result[name] for result in results])
    metrics["error"] = metrics["whole/augmentation/error"]
    metrics["training_seconds"] = metrics["whole/augmentation/seconds"]
    if images.known != "mnist":
        return []
    limits = MNIST_GOALS | {f"whole/{row}/seconds": LONGEST for row in ("dropout", "augmentation")}
    return [Goal(name, limit, higher_is_better=False) for name, limit in limits.items()]


def train_large(
    job: Job, whole: WholeRecipe, images: Images, row: str, chosen: Regularizers, seed: int
) -> dict[str, float]:
    """Trains one network on all images and returns its errors and its speed."""
    epochs = whole.dropout_epochs if row == "dropout" and whole.dropout_epochs else whole.epochs
    recipe = replace(whole, epochs=epochs).recipe(
        len(images.train),
        weight_decay=whole.weight_decay,
        bf16=precision_for(whole.precision) == "bf16",
        evaluations=min(4, whole.epochs),
    )
    model, in_training = chosen.model(images, whole.hidden_sizes, seed), chosen.in_training(images.train)
    fit = train_image_classifier(
        model, images.train, images.held_out, recipe, job, seed, _scores, in_training
    )
    job.save_model(model)
    train, test = measure(model, images.train)["error"], measure(model, images.held_out)["error"]
    errors = {"error": test, "train_error": train, "gap": test - train}
    return errors | {"seconds": fit.seconds, "data_share": fit.data_share}


def _scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    wrong = (logits.argmax(1) != labels).double().mean()  # (images, classes) -> (images,) -> share
    return {"loss": F.cross_entropy(logits, labels).item(), "error": wrong.item()}


def _model(run: Run, name: str) -> Any:
    return AutoModelForImageClassification.from_pretrained(run.job(name).model_dir)


def _histograms(model: Any, images: LabeledImages) -> dict[str, Any]:
    """Computes the distribution of each layer's activation inputs, before and after normalization."""
    layers: list[dict[str, Any]] = []
    for number, values in enumerate(pre_activations(model, images[:1000]["pixel_values"]), start=1):
        layers.append({"layer": number})
        for name, tensor in zip(("before", "after"), values, strict=True):  # (images, units)
            shares = np.histogram(tensor.flatten().numpy(), BINS)[0] / tensor.numel()  # (bins,)
            layers[-1][name] = np.round(shares, 6).tolist()
    return {"centers": ((BINS[1:] + BINS[:-1]) / 2).round(4).tolist(), "layers": layers}


def _distorted(images: Images, seed: int, count: int = 10, times: int = 3) -> dict[str, Any]:
    """Returns an image of each class, undistorted and distorted several times."""
    labels = images.train.labels
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:count]]
    augmentation: Augmentation = Regularizers(augment=True).augmentation(images.train)
    generator = torch.Generator().manual_seed(seed)
    rows = {"as it is": images.train.pixels[first]}
    for time in range(1, times + 1):
        # (count, 1, size, size) -> (count, size, size)
        values = augmentation(images.train[first]["pixel_values"], generator).squeeze(1)
        # Undo the standardization.
        pixels = 255 * (values.numpy() * images.train.std + images.train.mean)
        rows[f"distorted {time}"] = np.clip(pixels.round(), 0, 255).astype(np.uint8)
    return {name: pixels.tolist() for name, pixels in rows.items()}
