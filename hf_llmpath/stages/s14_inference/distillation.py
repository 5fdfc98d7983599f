"""Distillation: a small student learns from the probabilities that a large teacher gives to all next tokens.

    student = half_depth(teacher)
    distill(student, teacher, windows, Distillation(temperature=2.0), recipe, job, seed)

The loss is Hinton, Vinyals & Dean 2015's: α T² KL(teacher / T ‖ student / T) + (1 − α) cross-entropy, and
with `hidden` the mean squared distance between the states of corresponding layers (Romero et al. 2014;
Jiao et al. 2019).
"""

import copy
import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from ...data.batches.streams import IGNORED
from ...errors import UserError
from ...runs import Job
from ...training.recipe import Recipe
from ...training.trainer import StageTrainer, fit


@dataclass(frozen=True)
class Distillation:
    """What the student learns from.

    Attributes:
        alpha: weight of the teacher's probabilities; 1 - alpha is that of the right tokens.
        temperature: softens both. The small probabilities, which say how similar tokens are, then count.
        hidden: weight of the distance between the layers' states; 0 for none.
    """

    alpha: float = 0.7
    temperature: float = 2.0
    hidden: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UserError(
                f"alpha is {self.alpha}; it is a share: 0 (the correct tokens alone) to 1 (the teacher alone)"
            )
        if self.temperature <= 0:
            raise UserError(f"temperature is {self.temperature}; it must be more than 0")
        if self.hidden < 0:
            raise UserError(f"hidden is {self.hidden}; it must be 0 or more")


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher ‖ student) of softened probabilities, the sum over rows; logits `(rows, vocab_size)`.

    T² keeps the size of the gradient the same at every temperature (Hinton et al. 2015, section 2).
    """
    student, teacher = (F.log_softmax(logits / temperature, dim=-1) for logits in (student, teacher))
    return temperature**2 * F.kl_div(student, teacher, reduction="sum", log_target=True)


def hidden_state_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], counted: Tensor) -> Tensor:
    """Squared distance per unit between the state of each student layer and that of the teacher's layer at
    the same share of the depth: the mean over the layers, summed over the tokens.

    Args:
        student, teacher: states `(batch, length, hidden_size)`: the embeddings', then each layer's.
        counted: `(batch, length)`, which tokens count.

    Raises:
        UserError: states of different widths.
    """
    if student[0].shape[-1] != teacher[0].shape[-1]:
        raise UserError(
            f"states of {student[0].shape[-1]} and {teacher[0].shape[-1]} units cannot be compared: the "
            "hidden-state loss needs a student as wide as its teacher"
        )
    layers, depth = len(student) - 1, len(teacher) - 1
    total = student[0].new_zeros(())
    for layer in range(1, layers + 1):
        distance = (student[layer] - teacher[layer * depth // layers]).square().mean(-1)  # (batch, length)
        total = total + (distance * counted).sum()
    return total / layers


class DistillationTrainer(StageTrainer):
    """The Trainer with the loss above; the teacher reads each batch once, without gradients."""

    def __init__(self, *, teacher: nn.Module, distillation: Distillation, **kwargs: Any):
        super().__init__(**kwargs)
        self.teacher, self.distillation = teacher.eval().requires_grad_(False), distillation

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ):
        how = self.distillation
        inputs.pop("first", None)
        labels = inputs.pop("shift_labels")
        wanted = {"output_hidden_states": True} if how.hidden else {}
        outputs = model(**inputs, use_cache=False, **wanted)
        with torch.no_grad():
            expected = self.teacher(**inputs, use_cache=False, **wanted)
        counted = labels != IGNORED
        count = counted.sum() if num_items_in_batch is None else num_items_in_batch
        logits, loss = outputs.logits[counted].float(), labels.new_zeros((), dtype=torch.float)
        if how.alpha < 1:
            loss = loss + (1 - how.alpha) * F.cross_entropy(logits, labels[counted], reduction="sum")
        if how.alpha:
            loss = loss + how.alpha * soft_target_loss(
                logits, expected.logits[counted].float(), how.temperature
            )
        if how.hidden:
            loss = loss + how.hidden * hidden_state_loss(
                outputs.hidden_states, expected.hidden_states, counted
            )
        loss = loss / count * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


def distill(
    student: nn.Module,
    teacher: nn.Module,
    dataset: Dataset,
    distillation: Distillation,
    recipe: Recipe,
    job: Job,
    seed: int,
    tokens_per_step: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Trains `student` in place; arguments as in `training.trainer.fit`.

    Raises:
        UserError: the two models have different vocabularies.
        KeyboardInterrupt: Ctrl-C came; a checkpoint is on disk.
    """
    known, wanted = teacher.config.vocab_size, student.config.vocab_size
    if known != wanted:
        raise UserError(f"the teacher knows {known} tokens and the student {wanted}; they need one tokenizer")
    make = functools.partial(DistillationTrainer, teacher=teacher, distillation=distillation)
    fit(student, dataset, recipe, job, seed, None, tokens_per_step, optimizer, make)


def half_depth(teacher: Any) -> Any:
    """A student with every second layer of the teacher, the last among them, and all of its other weights.

    DistilBERT starts in this way (Sanh et al. 2019).

    Raises:
        UserError: a teacher of one layer.
    """
    depth = teacher.config.num_hidden_layers
    if depth < 2:
        raise UserError("the teacher has one layer, which cannot be halved")
    config = copy.deepcopy(teacher.config)
    config.num_hidden_layers = depth // 2
    student = type(teacher)(config)
    layers = config.num_hidden_layers
    kept = [(layer + 1) * depth // layers - 1 for layer in range(layers)]
    weights = {}
    for name, value in teacher.state_dict().items():
        before, separator, rest = name.partition(".layers.")
        if not separator:
            weights[name] = value
            continue
        index, _, within = rest.partition(".")
        if int(index) in kept:
            weights[f"{before}.layers.{kept.index(int(index))}.{within}"] = value
    student.load_state_dict(weights)
    return student
