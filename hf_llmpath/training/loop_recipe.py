"""What a training through `accelerate_loop.py` is told: how long, how fast, in which precision, with
which extras.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


def one_cycle(progress: float) -> float:
    """Share of the peak rate after a share of the training: up from 1/25 in the first 30 %, then down to
    0, both along a cosine (Smith & Topin 2017, arXiv:1708.07120)."""
    if progress < 0.3:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.3)) / 2
    return (1 + math.cos(math.pi * (progress - 0.3) / 0.7)) / 2


def cosine(progress: float) -> float:
    """Share of the peak rate after a share of the training: from 1 down to 0 along half a cosine."""
    return (1 + math.cos(math.pi * progress)) / 2


def constant(progress: float) -> float:
    """The peak rate all along."""
    return 1.0


def adamw(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> Optimizer:
    """AdamW; decay on matrices alone, as biases and the scales of normalizations are not what overfits."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=learning_rate, fused=True)


@dataclass(frozen=True)
class LoopRecipe:
    """How to train.

    Attributes:
        epochs: passes over the data. Each has a new order; what does not fill a batch waits for the next
            epoch.
        batch_size: examples per optimizer step, over all processes and pieces.
        learning_rate: peak of the schedule.
        weight_decay: handed to `optimizer`.
        optimizer: makes the optimizer from parameters, learning rate and weight decay.
        schedule: share of the peak rate -> share of the training done (`one_cycle`, `cosine`, `constant`).
        max_grad_norm: gradients longer than this are scaled down to it; None for no limit.
        accumulation: pieces in which a batch goes through the model.
        mixed_precision: `"no"`, or `"bf16"`: products in 16 bits, weights and their updates in 32.
        evaluations: how many times to evaluate, evenly over the epochs; once at the end if 1.
        keep_best: end with the weights of the best evaluation, the one with the lowest `loss`, instead of
            the last.
        patience: stop after so many evaluations without a better one; None to go on.
        saves: checkpoints on the way, for --resume.
        augment: changes the images of a training batch: `(pixel_values, generator) -> pixel_values`.
        after_step: called with the model after each step, for constraints on the weights such as max-norm.
        label_smoothing: share of the target that goes to all classes alike (Szegedy et al. 2016, section
            7); 0 leaves the loss to the model.
        rate_setting: the stage's setting that is the learning rate, which advice names.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    optimizer: Callable[[Iterable[nn.Parameter], float, float], Optimizer] = adamw
    schedule: Callable[[float], float] = one_cycle
    max_grad_norm: float | None = None
    accumulation: int = 1
    mixed_precision: str = "no"
    evaluations: int = 1
    keep_best: bool = False
    patience: int | None = None
    saves: int = 3
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    after_step: Callable[[nn.Module], None] | None = None
    label_smoothing: float = 0.0
    rate_setting: str = "learning_rate"
