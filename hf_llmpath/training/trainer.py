"""Adapts transformers' Trainer to the stages: whole batches from tensors, and the contract of `Loop`.

`fit` trains one job of a run. It continues from the job's last complete checkpoint, stops cleanly on
Ctrl-C, and ends with the best weights if asked to. `run_trainer` does the same for any Trainer, including
TRL's.
"""

import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import accelerate.optimizer
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..data.batches.streams import IGNORED, as_is
from ..runs import Job
from .checkpoints import mark_complete, process_index, wait_for_all
from .distributed.workers import PATIENCE
from .loop import LOGGED, Loop
from .recipe import Recipe

# In every step, Accelerate searches the disk twice for this optional package. One search is enough, because
# the package does not appear while a model trains.
accelerate.optimizer.is_lomo_available = cache(accelerate.optimizer.is_lomo_available)

# Possible names of a batch's targets; the first name that the batch has counts.
TARGETS = ("shift_labels", "labels", "start_positions")
# Files in a checkpoint: the recurrent state, and each process's random state when the epoch began.
STREAM_STATE_FILE, EPOCH_FILE = "stream_state.safetensors", "epoch_{}.safetensors"


def shared_arguments(recipe: Recipe, folder: Path, seed: int) -> dict[str, Any]:
    """Translates the recipe into arguments for the configuration of any Trainer."""
    return {
        "output_dir": str(folder),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.piece_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "warmup_steps": recipe.warmup,
        "lr_scheduler_type": recipe.schedule_name,
        "lr_scheduler_kwargs": recipe.schedule_options,
        "bf16": recipe.bf16,
        "activation_checkpointing": recipe.gradient_checkpointing,
        "adam_beta2": recipe.adam_beta2,
        "max_grad_norm": recipe.max_grad_norm or 0.0,  # 0 means no limit to the Trainer
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": recipe.save_every,
        "save_total_limit": 2,
        "logging_steps": max(1, recipe.steps // LOGGED),
        "logging_nan_inf_filter": False,  # LoopCallback must see a loss that is not finite
        "dataloader_pin_memory": False,
        "use_cpu": not torch.cuda.is_available(),
        "ddp_timeout": int(PATIENCE.total_seconds()),
        "disable_tqdm": True,
        "report_to": "none",
        "seed": seed,
    }


def training_arguments(recipe: Recipe, folder: Path, seed: int) -> TrainingArguments:
    """Translates the recipe into arguments for `StageTrainer`."""
    arguments = shared_arguments(recipe, folder, seed)
    if recipe.evaluations:
        every = max(1, math.ceil(recipe.steps / recipe.evaluations))
        arguments |= {"eval_strategy": "steps", "eval_steps": every, "save_steps": every}
        arguments |= {"load_best_model_at_end": recipe.keep_best}
        arguments |= {"metric_for_best_model": "eval_loss", "greater_is_better": False}
    return TrainingArguments(
        **arguments,
        accelerator_config={"split_batches": True},  # a batch belongs to all processes together
        average_tokens_across_devices=False,  # StageTrainer counts the targets of all processes itself
        remove_unused_columns=False,  # the data sets build tensors and have no columns
    )


class LoopCallback(TrainerCallback):
    """Makes a Trainer keep the contract of `Loop`."""

    def __init__(self, loop: Loop, tokens_per_step: int = 0):
        self.loop, self.tokens_per_step = loop, tokens_per_step
        self.loss: float | None = None  # the last loss that was logged
        self.random_at_epoch: Tensor | None = None  # the random state when the current epoch began

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restores the random state at the beginning of an epoch.

        A sampler without its own generator draws the order of an epoch from the global one. When a training
        run continues within an epoch, it must draw the same order again.
        """
        if self.random_at_epoch is None and self.loop.checkpoint is not None:
            path = self.loop.checkpoint / EPOCH_FILE.format(process_index())
            if path.exists():
                torch.set_rng_state(load_file(path)["random"])
        self.random_at_epoch = torch.get_rng_state()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.loop.after_step(self.loss, tokens=self.tokens_per_step)
        if self.loop.is_stopping:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        self.loop.log(state.log_history[-1])
        self.loss = logs.get("loss", self.loss)
        # The last steps may come after the last entry with a loss. `train_loss`, the mean over all steps,
        # includes them.
        for name in ("loss", "train_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise self.loop.diverged(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        checkpoint = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        # Between epochs, the next epoch draws its order from the current state; within an epoch, the order
        # came from the state at its beginning.
        between_epochs = float(state.epoch).is_integer()
        random = torch.get_rng_state() if between_epochs else self.random_at_epoch
        save_file({"random": random}, checkpoint / EPOCH_FILE.format(process_index()))
        wait_for_all()
        if state.is_world_process_zero:
            mark_complete(checkpoint)

    def on_train_end(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        # No loss shows whether the last step went wrong, so check the weights that it left.
        if not all(weight.isfinite().all() for weight in model.parameters() if weight.requires_grad):
            raise self.loop.diverged(state.global_step, "a weight")


def run_trainer(trainer: Trainer, recipe: Recipe, job: Job, tokens_per_step: int = 0) -> None:
    """Runs a transformers or TRL Trainer that writes its checkpoints into the job's folder."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    loop = Loop(job, recipe.steps, recipe.advice, log_every=0)
    trainer.add_callback(LoopCallback(loop, tokens_per_step))
    with loop:
        trainer.train(resume_from_checkpoint=loop.checkpoint and str(loop.checkpoint))
    trainer.model.eval()


class StageTrainer(Trainer):
    """A Trainer for data sets that build whole batches.

    It can carry a recurrent state from batch to batch.
    """

    def __init__(
        self,
        *,
        evaluate_with: Callable[[nn.Module], dict[str, float]] | None,
        carry_state: bool,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.evaluate_with, self.carry_state = evaluate_with, carry_state
        self._carried: Any = None

    def get_train_dataloader(self) -> DataLoader:
        dataset = self.train_dataset
        loader = DataLoader(
            dataset,
            batch_size=self._train_batch_size,
            sampler=SequentialSampler(dataset) if dataset.sequential else RandomSampler(dataset),
            collate_fn=as_is,
            drop_last=dataset.sequential,
        )
        return self.accelerator.prepare(loader)

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Tensor]], device: torch.device
    ) -> Tensor | None:
        """Counts the targets of a step in all its pieces and processes.

        The Trainer itself counts only batches with `labels`, and only those of its own process.
        """
        if not batch_samples:
            return None
        name = next(name for name in TARGETS if name in batch_samples[0])
        targets = sum((batch[name] != IGNORED).sum() for batch in batch_samples)
        return self.accelerator.gather(targets.to(device)).sum()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ):
        first = inputs.pop("first", None)
        if self.carry_state:
            if bool(first.all()):
                self._carried = None  # the streams begin again with a new epoch
            inputs |= {"cache": self._carried, "use_cache": True}
        outputs = model(**inputs, num_items_in_batch=num_items_in_batch)
        if self.carry_state:
            self._carried = outputs.cache
            self._carried.detach()  # truncated backpropagation: no gradient flows into the last window
        # DDP averages gradients over the processes, but each loss is a share of the sum over all targets, so
        # the shares must add up. The factor cancels the average.
        loss = outputs.loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def evaluate(
        self, eval_dataset: Dataset | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ):
        self.model.eval()
        with torch.no_grad():
            values = self.evaluate_with(self.model)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in values.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self._carried is None:
            return
        tensors = {  # (batch, hidden): rows of all processes, in order
            f"{layer_index}.{state_index}": self.accelerator.gather(value.contiguous())
            for layer_index, layer in enumerate(self._carried.layers)
            for state_index, value in enumerate(layer.state)
        }
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            save_file(tensors, folder / STREAM_STATE_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        path = Path(resume_from_checkpoint) / STREAM_STATE_FILE
        if not path.exists():
            return
        processes, index = self.accelerator.num_processes, self.accelerator.process_index
        tensors = {
            name: value.chunk(processes)[index].to(self.args.device)  # (batch / processes, hidden)
            for name, value in load_file(path).items()
        }
        self._carried = self.model.new_cache()
        for layer_index, layer in enumerate(self._carried.layers):
            names = sorted(name for name in tensors if name.startswith(f"{layer_index}."))
            layer.update(tuple(tensors[name] for name in names), 1)  # nothing reads the number of tokens


def fit(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    job: Job,
    seed: int,
    evaluate_with: Callable[[nn.Module], dict[str, float]] | None = None,
    tokens_per_step: int | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    make_trainer: Callable[..., StageTrainer] = StageTrainer,
) -> StageTrainer:
    """Trains `model` in place.

    Args:
        model: transformers model that returns a loss.
        dataset: `StreamWindows`, `Documents`, `TrainingBatches`, or another data set that builds whole
            batches with `labels` or `shift_labels`.
        recipe: how to train.
        job: where checkpoints, history, and progress go.
        seed: seed of the order of the batches and of dropout.
        evaluate_with: function that is called with the model (in eval mode, without gradients) and returns
            metrics, including `loss`.
        tokens_per_step: number of tokens per step, for the speed shown during training.
        optimizer: optimizer that replaces the recipe's own.
        make_trainer: class or function that makes the Trainer, for example one with another loss.

    Raises:
        UserError: a loss is not finite, a different number of processes wrote the checkpoint, or another
            process is gone.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint is on disk.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if optimizer is None and recipe.adam_learning_rate is not None:
        optimizer = recipe.optimizer(model)
    trainer = make_trainer(
        model=model,
        args=training_arguments(recipe, job.folder, seed),
        train_dataset=dataset,
        eval_dataset=dataset if recipe.evaluations else None,
        callbacks=[] if recipe.patience is None else [EarlyStoppingCallback(recipe.patience)],
        evaluate_with=evaluate_with,
        carry_state=recipe.carry_state,
        optimizers=(optimizer, None),  # None: the Trainer makes AdamW from the arguments
    )
    run_trainer(trainer, recipe, job, tokens_per_step or 0)
    if recipe.bf16:  # forward passes are in 32 bits again
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    model._is_accelerate_prepared = False  # type: ignore[assignment]  # another run prepares it again
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_disable()
    return trainer


__all__ = ["LoopCallback", "Recipe", "StageTrainer", "fit", "run_trainer", "shared_arguments"]
