"""Provides regularizers of an image classifier, samples with wrong labels, and measures of overfitting."""

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

MEASURED_AT_ONCE = 2500  # images per forward pass of a measurement, which bounds its memory


@dataclass(frozen=True)
class Regularizers:
    """A choice of regularizers; by default, all are off.

    Attributes:
        dropout, input_dropout: the probabilities that a hidden unit, and an input, are set to zero.
        normalization: the kind of normalization between weights and activation.
        weight_decay: the weight decay λ of AdamW, on weight matrices only: a step subtracts ηλ times the
            weight, where η is the learning rate.
        max_norm: the length limit of the weight vector into a hidden unit, or None for no limit.
        augment: whether every batch is distorted.
        label_smoothing: the share of the target that is spread evenly over all classes.
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
        """Makes an untrained perceptron for these images."""
        torch.manual_seed(seed)  # of the initial weights
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
        """Returns the distortion of batches of `images`, if any."""
        if not self.augment:
            return None
        # The background is black, which is 0 before the images are standardized.
        return Augmentation(images.pixels.shape[1], fill=-images.mean / images.std)

    @property
    def constraint(self) -> Callable[[nn.Module], None] | None:
        """The max-norm constraint on every hidden unit, if any, to call with the model after every step."""
        if self.max_norm is None:
            return None
        return lambda model: max_norm_([layer.linear.weight for layer in model.model.layers], self.max_norm)

    def in_training(self, images: LabeledImages) -> ImageRegularizers:
        """Returns the regularizers that act on batches, weights, and targets, for a training on `images`."""
        return ImageRegularizers(self.augmentation(images), self.constraint, self.label_smoothing)


def with_switches(names: Iterable[str], switches: dict[str, dict[str, Any]]) -> Regularizers:
    """Returns the regularizers of several switches together."""
    chosen = Regularizers()
    for name in names:
        chosen = dataclasses.replace(chosen, **switches[name])
    return chosen


def small_sample(images: LabeledImages, per_class: int, seed: int) -> tuple[LabeledImages, LabeledImages]:
    """Draws disjoint samples with `per_class` images of every class, for training and for early stopping.

    Raises:
        ValueError: If a class has fewer than twice as many images.
    """
    random = np.random.default_rng(seed)
    # The rows of each class, `(images of the class,)`.
    rows = [np.flatnonzero(images.labels == label) for label in np.unique(images.labels)]
    fewest = min(map(len, rows))
    if fewest < 2 * per_class:
        raise ValueError(
            f"per_class ({per_class}) must be at most half of the images of the smallest class ({fewest})"
        )
    shuffled = [random.permutation(of_class) for of_class in rows]
    train = np.concatenate([of_class[:per_class] for of_class in shuffled])  # (classes * per_class,)
    validation = np.concatenate([of_class[per_class : 2 * per_class] for of_class in shuffled])
    return images.part(train), images.part(validation)


def with_wrong_labels(images: LabeledImages, share: float, seed: int) -> LabeledImages:
    """Returns the same images, a `share` of which have the label of another class."""
    random = np.random.default_rng([seed, 1])  # a stream that differs from the one of `small_sample`
    labels, classes = images.labels.copy(), np.unique(images.labels)
    rows = random.permutation(len(labels))[: round(share * len(labels))]
    # An offset from 1 to classes − 1 never leads back to the true class: (rows,).
    others = random.integers(1, len(classes), len(rows))
    labels[rows] = classes[(np.searchsorted(classes, labels[rows]) + others) % len(classes)]
    return LabeledImages(images.pixels, labels, images.mean, images.std)


def few_images(
    images: LabeledImages, per_class: int, wrong: float, seed: int
) -> tuple[LabeledImages, LabeledImages]:
    """Draws small samples for training and for early stopping; a share `wrong` of each is labeled wrong."""
    train, validation = small_sample(images, per_class, seed)
    return with_wrong_labels(train, wrong, seed), with_wrong_labels(validation, wrong, seed + 1)


@torch.no_grad()
def measure(model: nn.Module, images: LabeledImages) -> dict[str, float]:
    """Measures `loss` (nats per image) and `error` (share of wrong answers) in eval mode.

    The model returns to the mode that it was in.
    """
    was_training = model.training
    model.eval()
    loss, wrong = 0.0, 0
    for start in range(0, len(images), MEASURED_AT_ONCE):
        batch = images[start : start + MEASURED_AT_ONCE]
        logits = model(batch["pixel_values"]).logits  # (batch, classes)
        # Sums, because the last batch may be smaller.
        loss += nn.functional.cross_entropy(logits, batch["labels"], reduction="sum").item()
        wrong += int((logits.argmax(1) != batch["labels"]).sum())
    model.train(was_training)
    return {"loss": loss / len(images), "error": wrong / len(images)}


@torch.no_grad()
def pre_activations(model: nn.Module, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Returns the input and output of each normalization in eval mode, `(batch, units)`, layer by layer."""
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
