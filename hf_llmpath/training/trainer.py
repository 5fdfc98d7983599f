"""The Trainer set-up that the stages share: whole batches from tensors, our progress, checkpoints that
survive a kill.

`fit` trains one part of a run: it resumes from the part's last complete checkpoint, stops cleanly on
Ctrl-C, and keeps the best weights if asked to.
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
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, Trainer, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..data.batches.streams import IGNORED, as_is
from ..runs import Job
from .callbacks import History, ReportProgress, StopOnInterrupt
from .checkpoints import last_checkpoint, mark_complete
from .distributed.workers import PATIENCE, stop_together
from .recipe import Recipe

# Accelerate searches the disk for this optional package twice in every step; it does not come while a
# model trains.
accelerate.optimizer.is_lomo_available = cache(accelerate.optimizer.is_lomo_available)

TARGETS = (
    "shift_labels",
    "labels",
    "start_positions",
)  # what is counted as the targets of a batch, the first that is there
STATE_FILE = "stream_state.safetensors"


def training_arguments(recipe: Recipe, folder: Path, seed: int) -> TrainingArguments:
    """`recipe` as transformers' arguments."""
    every = max(1, math.ceil(recipe.steps / recipe.evaluations)) if recipe.evaluations else None
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=recipe.warmup,
        lr_scheduler_type=recipe.schedule_name,
        lr_scheduler_kwargs=recipe.schedule_options,
        bf16=recipe.bf16,
        activation_checkpointing=recipe.gradient_checkpointing,
        adam_beta2=recipe.adam_beta2,
        max_grad_norm=recipe.max_grad_norm,
        eval_strategy="steps" if every else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every or recipe.save_every,
        save_total_limit=2,
        load_best_model_at_end=bool(every) and recipe.keep_best,
        metric_for_best_model="eval_loss" if every else None,
        greater_is_better=False if every else None,
        logging_steps=max(1, recipe.steps // 100),
        logging_nan_inf_filter=False,  # ReportProgress must see a loss that is not finite
        accelerator_config={"split_batches": True},
        average_tokens_across_devices=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=not torch.cuda.is_available(),
        ddp_timeout=int(PATIENCE.total_seconds()),
        disable_tqdm=True,
        report_to="none",
        seed=seed,
    )


class StageTrainer(Trainer):
    """Trainer for data sets that build whole batches, with a recurrent state carried along if the recipe
    says so.
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
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)

    def get_train_dataloader(self) -> DataLoader:
        dataset = self.train_dataset
        sampler = SequentialSampler(dataset) if dataset.sequential else RandomSampler(dataset)
        loader = DataLoader(
            dataset,
            batch_size=self._train_batch_size,
            sampler=sampler,
            collate_fn=as_is,
            drop_last=dataset.sequential,
        )
        return self.accelerator.prepare(loader)

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Tensor]], device: torch.device
    ) -> Tensor | None:
        """Targets of a step, in all its batches and processes; the Trainer itself counts only batches
        with `labels`, and only those of its own process."""
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
                self._carried = None
            inputs |= {"cache": self._carried, "use_cache": True}
        outputs = model(**inputs, num_items_in_batch=num_items_in_batch)
        if self.carry_state:
            self._carried = outputs.cache
            self._carried.detach()
        # Gradients are averaged over processes; each has its share of the sum over all targets.
        loss = outputs.loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def evaluate(
        self, eval_dataset: Dataset | None = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ):
        self.model.eval()
        with torch.no_grad():
            found = self.evaluate_with(self.model)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = Path(self.args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self._carried is not None:
            tensors = {
                f"{index}.{part}": self.accelerator.gather(
                    value.contiguous()
                )  # the rows of all processes, in order
                for index, layer in enumerate(self._carried.layers)
                for part, value in enumerate(layer.state)
            }
            if self.is_world_process_zero():
                save_file(tensors, folder / STATE_FILE)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            mark_complete(folder)

    def load_carried_state(self, checkpoint: Path) -> None:
        """Takes up the recurrent state where the checkpoint left it."""
        if not (checkpoint / STATE_FILE).exists():
            return
        processes, mine = self.accelerator.num_processes, self.accelerator.process_index
        tensors = {
            name: value.chunk(processes)[mine].to(self.args.device)
            for name, value in load_file(checkpoint / STATE_FILE).items()
        }
        cache = self.model.new_cache()
        for index, layer in enumerate(cache.layers):
            parts = sorted(name for name in tensors if name.startswith(f"{index}."))
            layer.update(tuple(tensors[name] for name in parts), 1)
        self._carried = cache


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
        model: a transformers model that returns a loss.
        dataset: `StreamWindows`, `Documents`, `TrainingBatches` or another data set that builds whole
            batches, with `labels` or `shift_labels`.
        recipe: how.
        job: where checkpoints, history and progress go.
        seed: of the order of the batches and of dropout.
        evaluate_with: called with the model (in eval mode, no gradient); returns metrics with a `loss`.
        tokens_per_step: for the tokens per second shown while training.
        optimizer: AdamW over all weights, as the recipe says, if none.
        make_trainer: a Trainer with another loss.

    Raises:
        UserError: a loss that is not finite; a checkpoint that another number of processes wrote; another
            process is gone.
        KeyboardInterrupt: Ctrl-C came; a checkpoint is on disk.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    stop = StopOnInterrupt()
    callbacks = [History(job.folder / "history.jsonl"), stop]
    if recipe.patience is not None:
        callbacks.append(EarlyStoppingCallback(recipe.patience))
    with job.progress.task(job.name, recipe.steps) as task:
        trainer = make_trainer(
            model=model,
            args=training_arguments(recipe, job.folder, seed),
            train_dataset=dataset,
            eval_dataset=dataset if recipe.evaluations else None,
            callbacks=[*callbacks, ReportProgress(task, tokens_per_step, recipe.rate_name)],
            evaluate_with=evaluate_with,
            carry_state=recipe.carry_state,
            optimizers=(optimizer, None),
        )
        checkpoint = last_checkpoint(job.folder)
        if checkpoint is not None:
            trainer.load_carried_state(checkpoint)
        with stop_together(job.folder):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.interrupted:
        raise KeyboardInterrupt
    if recipe.bf16:
        trainer.accelerator.unwrap_model(
            model, keep_fp32_wrapper=False
        )  # its forward pass is in 32 bits again
    model._is_accelerate_prepared = False  # type: ignore[assignment]  # another training prepares it anew
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_disable()
    model.eval()
    return trainer
