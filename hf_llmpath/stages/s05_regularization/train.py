"""Trains the rows of the table on few images, some of them labeled wrong; then, if asked to, a large
network on all images.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForImageClassification

from ...data.images import Images, LabeledImages, load_images
from ...models.image_processing_mlp import LLMPathMLPImageProcessor
from ...runs import Goal, Run, add_mean
from ...training.hardware import precision_for
from ...training.recipes.image_classifier import ImageRegularizers, image_recipe, train_image_classifier
from . import SHOWN, RegularizationSettings
from .augmentation import Augmentation
from .regularized import Regularizers, few_images, measure, pre_activations, with_wrong_labels

LOOKS = 40  # evaluations of a row of the table, for its curves
BINS = np.linspace(-6, 6, 97)
MNIST_GOALS = {"whole/dropout/error": 0.0125, "whole/augmentation/error": 0.01}
LONGEST = 180  # seconds that one training on all of MNIST may take


def train(settings: RegularizationSettings, run: Run) -> None:
    """Fills `run` with the models, their numbers and what the pictures are drawn from."""
    images = load_images(settings.dataset, settings.image_column, settings.label_column)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    processor = LLMPathMLPImageProcessor(
        size={"height": images.size, "width": images.size},
        image_mean=[images.train.mean],
        image_std=[images.train.std],
    )
    metrics: dict[str, Any] = {}
    curves = {}
    for row in SHOWN:
        results = [_table_row(settings, run, images, row, seed) for seed in seeds]
        for name in ("error", "train_error", "test_error", "gap", "loss", "seconds"):
            add_mean(metrics, f"{row}/{name}", [result[name] for result in results])
        curves[row] = results[0]["curve"]
        run.save_model(_model_of(run, f"{row}-{settings.seed}"), processor, name=row)
    run.save_figure_data("curves", curves)

    baseline, main_part = metrics["plain/error"], f"all_augmentation-{settings.seed}"
    metrics |= {
        "error": metrics["all_augmentation/error"],
        "training_seconds": metrics["all_augmentation/seconds"],
    }
    goals = [
        Goal(f"all/{name}", metrics[f"plain/{name}"], higher_is_better=False) for name in ("error", "gap")
    ]
    if settings.epochs:
        goals += _train_whole(settings, run, images, seeds, metrics)
        baseline, main_part = metrics["whole/plain/error"], f"whole-augmentation-{settings.seed}"
    goals.append(Goal("error", baseline, higher_is_better=False))
    model = _model_of(run, main_part)
    run.save_model(model, processor)
    metrics |= {"accuracy": 1 - metrics["error"], "parameters": model.num_parameters()}

    run.progress.say("measuring activations")
    run.save_figure_data(
        "histograms", _histograms(_model_of(run, f"batch_norm-{settings.seed}"), images.held_out)
    )
    run.save_figure_data("distorted", _distorted(images, settings.seed))
    run.report(images.provenance, metrics, {"error": baseline, "accuracy": 1 - baseline}, goals, main="error")


def regularizers(settings: RegularizationSettings) -> dict[str, Regularizers]:
    """What is switched on in each row of the table."""
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


def _table_row(
    settings: RegularizationSettings, run: Run, images: Images, row: str, seed: int
) -> dict[str, Any]:
    """One training on few images: errors on them and on the test images, and both along the way."""
    job = run.job(f"{row}-{seed}")
    if job.done:
        return job.result
    sample, validation = few_images(images.train, settings.per_class, settings.wrong_labels, seed)
    alike = with_wrong_labels(
        images.held_out, settings.wrong_labels, seed
    )  # labeled as carelessly as the sample
    chosen = regularizers(settings)[row]
    model = chosen.model(images, settings.hidden_sizes, seed)
    stops = row == "early_stopping"

    def look(logits: Tensor, labels: Tensor) -> dict[str, float]:
        watched = F.cross_entropy(
            logits, labels
        ).item()  # of the validation images where the training may stop early
        train, test = measure(model, sample), measure(model, alike)
        return {"loss": watched, "train_error": train["error"], "test_error": test["error"]}

    recipe = image_recipe(
        settings.table_epochs,
        len(sample),
        min(settings.batch_size, len(sample)),
        settings.learning_rate,
        weight_decay=chosen.weight_decay,
        schedule="cosine",
        evaluations=min(LOOKS, settings.table_epochs),
        keep_best=stops,
        patience=settings.patience if stops else None,
    )
    watched_images = validation if stops else alike
    regularizers = ImageRegularizers(chosen.augmentation(sample), chosen.constraint, chosen.label_smoothing)
    fit = train_image_classifier(model, sample, watched_images, recipe, job, seed, look, regularizers)
    true, train, test = measure(model, images.held_out), measure(model, sample), measure(model, alike)
    curve = {name: [look[name] for look in fit.evaluations] for name in ("step", "train_error", "test_error")}
    result = {
        "error": true["error"],
        "loss": true["loss"],
        "train_error": train["error"],
        "test_error": test["error"],
        "gap": test["error"] - train["error"],
        "seconds": fit.seconds,
        "curve": curve | {"kept": fit.evaluations[fit.best]["step"] if stops else None},
    }
    return job.finish(result, model)


def _train_whole(
    settings: RegularizationSettings, run: Run, images: Images, seeds: range, metrics: dict[str, Any]
) -> list[Goal]:
    """The large network on all training images: plain, with dropout and max-norm, and with augmentation
    as well.
    """
    limit = settings.large_max_norm
    dropout = {"dropout": settings.large_dropout, "input_dropout": settings.large_input_dropout}
    rows = {
        "plain": Regularizers(),
        "dropout": Regularizers(max_norm=limit, **dropout),
        "augmentation": Regularizers(max_norm=limit, dropout=settings.augmented_dropout, augment=True),
    }
    for row, chosen in rows.items():
        results = [
            _whole_row(settings, run, images, row, chosen, seed)
            for seed in (seeds[:1] if row == "plain" else seeds)
        ]
        for name in ("error", "train_error", "gap", "seconds", "data_share"):
            add_mean(metrics, f"whole/{row}/{name}", [result[name] for result in results])
    metrics |= {
        "error": metrics["whole/augmentation/error"],
        "training_seconds": metrics["whole/augmentation/seconds"],
    }
    if images.known != "mnist":
        return []
    goals = [Goal(name, goal, higher_is_better=False) for name, goal in MNIST_GOALS.items()]
    return goals + [
        Goal(f"whole/{row}/seconds", LONGEST, higher_is_better=False) for row in ("dropout", "augmentation")
    ]


def _whole_row(
    settings: RegularizationSettings, run: Run, images: Images, row: str, chosen: Regularizers, seed: int
) -> dict[str, Any]:
    job = run.job(f"whole-{row}-{seed}")
    if job.done:
        return job.result
    model = chosen.model(images, settings.large_hidden_sizes, seed)
    recipe = image_recipe(
        (settings.dropout_epochs if row == "dropout" else 0) or settings.epochs,
        len(images.train),
        settings.large_batch_size,
        settings.large_learning_rate,
        rate_setting="large_learning_rate",
        weight_decay=settings.large_weight_decay,
        bf16=precision_for(settings.large_precision) == "bf16",
        evaluations=min(4, settings.epochs),
    )
    regularizers = ImageRegularizers(
        chosen.augmentation(images.train), chosen.constraint, chosen.label_smoothing
    )
    fit = train_image_classifier(
        model, images.train, images.held_out, recipe, job, seed, _scores, regularizers
    )
    train, test = measure(model, images.train), measure(model, images.held_out)
    result = {
        "error": test["error"],
        "train_error": train["error"],
        "gap": test["error"] - train["error"],
        "seconds": fit.seconds,
        "data_share": fit.data_share,
    }
    return job.finish(result, model)


def _scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    wrong = (logits.argmax(1) != labels).double().mean()
    return {"loss": F.cross_entropy(logits, labels).item(), "error": wrong.item()}


def _model_of(run: Run, part: str) -> Any:
    return AutoModelForImageClassification.from_pretrained(run.job(part).model_dir)


def _histograms(model: Any, images: LabeledImages) -> dict[str, Any]:
    """Shares of the values that the activations of each layer read, before and after the normalization."""
    layers = []
    for number, (before, after) in enumerate(pre_activations(model, images[:1000]["pixel_values"]), start=1):
        counts = {
            part: np.histogram(values.flatten().numpy(), BINS)[0] / values.numel()
            for part, values in (("before", before), ("after", after))
        }
        layers.append(
            {"layer": number} | {part: np.round(shares, 6).tolist() for part, shares in counts.items()}
        )
    return {"centers": ((BINS[1:] + BINS[:-1]) / 2).round(4).tolist(), "layers": layers}


def _distorted(images: Images, seed: int, count: int = 10, times: int = 3) -> dict[str, Any]:
    """An image of each class as it is, and distorted a few times."""
    first = [
        int(np.flatnonzero(images.train.labels == label)[0])
        for label in np.unique(images.train.labels)[:count]
    ]
    augmentation: Augmentation = Regularizers(augment=True).augmentation(images.train)
    generator = torch.Generator().manual_seed(seed)
    rows = {"as it is": images.train.pixels[first]}
    for time in range(1, times + 1):
        values = augmentation(images.train[first]["pixel_values"], generator).squeeze(1).numpy()
        pixels = 255 * (values * images.train.std + images.train.mean)
        rows[f"distorted {time}"] = np.clip(pixels.round(), 0, 255).astype(np.uint8)
    return {name: pixels.tolist() for name, pixels in rows.items()}
