"""Defines the recipe of a training run: the choices that a stage makes for it, as a group of its settings.

    training: Recipe = group(Recipe(steps=900, batch_size=32, learning_rate=3e-3), "language model")

The top of this module imports neither torch nor transformers, because the command line reads the settings of
all stages to list them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..settings import Group, setting

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True)
class Recipe(Group):
    """How to train: optimizer, schedule, clipping, evaluations, and checkpoints on the way."""

    steps: int = setting(1000, "optimizer steps", minimum=1)
    batch_size: int = setting(32, "examples per step, over all processes and pieces", minimum=1)
    learning_rate: float = setting(1e-3, "peak learning rate", minimum=0)
    weight_decay: float = setting(0.0, "decoupled weight decay", minimum=0)
    warmup: float = setting(
        0.05, "share of the steps over which the rate rises linearly", minimum=0, maximum=1
    )
    schedule: str = setting("cosine", "how the rate falls: one_cycle, or a name of transformers' schedulers")
    decay: float | None = setting(
        None, "last share of the steps, over which a constant rate falls linearly to 0", minimum=0, maximum=1
    )
    adam_beta2: float = setting(0.99, "decay of AdamW's mean of squared gradients", minimum=0, maximum=1)
    max_grad_norm: float | None = setting(
        1.0, "norm to which longer gradients are scaled down; none for no limit", minimum=0
    )
    accumulation: int = setting(1, "pieces of a batch whose gradients are summed for a step", minimum=1)
    saves: int = setting(4, "checkpoints on the way, for --resume", minimum=0)
    bf16: bool = setting(False, "whether matrix products are computed in 16 bits")
    gradient_checkpointing: bool = setting(False, "whether activations are recomputed in the backward pass")
    adam_learning_rate: float | None = setting(
        None,
        "rate of AdamW for all but the hidden matrices, which Muon then moves; none: AdamW alone",
        minimum=0,
    )
    # Not available to `--set`: the stage decides these, because it also decides how to evaluate.
    evaluations: int = field(default=0, metadata={"help": None})  # during training; 0: only at the end
    patience: int | None = field(default=None, metadata={"help": None})  # evaluations without improvement
    keep_best: bool = field(default=True, metadata={"help": None})  # ends with the best evaluation's weights
    carry_state: bool = field(default=False, metadata={"help": None})  # recurrent state from batch to batch
    rate_setting: str = field(default="", metadata={"help": None})  # the setting that advice names
    adam_rate_setting: str = field(default="", metadata={"help": None})

    def __post_init__(self) -> None:
        if self.batch_size % self.accumulation:
            raise UserError(f"batch_size {self.batch_size} does not divide into {self.accumulation} pieces")

    @property
    def piece_size(self) -> int:
        """Returns the number of examples that pass through the model at once, over all processes."""
        return self.batch_size // self.accumulation

    @property
    def advice(self) -> tuple[str, float]:
        """Returns the setting to lower if the training diverges, and its value; of two rates, the higher."""
        prefix = f"{self.path}." if self.path else ""
        if self.adam_learning_rate is not None and self.adam_learning_rate > self.learning_rate:
            return self.adam_rate_setting or f"{prefix}adam_learning_rate", self.adam_learning_rate
        return self.rate_setting or f"{prefix}learning_rate", self.learning_rate

    @property
    def schedule_name(self) -> str:
        return self.schedule if self.decay is None else "warmup_stable_decay"

    @property
    def schedule_options(self) -> dict[str, Any]:
        """Returns the arguments for the transformers scheduler `schedule_name`."""
        if self.decay is None:
            return {}
        return {"num_decay_steps": max(1, round(self.decay * self.steps)), "decay_type": "linear"}

    @property
    def save_every(self) -> int:
        """Returns the number of steps from one checkpoint to the next."""
        return save_interval(self.steps, self.saves)

    def optimizer(self, model: "nn.Module") -> "Optimizer":
        """Makes AdamW for all weights or, if there is a rate for each, Muon with AdamW."""
        if self.adam_learning_rate is not None:
            import torch

            from .muon import Muon, muon_groups

            # Muon needs only directions, so 16 bits are enough for its iteration.
            groups = muon_groups(model, self.learning_rate, self.adam_learning_rate, self.weight_decay)
            return Muon(groups, ns_dtype=torch.bfloat16 if self.bf16 else None)
        return adamw(model.parameters(), self.learning_rate, self.weight_decay, self.adam_beta2)

    def scheduler(self, optimizer: "Optimizer") -> "LRScheduler":
        """Makes the schedule of the rates, which equals the Trainer's and counts optimizer steps."""
        if self.schedule_name == "one_cycle":
            from torch.optim.lr_scheduler import LambdaLR

            return LambdaLR(optimizer, lambda step: one_cycle(min(1.0, step / self.steps)))
        from transformers import get_scheduler

        return get_scheduler(
            self.schedule_name,
            optimizer,
            num_warmup_steps=math.ceil(self.warmup * self.steps),
            num_training_steps=self.steps,
            scheduler_specific_kwargs=self.schedule_options,
        )


@dataclass(frozen=True)
class EpochRecipe(Group):
    """How to train by whole passes over a small data set."""

    epochs: int = setting(10, "passes over the training data", minimum=1)
    batch_size: int = setting(32, "examples per step", minimum=2)
    learning_rate: float = setting(1e-3, "peak learning rate", minimum=0)

    def recipe(self, examples: int, **choices: Any) -> Recipe:
        """Makes a recipe with one cycle of the rate over whole epochs.

        Unless `choices` (fields of `Recipe`) say otherwise, the gradient has no limit, and there is one
        evaluation, at the end.
        """
        batch_size = min(self.batch_size, examples)
        usual: dict[str, Any] = {
            "steps": self.epochs * (examples // batch_size),
            "batch_size": batch_size,
            "learning_rate": self.learning_rate,
            "schedule": "one_cycle",
            "warmup": 0.0,
            "adam_beta2": 0.999,
            "max_grad_norm": None,
            "evaluations": 1,
            "keep_best": False,
            "saves": 3,
            "path": self.path,
        }
        return Recipe(**usual | choices)


def adamw(
    parameters: "Iterable[nn.Parameter]", learning_rate: float, weight_decay: float, beta2: float = 0.999
) -> "Optimizer":
    """Makes an AdamW that decays matrices only, because biases and the scales of norms do not overfit."""
    from torch.optim import AdamW

    parameters = list(parameters)
    groups = [
        {"params": [weight for weight in parameters if weight.dim() > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in parameters if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return AdamW(groups, lr=learning_rate, betas=(0.9, beta2), fused=True)


def one_cycle(progress: float) -> float:
    """Returns the rate after a share of the training, as a share of the peak rate.

    The rate rises from 1/25 of the peak in the first 30% of the training and then falls to 0, both along a
    cosine (Smith & Topin 2017, arXiv:1708.07120).
    """
    if progress < 0.3:  # 0.04 = 1/25
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.3)) / 2
    return (1 + math.cos(math.pi * (progress - 0.3) / 0.7)) / 2


def save_interval(units: int, saves: int) -> int:
    """Returns how many of `units` (steps or epochs) lie between two of `saves` checkpoints on the way."""
    return max(1, math.ceil(units / (saves + 1)))
