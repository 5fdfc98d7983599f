"""Trains an image classifier with the bare Accelerate loop.

Images are shuffled again in each epoch, and evaluations take place between epochs.
"""

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from ...data.batches.streams import as_is
from ...runs import Job
from ..accelerate_loop import AcceleratedTraining
from ..recipe import Recipe

EVALUATION_BATCH = 1000
Metrics = Callable[[Tensor, Tensor], dict[str, float]]  # maps logits and labels to numbers, including `loss`


@dataclass(frozen=True)
class ImageRegularizers:
    """Regularizers that act on batches, weights, or targets, not inside the model.

    Attributes:
        augment: function that changes the images of a training batch: `(pixel_values, generator) ->
            pixel_values`.
        constrain: function that is called with the model after each step to limit the weights, for example by
            max-norm.
        label_smoothing: share of the target that is spread evenly over all classes (Szegedy et al. 2016,
            section 7); 0 leaves the loss to the model.
    """

    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    constrain: Callable[[nn.Module], None] | None = None
    label_smoothing: float = 0.0


@dataclass
class ImageFit:
    """The outcome of a training run.

    Attributes:
        evaluations: `step`, `epoch`, and measurements of each evaluation, in order.
        best: index of the evaluation with the lowest loss.
        steps: number of optimizer steps.
        seconds: time of the loop, including evaluations but not interruptions.
        data_share: share of the steps' time that was spent waiting for a batch.
        images_per_second: images per second that went through the forward and backward pass.
    """

    evaluations: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    data_share: float = 0.0
    images_per_second: float = 0.0

    @property
    def best(self) -> int:
        losses = [row["loss"] for row in self.evaluations]
        return losses.index(min(losses))


def train_image_classifier(
    model: nn.Module,
    train: Dataset,
    held_out: Dataset,
    recipe: Recipe,
    job: Job,
    seed: int,
    metrics: Metrics,
    regularizers: ImageRegularizers = ImageRegularizers(),
) -> ImageFit:
    """Trains `model` in place.

    Args:
        model: transformers model that takes `pixel_values` and `labels` and returns `loss` and `logits`.
        train, held_out: data sets that give a whole batch for a list of rows.
        recipe: how to train, in whole epochs (see `EpochRecipe`).
        job: where checkpoints, history, and progress go.
        seed: seed of the order of the images, of dropout, and of `augment`.
        metrics: function from the logits and labels of all of `held_out` to numbers, including `loss`.
        regularizers: regularizers outside the model.

    Raises:
        UserError: a loss or a gradient is not finite; the model keeps its last finite weights, which are also
            in `last_finite` in the job's folder.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint is on disk.
    """
    training = AcceleratedTraining(model, train, recipe, job, seed, shuffle=True)
    accelerator, loop = training.accelerator, training.loop
    loader = accelerator.prepare(DataLoader(held_out, batch_size=EVALUATION_BATCH, collate_fn=as_is))
    fit = ImageFit(loop.state.setdefault("evaluations", loop.state.pop("result", {}).get("evaluations", [])))
    per_epoch = len(train) // recipe.batch_size  # type: ignore[arg-type]
    epochs = recipe.steps // per_epoch
    evaluate_after = {
        per_epoch * math.ceil(epochs * k / recipe.evaluations) for k in range(1, recipe.evaluations + 1)
    }

    def loss_of(prepared: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if regularizers.augment is not None:
            batch["pixel_values"] = regularizers.augment(batch["pixel_values"], training.generator)
        if not regularizers.label_smoothing and not recipe.bf16:
            return prepared(**batch).loss
        # The model's products may be in 16 bits, but a loss in 16 bits is too inaccurate near zero.
        logits = prepared(pixel_values=batch["pixel_values"]).logits.float()
        return F.cross_entropy(logits, batch["labels"], label_smoothing=regularizers.label_smoothing)

    def after_step(step: int) -> bool:
        if regularizers.constrain is not None:
            regularizers.constrain(model)
        if step not in evaluate_after:
            return False
        measured = evaluate()
        fit.evaluations.append({"step": step, "epoch": step // per_epoch, **measured})
        loop.log({"epoch": step // per_epoch} | {f"eval_{name}": value for name, value in measured.items()})
        if recipe.keep_best and fit.best == len(fit.evaluations) - 1 and accelerator.is_main_process:
            _replace_folder(job.folder / "best", model.save_pretrained)
        return recipe.patience is not None and len(fit.evaluations) - 1 - fit.best >= recipe.patience

    @torch.no_grad()
    def evaluate() -> dict[str, float]:
        """Evaluates the model; each held-out image counts once, whatever the number of processes."""
        training.model.eval()
        logits, labels = [], []
        for batch in loader:
            output = training.model(pixel_values=batch["pixel_values"]).logits.float()
            gathered = accelerator.gather_for_metrics((output, batch["labels"]))
            logits.append(gathered[0])
            labels.append(gathered[1])
        training.model.train()
        return metrics(torch.cat(logits), torch.cat(labels))  # (images, classes) and (images,)

    training.run(loss_of, after_step)
    if recipe.keep_best and fit.evaluations:
        accelerator.wait_for_everyone()
        best = type(model).from_pretrained(job.folder / "best")  # type: ignore[attr-defined]
        model.load_state_dict(best.state_dict())
    fit.steps, fit.seconds = loop.step, loop.seconds
    fit.data_share = training.waited / training.worked
    fit.images_per_second = loop.step * recipe.batch_size / training.worked
    return fit


def _replace_folder(folder: Path, write: Callable[[Path], Any]) -> None:
    # Write under another name first, so an interruption cannot leave half of a folder behind.
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    write(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
