"""How to train: the choices that a stage makes for one training, as a group of its settings.

    training: Recipe = group(Recipe(steps=900, batch_size=32, learning_rate=3e-3), "language model")

This module imports neither torch nor transformers, because the settings of all stages are read when the
command line lists them.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from ..settings import Group, setting


@dataclass(frozen=True)
class Recipe(Group):
    """How to train: AdamW, a schedule, clipping, evaluations and checkpoints on the way."""

    steps: int = setting(1000, "optimizer steps", minimum=1)
    batch_size: int = setting(32, "examples per step, over all processes", minimum=1)
    learning_rate: float = setting(1e-3, "peak learning rate", minimum=0)
    weight_decay: float = setting(0.0, "weight decay of AdamW", minimum=0)
    warmup: float = setting(
        0.05, "share of the steps over which the rate rises linearly", minimum=0, maximum=1
    )
    schedule: str = setting("cosine", "how the rate falls: a name of transformers' schedulers")
    decay: float | None = setting(
        None, "last share of the steps, over which a constant rate falls linearly to 0", minimum=0, maximum=1
    )
    adam_beta2: float = setting(0.99, "decay of AdamW's mean of squared gradients", minimum=0, maximum=1)
    max_grad_norm: float = setting(1.0, "norm to which longer gradients are scaled down", minimum=0)
    gradient_accumulation_steps: int = setting(1, "batches whose gradients are summed for a step", minimum=1)
    evaluations: int = setting(0, "evaluations on the way; 0 evaluates at the end", minimum=0)
    patience: int | None = setting(None, "evaluations without improvement before training stops", minimum=1)
    keep_best: bool = setting(True, "whether to end with the weights of the best evaluation")
    saves: int = setting(4, "checkpoints on the way, for --resume", minimum=0)
    bf16: bool = setting(False, "whether matrix products are computed in 16 bits")
    gradient_checkpointing: bool = setting(False, "whether activations are recomputed in the backward pass")
    # Not for `--set`: what the training code itself decides.
    carry_state: bool = field(default=False, metadata={"help": None})  # recurrent state from batch to batch
    rate_setting: str = field(default="", metadata={"help": None})  # the setting that advice names

    @property
    def rate_name(self) -> str:
        """The setting that a person changes to train with another learning rate."""
        return self.rate_setting or (f"{self.path}.learning_rate" if self.path else "learning_rate")

    @property
    def schedule_name(self) -> str:
        return self.schedule if self.decay is None else "warmup_stable_decay"

    @property
    def schedule_options(self) -> dict[str, Any]:
        """Arguments of transformers' scheduler of that name."""
        if self.decay is None:
            return {}
        return {"num_decay_steps": max(1, round(self.decay * self.steps)), "decay_type": "linear"}

    @property
    def save_every(self) -> int:
        """Steps from one checkpoint to the next."""
        return max(1, math.ceil(self.steps / (self.saves + 1)))

    @property
    def warmup_steps(self) -> int:
        return math.ceil(self.warmup * self.steps)
