"""Regularizers of an image classifier, small samples with wrong labels, and measurements of overfitting."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...data.images import Images, LabeledImages
from ...models.configuration_mlp import LLMPathMLPConfig
from ...models.layers_regularization import max_norm_
from ...models.modeling_mlp import LLMPathMLPForImageClassification
from ...training.recipes.image_classifier import ImageRegularizers
from .augmentation import Augmentation

MEASURED_AT_ONCE = 2500  # images per forward pass of a measurement


@dataclass(frozen=True)
class Regularizers:
    """The choice of regularizers; by default all are off.

    Attributes:
        dropout, input_dropout: probability that a hidden unit, or an input, is switched off.
        normalization: between weights and activation.
        weight_decay: of AdamW, on weight matrices only; a step subtracts learning rate x this x weight.
        max_norm: longest weight vector that may enter a hidden unit, or None for no limit.
        augment: whether every batch is distorted.
        label_smoothing: share of the target that goes to all classes alike.
    """

    dropout: float = 0.0
    input_dropout: float = 0.0
    normalization: Literal["none", "batch", "layer"] = "none"
    weight_decay: float = 0.0
    max_norm: float | None = None
    augment: bool = False
    label_smoothing: float = 0.0

    def model(
        self, images: Images, hidden_sizes: Iterable[int], seed: int
    ) -> LLMPathMLPForImageClassification:
        """An untrained perceptron for these images."""
        torch.manual_seed(seed)
        labels = dict(enumerate(images.classes))
        config = LLMPathMLPConfig(
            image_size=images.size,
            hidden_sizes=list(hidden_sizes),
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            normalization=self.normalization,
            id2label=labels,
            label2id={name: number for number, name in labels.items()},
        )
        return LLMPathMLPForImageClassification(config)

    def augmentation(self, images: LabeledImages) -> Augmentation | None:
        """The distortion of batches of `images`, if any; what comes in from outside is background."""
        if not self.augment:
            return None
        return Augmentation(images.pixels.shape[1], fill=-images.mean / images.std)

    @property
    def constraint(self) -> Callable[[nn.Module], None] | None:
        """The max-norm constraint on every hidden unit, if any; called with the model after every step."""
        if self.max_norm is None:
            return None
        return lambda model: max_norm_([layer.linear.weight for layer in model.model.layers], self.max_norm)

    def in_training(self, images: LabeledImages) -> ImageRegularizers:
        """The part that acts on batches, weights, and targets, for a training on `images`."""
        return ImageRegularizers(self.augmentation(images), self.constraint, self.label_smoothing)


def with_switches(names: Iterable[str], switches: dict[str, dict[str, Any]]) -> Regularizers:
    """The regularizers of several switches at once."""
    chosen = Regularizers()
    for name in names:
        chosen = dataclasses.replace(chosen, **switches[name])
    return chosen


def small_sample(images: LabeledImages, per_class: int, seed: int) -> tuple[LabeledImages, LabeledImages]:
    """Two disjoint samples with `per_class` images of every class: for training, and for early stopping.

    Raises:
        ValueError: a class has fewer than twice as many images.
    """
    random = np.random.default_rng(seed)
    rows = [np.flatnonzero(images.labels == label) for label in np.unique(images.labels)]
    fewest = min(map(len, rows))
    if fewest < 2 * per_class:
        raise ValueError(
            f"per_class ({per_class}) must be at most half of the images of the smallest class ({fewest})"
        )
    shuffled = [random.permutation(of_class) for of_class in rows]
    train = np.concatenate([of_class[:per_class] for of_class in shuffled])
    validation = np.concatenate([of_class[per_class : 2 * per_class] for of_class in shuffled])
    return images.part(train), images.part(validation)


def with_wrong_labels(images: LabeledImages, share: float, seed: int) -> LabeledImages:
    """The same images; a `share` of them gets the label of another class."""
    random = np.random.default_rng([seed, 1])
    labels, classes = images.labels.copy(), np.unique(images.labels)
    rows = random.permutation(len(labels))[: round(share * len(labels))]
    others = random.integers(1, len(classes), len(rows))
    labels[rows] = classes[(np.searchsorted(classes, labels[rows]) + others) % len(classes)]
    return LabeledImages(images.pixels, labels, images.mean, images.std)


def few_images(
    images: LabeledImages, per_class: int, wrong: float, seed: int
) -> tuple[LabeledImages, LabeledImages]:
    """Small samples for training and for early stopping, a share `wrong` of each labeled wrong."""
    train, validation = small_sample(images, per_class, seed)
    return with_wrong_labels(train, wrong, seed), with_wrong_labels(validation, wrong, seed + 1)


@torch.no_grad()
def measure(model: nn.Module, images: LabeledImages) -> dict[str, float]:
    """`loss` (nats per image) and `error` (share of wrong answers) in eval mode; the mode is restored."""
    was_training = model.training
    model.eval()
    loss, wrong = 0.0, 0
    for start in range(0, len(images), MEASURED_AT_ONCE):
        batch = images[start : start + MEASURED_AT_ONCE]
        logits = model(batch["pixel_values"]).logits
        loss += nn.functional.cross_entropy(logits, batch["labels"], reduction="sum").item()
        wrong += int((logits.argmax(1) != batch["labels"]).sum())
    model.train(was_training)
    return {"loss": loss / len(images), "error": wrong / len(images)}


@torch.no_grad()
def pre_activations(model: nn.Module, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each hidden layer the input and output of its normalization in eval mode, `(batch, units)` each."""
    pairs: list[tuple[Tensor, Tensor]] = []
    hooks = [
        layer.norm.register_forward_hook(lambda _, inputs, output: pairs.append((inputs[0], output)))
        for layer in model.model.layers
    ]
    try:
        model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs
