"""What is switched on against overfitting, and how a perceptron for images is made and measured under it."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..data.augment import Augmentation, Distortions
from ..data.images import Images, LabelledImages
from ..models.configuration_mlp import LLMPathMLPConfig
from ..models.modeling_mlp import LLMPathMLPForImageClassification
from ..models.regularization import max_norm_

MEASURED_AT_ONCE = 2500  # images per forward pass where nothing is learned


@dataclass(frozen=True)
class Regularizers:
    """The switches; the defaults are off.

    Attributes:
        dropout, input_dropout: probability that a hidden unit, or an input, is switched off.
        normalization: between weights and activation.
        weight_decay: of AdamW, on weight matrices alone: each step takes off learning rate x this x weight.
        max_norm: longest weight vector that may enter a hidden unit; none for no limit.
        augment: distort every batch.
    """

    dropout: float = 0.0
    input_dropout: float = 0.0
    normalization: Literal["none", "batch", "layer"] = "none"
    weight_decay: float = 0.0
    max_norm: float | None = None
    augment: bool = False

    def model(self, images: Images, hidden_sizes: Iterable[int], seed: int) -> LLMPathMLPForImageClassification:
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

    def optimizer(self, model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """AdamW; biases and the weights of normalizations do not decay."""
        matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
        others = [parameter for parameter in model.parameters() if parameter.dim() != 2]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=learning_rate, fused=True)

    def augmentation(
        self, images: LabelledImages, seed: int, distortions: Distortions | None = None
    ) -> Augmentation | None:
        """What every batch of `images` goes through, if anything; pixels from outside are background."""
        if not self.augment:
            return None
        return Augmentation(images.pixels.shape[1], distortions, fill=-images.mean / images.std, seed=seed)

    def constraint(self, model: nn.Module) -> Callable[[], None] | None:
        """What is called after every step, if anything."""
        if self.max_norm is None:
            return None
        hidden = [layer.linear.weight for layer in model.model.layers]
        return partial(max_norm_, hidden, self.max_norm)


def with_switches(names: Iterable[str], switches: dict[str, dict[str, Any]]) -> Regularizers:
    """The regularizers of several switches at once."""
    found = Regularizers()
    for name in names:
        found = dataclasses.replace(found, **switches[name])
    return found


def small_sample(images: LabelledImages, per_class: int, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Two disjoint samples with `per_class` images of every class: to learn from, and to stop early by.

    Raises:
        ValueError: a class has fewer than twice as many images.
    """
    random = np.random.default_rng(seed)
    rows = [np.flatnonzero(images.labels == label) for label in np.unique(images.labels)]
    fewest = min(map(len, rows))
    if fewest < 2 * per_class:
        raise ValueError(f"per_class ({per_class}) must be at most half of the images of the smallest class ({fewest})")
    picked = [random.permutation(of_class)[: 2 * per_class] for of_class in rows]
    train, validation = (
        np.concatenate([rows[part] for rows in picked]) for part in (np.s_[:per_class], np.s_[per_class:])
    )
    return images.part(train), images.part(validation)


@torch.no_grad()
def measure(model: nn.Module, images: LabelledImages) -> dict[str, float]:
    """`loss` (nats per image) and `error` (share of wrong answers) in eval mode; the model is left in the mode it was in."""
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
    """For each hidden layer what its normalization reads and gives in eval mode, `(batch, units)` each."""
    found: list[tuple[Tensor, Tensor]] = []
    hooks = [
        layer.norm.register_forward_hook(lambda _, inputs, output: found.append((inputs[0], output)))
        for layer in model.model.layers
    ]
    try:
        model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found
