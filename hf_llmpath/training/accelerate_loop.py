"""Trains in a bare loop with Accelerate.

It works in one process or several, in full or mixed precision, and with batches whole or in pieces.

    torchrun --nproc_per_node 2 script.py      # the same weights as python script.py, up to rounding

The loop is `AcceleratedTraining.run`: accumulate, forward, backward, clip, step. `Loop` handles everything
else: checkpoints, history, progress, Ctrl-C, and divergence.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration, InitProcessGroupKwargs
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DistributedType, set_seed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.data import BatchSampler, DataLoader, Dataset

from ..data.batches.streams import as_is
from ..errors import UserError
from ..runs import Job
from .distributed.workers import PATIENCE, share_of
from .loop import Loop
from .recipe import Recipe

PROCESS_FILE = "process_{}.safetensors"  # file in a checkpoint: state of one process


class PieceSampler(BatchSampler):
    """Yields the row numbers of every piece of a training run, the same in every process.

    Args:
        examples: number of rows in the data set.
        recipe: recipe that gives the size and the number of the pieces.
        seed: seed of the order, which is new in each epoch; None to read the rows in their own order.

    Attributes:
        first: number of pieces to skip at the beginning, after an interruption.
    """

    def __init__(self, examples: int, recipe: Recipe, seed: int | None = None):
        self.examples, self.seed, self.batch_size = examples, seed, recipe.piece_size
        self.count, self.first, self.drop_last = recipe.steps * recipe.accumulation, 0, True
        # Rows that do not fill a whole batch wait for the next epoch.
        self.per_epoch = examples // recipe.batch_size * recipe.accumulation

    def __len__(self) -> int:
        return self.count - self.first

    def __iter__(self) -> Iterator[list[int]]:
        order, ordered_epoch = None, -1
        for piece in range(self.first, self.count):
            epoch, index = divmod(piece, self.per_epoch)
            rows = range(index * self.batch_size, (index + 1) * self.batch_size)
            if self.seed is None:
                yield list(rows)
                continue
            if epoch != ordered_epoch:
                # The large factor keeps the epochs of neighboring seeds from sharing an order. Seed and epoch
                # alone decide, so a resumed run draws the same order.
                generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
                order, ordered_epoch = torch.randperm(self.examples, generator=generator), epoch
            yield order[rows.start : rows.stop].tolist()


class AcceleratedTraining:
    """A model, its optimizer, and its data, prepared for the processes that a launcher has started.

    Args:
        model: model to train, in place.
        examples: data set that gives a whole batch for a list of rows.
        recipe: how to train; the batch size is that of all processes together.
        job: where checkpoints, history, and progress go.
        seed: seed of dropout and, with `shuffle`, of the order.
        shuffle: whether to read the examples in a new order each epoch instead of their own order.
        log_every: number of steps between two lines of the history, by default such that there are about a
            hundred lines.

    Attributes:
        loop: `Loop` that counts the steps and has the history.
        generator: generator of the changes to the batches; it continues after an interruption.
        waited, worked: seconds spent waiting for batches, and seconds of all steps, including the wait.

    Raises:
        UserError: the processes cannot share a batch evenly, Muon is used under DeepSpeed, or a different
            number of processes wrote the checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        examples: Dataset,
        recipe: Recipe,
        job: Job,
        seed: int,
        shuffle: bool = False,
        log_every: int | None = None,
    ):
        self.plain_model, self.recipe = model, recipe
        AcceleratorState._reset_state()  # a process may train several times, in different precision
        GradientState._reset_state()
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="bf16" if recipe.bf16 else "no",
            gradient_accumulation_steps=recipe.accumulation,
            # A batch of the loader belongs to all processes together, and each takes its slice.
            dataloader_config=DataLoaderConfiguration(split_batches=True),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        is_deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        if is_deepspeed and recipe.adam_learning_rate is not None:
            raise UserError(
                "DeepSpeed's ZeRO cuts matrices into flat pieces and Muon needs them whole: --optimizer adamw"
            )
        share_of(recipe.piece_size)  # raises if the processes cannot share a piece evenly
        # Dropout differs from process to process; the order of the data does not.
        set_seed(seed, device_specific=True)
        self.generator = torch.Generator(self.accelerator.device)
        self.generator.manual_seed(seed + self.accelerator.process_index)
        if recipe.gradient_checkpointing:
            model.activation_checkpointing_enable()
        optimizer = recipe.optimizer(model)
        # The schedule counts optimizer steps. It is kept from `prepare`, which would count the steps of
        # all processes.
        self.scheduler = recipe.scheduler(optimizer)
        sampler = PieceSampler(len(examples), recipe, seed if shuffle else None)  # type: ignore[arg-type]
        # Without its own generator, the loader would advance the one that dropout draws from.
        loader = DataLoader(examples, batch_sampler=sampler, collate_fn=as_is, generator=torch.Generator())
        self.model, self.optimizer, self.loader = self.accelerator.prepare(model, optimizer, loader)
        self.loop = Loop(job, recipe.steps, recipe.advice, recipe.saves, log_every=log_every)
        sampler.first = self.loop.step * recipe.accumulation
        if self.loop.checkpoint is not None:
            self._read(self.loop.checkpoint)
        self.waited, self.worked = (self.loop.state.get(name, 0.0) for name in ("waited", "worked"))

    def run(
        self,
        loss_of: Callable[[nn.Module, dict[str, Tensor]], Tensor],
        watch: Callable[[int], bool] | None = None,
        save_in: Path | None = None,
    ) -> None:
        """Takes all steps that are left.

        Args:
            loss_of: function that computes the mean loss of a batch with the prepared model.
            watch: function that is called with the number of steps done after each step, before a
                checkpoint is written, and returns whether to stop early.
            save_in: folder where the first process writes the final model, gathered from all processes.
        """
        accelerator, recipe, loop = self.accelerator, self.recipe, self.loop
        pieces: list[Tensor] = []
        self.model.train()
        with loop:
            clock = time.perf_counter()
            for batch in self.loader:
                self.waited += time.perf_counter() - clock
                with accelerator.accumulate(self.model):
                    loss = loss_of(self.model, batch)
                    accelerator.backward(loss)  # divides by the number of pieces, so the pieces sum to a mean
                    pieces.append(accelerator.reduce(loss.detach(), reduction="mean"))
                    if accelerator.sync_gradients:
                        mean = torch.stack(pieces).mean().item()  # pieces x () -> (pieces,) -> ()
                        norm = self._clip()
                        self._require_finite(mean, norm)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                self.worked += time.perf_counter() - clock
                if accelerator.sync_gradients:  # the last piece of a batch, so a step has been taken
                    rate = self.optimizer.param_groups[0]["lr"]  # the rate of this step, not of the next
                    self.scheduler.step()
                    pieces.clear()
                    loop.state |= {"waited": self.waited, "worked": self.worked}
                    loop.after_step(mean, grad_norm=norm, learning_rate=rate)
                    if watch is not None and watch(loop.step):
                        break
                    if loop.save_if_due(self._write):
                        raise KeyboardInterrupt
                clock = time.perf_counter()
            if save_in is not None:
                self.save_model(save_in)
        accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)  # forward passes are in 32 bits again
        accelerator.free_memory()
        if recipe.gradient_checkpointing:
            self.plain_model.activation_checkpointing_disable()
        self.plain_model.eval()

    def _clip(self) -> float:
        """Scales the gradient down to the limit; returns its norm before that, over all processes."""
        if self.recipe.max_grad_norm is not None:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        if norm is None:  # DeepSpeed clips inside its step
            return 0.0
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _require_finite(self, loss: float, norm: float) -> None:
        """Saves the weights, which are still those from before this step, and raises if it diverged."""
        if not torch.tensor([loss, norm]).isfinite().all():
            folder = self.loop.folder / "last_finite"
            self.save_model(folder)
            self.loop.require_finite(loss, last_finite=folder)
            self.loop.require_finite(norm, "the gradient", folder)

    def save_model(self, folder: Path) -> None:
        """Gathers the weights from all processes; the first process writes them."""
        weights = self.accelerator.get_state_dict(self.model)
        if self.accelerator.is_main_process:
            plain = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            plain.save_pretrained(folder, state_dict=weights)
        self.accelerator.wait_for_everyone()

    def _write(self, folder: Path) -> None:
        self.accelerator.save_state(str(folder))
        state = {"generator": self.generator.get_state()}
        save_file(state, folder / PROCESS_FILE.format(self.accelerator.process_index))

    def _read(self, checkpoint: Path) -> None:
        if list(checkpoint.glob("custom_checkpoint_*")):  # older versions saved the schedule on its own
            raise UserError(f"{checkpoint} was written by an older version; start over in another folder")
        self.accelerator.load_state(str(checkpoint))
        state: dict[str, Any] = load_file(checkpoint / PROCESS_FILE.format(self.accelerator.process_index))
        self.generator.set_state(state["generator"])
        self.scheduler.last_epoch = self.loop.step  # the rate depends on the step alone
