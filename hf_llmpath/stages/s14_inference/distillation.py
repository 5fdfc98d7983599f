"""Implements distillation: a small student learns the next-token probabilities of a large teacher.

    student = half_depth(teacher)
    distill(student, teacher, windows, Distillation(temperature=2.0), recipe, job, seed)

The loss is that of Hinton, Vinyals & Dean 2015: α T² KL(teacher / T ‖ student / T) + (1 − α) cross-entropy.
With `hidden`, the mean squared distance between the states of corresponding layers is added (Romero et al.
2014; Jiao et al. 2019).
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
    """Holds the weights of what the student learns from.

    Attributes:
        alpha: the weight of the teacher's probabilities; 1 - alpha is the weight of the correct tokens.
        temperature: the temperature that softens the probabilities of both models. It gives weight to small
            probabilities, which say how similar tokens are.
        hidden: the weight of the distance between the layers' states; 0 leaves it out.
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
    """Computes T² KL(teacher ‖ student) of the softened probabilities, summed over the rows.

    The factor T² keeps the gradient about equally large at every temperature (Hinton et al. 2015, section 2).

    Args:
        student, teacher: the logits, `(rows, vocabulary)`.
        temperature: the temperature T.
    """
    # log softmax(z / T), (rows, vocabulary) each
    student, teacher = (F.log_softmax(logits / temperature, dim=-1) for logits in (student, teacher))
    # `kl_div` takes the student first: Σ p_teacher (log p_teacher − log p_student).
    return temperature**2 * F.kl_div(student, teacher, reduction="sum", log_target=True)


def hidden_state_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], counted: Tensor) -> Tensor:
    """Computes the distance between the student's states and those of the teacher at the same relative depth.

    It is the squared distance per unit, averaged over the student's layers and summed over the tokens.

    Args:
        student, teacher: the states after the embeddings and after each layer, each
            `(batch, length, hidden)`.
        counted: True for the tokens that count, `(batch, length)`.

    Raises:
        UserError: If the states have different widths.
    """
    if student[0].shape[-1] != teacher[0].shape[-1]:
        raise UserError(
            f"states of {student[0].shape[-1]} and {teacher[0].shape[-1]} units cannot be compared: the "
            "hidden-state loss needs a student as wide as its teacher"
        )
    layers, depth = len(student) - 1, len(teacher) - 1  # the first entry holds the embeddings
    total = student[0].new_zeros(())
    for layer in range(1, layers + 1):
        # Layer l of d is compared with layer l D / d of D: (batch, length, hidden) -> (batch, length).
        distance = (student[layer] - teacher[layer * depth // layers]).square().mean(-1)
        total = total + (distance * counted).sum()
    return total / layers


class DistillationTrainer(StageTrainer):
    """Trains a student with the loss of this module; the teacher reads each batch once, without gradients."""

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
        inputs.pop("first", None)  # marks the start of a stream, which only recurrent models need
        labels = inputs.pop("shift_labels")  # (batch, length); without labels, the models compute no loss
        wanted = {"output_hidden_states": True} if how.hidden else {}
        outputs = model(**inputs, use_cache=False, **wanted)
        with torch.no_grad():
            expected = self.teacher(**inputs, use_cache=False, **wanted)
        counted = labels != IGNORED  # (batch, length)
        count = counted.sum() if num_items_in_batch is None else num_items_in_batch
        # (batch, length, vocabulary) -> (counted tokens, vocabulary), in 32 bits for the softmax
        logits, loss = outputs.logits[counted].float(), labels.new_zeros((), dtype=torch.float)
        # loss = (1 − α) cross-entropy + α T² KL + hidden · distance of the states, each summed over tokens
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
        # `count` covers all processes, whose gradients are averaged; the factor turns that into a sum.
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
    """Trains `student` in place; see `training.trainer.fit` for the arguments.

    Raises:
        UserError: If the two models have different vocabularies.
        KeyboardInterrupt: If Ctrl-C was pressed; a checkpoint has been saved.
    """
    known, wanted = teacher.config.vocab_size, student.config.vocab_size
    if known != wanted:
        raise UserError(f"the teacher knows {known} tokens and the student {wanted}; they need one tokenizer")
    make = functools.partial(DistillationTrainer, teacher=teacher, distillation=distillation)
    fit(student, dataset, recipe, job, seed, None, tokens_per_step, optimizer, make)


def half_depth(teacher: Any) -> Any:
    """Builds a student from every second layer of the teacher, including the last, and its other weights.

    DistilBERT is initialized in the same way (Sanh et al. 2019).

    Raises:
        UserError: If the teacher has only one layer.
    """
    depth = teacher.config.num_hidden_layers
    if depth < 2:
        raise UserError("the teacher has one layer, which cannot be halved")
    config = copy.deepcopy(teacher.config)
    config.num_hidden_layers = depth // 2
    student = type(teacher)(config)
    layers = config.num_hidden_layers
    # The last layer of each of `layers` blocks of about equal size; the last block ends with the last layer.
    kept = [(layer + 1) * depth // layers - 1 for layer in range(layers)]
    weights = {}
    for name, value in teacher.state_dict().items():
        before, separator, rest = name.partition(".layers.")
        if not separator:  # embeddings, final norm, and output layer
            weights[name] = value
            continue
        index, _, within = rest.partition(".")
        if int(index) in kept:
            weights[f"{before}.layers.{kept.index(int(index))}.{within}"] = value
    student.load_state_dict(weights)
    return student
