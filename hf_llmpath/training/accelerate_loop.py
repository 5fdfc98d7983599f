"""A training loop written out, with Accelerate: one process or several, full or mixed precision, whole or
piecewise batches.

    torchrun --nproc_per_node 2 script.py      # the same weights as python script.py, up to rounding

The loop itself is `Training._epoch`: accumulate, forward, backward, clip, step. The rest is what a
training needs besides: batches gathered by index, evaluation over all processes, checkpoints from which
it goes on bit for bit, history, progress.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration, InitProcessGroupKwargs
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import BatchSampler, DataLoader, Dataset

from ..data.batches.streams import as_is
from ..errors import UserError
from ..runs import Job, write_json, write_text
from .callbacks import CatchInterrupt
from .checkpoints import last_checkpoint, write_checkpoint
from .distributed.workers import PATIENCE, stop_together
from .loop_recipe import LoopRecipe, adamw, constant, cosine, one_cycle

STATE_FILE, OWN_FILE = (
    "loop.json",
    "process_{}.safetensors",
)  # of a checkpoint; the second is each process's own
EVALUATION_BATCH = 1000


@dataclass
class LoopResult:
    """What a training did.

    Attributes:
        evaluations: for each one `step`, `epoch` and what was measured, the last one last.
        best: place in `evaluations` of the one with the lowest loss.
        steps: optimizer steps.
        seconds: of the loop, stops left out, evaluations included.
        data_share: share of the time of the steps that was spent waiting for a batch.
        images_per_second: examples that went through forward and backward pass, per second of the steps.
    """

    evaluations: list[dict[str, float]] = field(default_factory=list)
    best: int = 0
    steps: int = 0
    seconds: float = 0.0
    data_share: float = 0.0
    images_per_second: float = 0.0


class ShuffledBatches(BatchSampler):
    """Whole batches of row numbers, in an order that `seed` and `epoch` alone decide, the same in every
    process.

    Attributes:
        epoch: which order.
        first: how many batches to leave out at the beginning of the epoch, after a stop.
    """

    def __init__(self, count: int, batch_size: int, batches: int, seed: int):
        self.count, self.batch_size, self.batches, self.seed = count, batch_size, batches, seed
        self.drop_last, self.epoch, self.first = True, 0, 0

    def __len__(self) -> int:
        return self.batches - self.first

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = torch.randperm(self.count, generator=generator)
        for batch in range(self.first, self.batches):
            yield order[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()


def train_with_accelerate(
    model: nn.Module,
    train: Dataset,
    held_out: Dataset,
    recipe: LoopRecipe,
    job: Job,
    seed: int,
    metrics: Callable[[Tensor, Tensor], dict[str, float]],
) -> LoopResult:
    """Trains `model` in place.

    Args:
        model: a transformers model that takes what the data sets give and returns `loss` and `logits`.
        train, held_out: data sets that give a whole batch for a list of rows, with `labels`.
        job: where checkpoints, history and progress go.
        seed: of the order of the examples, of dropout and of `augment`.
        metrics: logits and labels of all of `held_out` -> numbers, among them `loss`.

    Raises:
        UserError: fewer examples than a batch; a gradient that is not finite: the model keeps its last
            finite weights, which are also in `last_finite` in the part's folder; a checkpoint that
            another number of processes wrote; another process is gone.
        KeyboardInterrupt: Ctrl-C came; a checkpoint is on disk.
    """
    training = Training(model, train, held_out, recipe, job, seed, metrics)
    with (
        job.progress.task(job.name, training.steps) as progress,
        CatchInterrupt() as ctrl_c,
        stop_together(job.folder),
    ):
        training.run_epochs(progress, ctrl_c)
    return training.result


class Training:
    """The state of a training, and the loop."""

    def __init__(
        self,
        model: nn.Module,
        train: Dataset,
        held_out: Dataset,
        recipe: LoopRecipe,
        job: Job,
        seed: int,
        metrics: Callable[[Tensor, Tensor], dict[str, float]],
    ):
        self.recipe, self.folder, self.metrics = recipe, job.folder, metrics
        self.steps_per_epoch = len(train) // recipe.batch_size  # type: ignore[arg-type]
        if self.steps_per_epoch < 1:
            raise UserError(
                f"{len(train)} examples do not fill a batch of {recipe.batch_size}; lower batch_size"
            )  # type: ignore[arg-type]
        if recipe.batch_size % recipe.accumulation:
            raise UserError(
                f"batch_size {recipe.batch_size} does not divide into {recipe.accumulation} pieces"
            )
        self.steps = recipe.epochs * self.steps_per_epoch

        AcceleratorState._reset_state()  # a process may train several times, in different precision
        GradientState._reset_state()
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision=recipe.mixed_precision,
            gradient_accumulation_steps=recipe.accumulation,
            # The loader's batches are those of all processes together: each takes its slice.
            dataloader_config=DataLoaderConfiguration(split_batches=True),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        set_seed(
            seed, device_specific=True
        )  # dropout differs from process to process, the order of the data does not
        self.generator = torch.Generator(self.accelerator.device).manual_seed(
            seed + self.accelerator.process_index
        )
        optimizer = recipe.optimizer(model.parameters(), recipe.learning_rate, recipe.weight_decay)
        schedule = LambdaLR(optimizer, lambda step: recipe.schedule(min(1.0, step / self.steps)))
        pieces = self.steps_per_epoch * recipe.accumulation
        self.order = ShuffledBatches(len(train), recipe.batch_size // recipe.accumulation, pieces, seed)  # type: ignore[arg-type]
        # An own generator: iterating over a loader without one would move the one that dropout draws from.
        loader = DataLoader(train, batch_sampler=self.order, collate_fn=as_is, generator=torch.Generator())
        self.model, self.optimizer, self.schedule, self.loader = self.accelerator.prepare(
            model, optimizer, schedule, loader
        )
        self.held_out = self.accelerator.prepare(
            DataLoader(held_out, batch_size=EVALUATION_BATCH, collate_fn=as_is)
        )
        self.result = LoopResult()
        self.waited = self.worked = 0.0
        self.history: list[dict[str, float]] = []
        self.losses: list[Tensor] = []
        self._load()

    @property
    def plain_model(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.model)

    def run_epochs(self, progress: Any, ctrl_c: CatchInterrupt) -> None:
        """All epochs that are left."""
        recipe, began, before = self.recipe, time.perf_counter(), self.result.seconds
        evaluate_after = {
            math.ceil(recipe.epochs * k / recipe.evaluations) for k in range(1, recipe.evaluations + 1)
        }
        save_every = max(1, math.ceil(self.steps / (recipe.saves + 1)))
        self._write_history()
        while self.result.steps < self.steps and not self._out_of_patience():
            epoch, done = divmod(self.result.steps, self.steps_per_epoch)
            self.order.epoch, self.order.first = epoch, done * recipe.accumulation
            for step in self._epoch(progress):
                self.result.seconds = before + time.perf_counter() - began
                last_of_epoch = step % self.steps_per_epoch == 0
                if last_of_epoch and epoch + 1 in evaluate_after:
                    self._evaluate(epoch + 1)
                    self.result.seconds = before + time.perf_counter() - began
                interrupted = self._anywhere(ctrl_c.interrupted)
                if (step % save_every == 0 and step < self.steps) or interrupted:
                    self._save()
                if interrupted:
                    raise KeyboardInterrupt
        if recipe.keep_best and self.result.evaluations:
            self._load_best()
        self.plain_model.eval()
        self.accelerator.free_memory()

    def _epoch(self, progress: Any) -> Iterator[int]:
        """The loop. Yields the number of steps after every optimizer step."""
        recipe, accelerator, model = self.recipe, self.accelerator, self.model
        log_every, show_every = max(1, self.steps // 100), max(1, self.steps // 400)
        model.train()
        clock = time.perf_counter()
        for batch in self.loader:
            self.waited += time.perf_counter() - clock
            if recipe.augment is not None:
                batch["pixel_values"] = recipe.augment(batch["pixel_values"], self.generator)
            with accelerator.accumulate(model):
                loss = self._loss(batch)
                accelerator.backward(loss)
                self.losses.append(loss.detach())
                if accelerator.sync_gradients:
                    norm = self._clip()
                self.optimizer.step()
                self.schedule.step()
                self.optimizer.zero_grad()
            self.worked += time.perf_counter() - clock
            if accelerator.sync_gradients:
                if recipe.after_step is not None:
                    recipe.after_step(self.plain_model)
                self.result.steps = step = self.result.steps + 1
                if step % show_every == 0 or step == self.steps:
                    progress.update(step, loss=self.losses[-1].item())
                if step % log_every == 0 or step == self.steps or step == 1:
                    self._log(step, norm)
                self._measure_speed(step)
                yield step
            clock = time.perf_counter()

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        smoothing = self.recipe.label_smoothing
        if not smoothing and self.recipe.mixed_precision == "no":
            return self.model(**batch).loss
        # Beyond the model products may be of 16 bits; a loss of that few says little near zero.
        logits = self.model(pixel_values=batch["pixel_values"]).logits.float()
        return nn.functional.cross_entropy(logits, batch["labels"], label_smoothing=smoothing)

    def _clip(self) -> Tensor:
        """Length of the gradient, which is scaled down to the limit. Every process has the gradient of
        all of them.
        """
        parameters = list(self.model.parameters())
        if self.recipe.max_grad_norm is not None:
            norm = self.accelerator.clip_grad_norm_(parameters, self.recipe.max_grad_norm)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not torch.isfinite(norm):
            self._diverged()
        return norm

    def _diverged(self) -> None:
        """The weights are still those before this step; their gradient says that nothing good can follow."""
        self._log(self.result.steps + 1, torch.tensor(math.nan))
        kept = self.folder / "last_finite"
        if self.accelerator.is_main_process:
            self.plain_model.save_pretrained(kept)
        raise UserError(
            f"the loss or its gradient is not finite at step {self.result.steps + 1}; try a lower learning rate, for example "
            f"--set {self.recipe.rate_setting}={self.recipe.learning_rate / 3:.1g}; the last finite weights are in {kept}"
        )

    def _measure_speed(self, step: int) -> None:
        self.result.data_share = self.waited / self.worked
        self.result.images_per_second = step * self.recipe.batch_size / self.worked

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The metrics on the held-out examples, each counted once whatever the number of processes."""
        self.model.eval()
        logits, labels = [], []
        for batch in self.held_out:
            found = self.model(pixel_values=batch["pixel_values"]).logits.float()
            both = self.accelerator.gather_for_metrics((found, batch["labels"]))
            logits.append(both[0])
            labels.append(both[1])
        self.model.train()
        return self.metrics(torch.cat(logits), torch.cat(labels))

    def _evaluate(self, epoch: int) -> None:
        found = {"step": self.result.steps, "epoch": epoch, **self.evaluate()}
        self.result.evaluations.append(found)
        losses = [row["loss"] for row in self.result.evaluations]
        self.result.best = losses.index(min(losses))
        if self.recipe.keep_best and self.result.best == len(losses) - 1 and self.accelerator.is_main_process:
            _replace_folder(self.folder / "best", self.plain_model.save_pretrained)
        self.history.append(
            {f"eval_{name}" if name not in ("step", "epoch") else name: v for name, v in found.items()}
        )
        self._write_history()

    def _out_of_patience(self) -> bool:
        worse = len(self.result.evaluations) - 1 - self.result.best
        return self.recipe.patience is not None and worse >= self.recipe.patience

    def _load_best(self) -> None:
        self.accelerator.wait_for_everyone()
        best = type(self.plain_model).from_pretrained(self.folder / "best")
        self.plain_model.load_state_dict(best.state_dict())

    def _anywhere(self, flag: bool) -> bool:
        """Whether it is true in any process: all must stop after the same step."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device)) > 0)

    def _log(self, step: int, norm: Tensor) -> None:
        loss = torch.stack(self.losses).mean()
        if self.accelerator.num_processes > 1:
            loss = self.accelerator.reduce(loss, reduction="mean")
        self.losses.clear()
        entry = {"step": step, "loss": loss.item(), "grad_norm": norm.item()}
        self.history.append(entry | {"learning_rate": self.optimizer.param_groups[0]["lr"]})
        self._write_history()

    def _write_history(self) -> None:
        if self.accelerator.is_main_process:
            write_text(
                self.folder / "history.jsonl", "".join(json.dumps(entry) + "\n" for entry in self.history)
            )

    def _save(self) -> None:
        """A checkpoint: weights, optimizer, schedule, random generators, and how far the loop is."""
        write_checkpoint(self.folder, self.result.steps, self._write)

    def _write(self, folder: Path) -> None:
        self.accelerator.save_state(str(folder))
        own = {
            "generator": self.generator.get_state(),
            "losses": torch.tensor([loss.item() for loss in self.losses]),
        }
        save_file(own, folder / OWN_FILE.format(self.accelerator.process_index))
        if self.accelerator.is_main_process:
            state = {
                "result": vars(self.result),
                "history": self.history,
                "waited": self.waited,
                "worked": self.worked,
            }
            write_json(folder / STATE_FILE, state)

    def _load(self) -> None:
        """Goes on from the part's checkpoint, if there is one."""
        folder = last_checkpoint(self.folder)
        if folder is None:
            return
        self.accelerator.load_state(str(folder))
        own = load_file(folder / OWN_FILE.format(self.accelerator.process_index))
        self.generator.set_state(own["generator"])
        self.losses = list(own["losses"].to(self.accelerator.device))
        state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        self.result = LoopResult(**state["result"])
        self.history, self.waited, self.worked = state["history"], state["waited"], state["worked"]


def _replace_folder(folder: Path, write: Callable[[Path], Any]) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    write(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


__all__ = [
    "LoopRecipe",
    "LoopResult",
    "ShuffledBatches",
    "Training",
    "adamw",
    "constant",
    "cosine",
    "one_cycle",
    "train_with_accelerate",
]
