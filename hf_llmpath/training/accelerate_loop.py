"""A bare training loop with Accelerate: one process or several, full or mixed precision, batches whole or
in pieces.

    torchrun --nproc_per_node 2 script.py      # the same weights as python script.py, up to rounding

The loop is `AcceleratedTraining.run`: accumulate, forward, backward, clip, step. What is not arithmetic
(checkpoints, history, progress, Ctrl-C, divergence) is `Loop`.
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

PROCESS_FILE = "process_{}.safetensors"  # in a checkpoint: what belongs to one process


class PieceSampler(BatchSampler):
    """Row numbers of every piece of a training, the same in every process.

    Args:
        examples: how many rows the data set has.
        recipe: gives the size and the number of the pieces.
        seed: of the order, which is another one in each epoch; None to read the rows in their own order.

    Attributes:
        first: how many pieces to leave out at the beginning, after a stop.
    """

    def __init__(self, examples: int, recipe: Recipe, seed: int | None = None):
        self.examples, self.seed, self.batch_size = examples, seed, recipe.piece_size
        self.count, self.first, self.drop_last = recipe.steps * recipe.accumulation, 0, True
        # What does not fill a whole batch waits for the next epoch.
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
                generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
                order, ordered_epoch = torch.randperm(self.examples, generator=generator), epoch
            yield order[rows.start : rows.stop].tolist()


class AcceleratedTraining:
    """A model, its optimizer and its data, prepared for the processes that a launcher has started.

    Args:
        model: trained in place.
        examples: a data set that gives a whole batch for a list of rows.
        recipe: how to train; a batch is one of all processes together.
        job: where checkpoints, history and progress go.
        seed: of dropout, and of the order if `shuffle`.
        shuffle: read the examples in a new order each epoch, otherwise in their own order.
        log_every: steps between two lines of the history; about a hundred lines if not given.

    Attributes:
        loop: counts the steps and has the history.
        generator: random numbers for changes to the batches; they continue after a stop.
        waited, worked: seconds of the steps that were spent waiting for a batch, and all of them.

    Raises:
        UserError: a batch that the processes cannot share evenly; Muon under DeepSpeed; a checkpoint that
            another number of processes wrote.
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
            # The loader's batches are those of all processes together: each takes its slice.
            dataloader_config=DataLoaderConfiguration(split_batches=True),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        is_deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        if is_deepspeed and recipe.adam_learning_rate is not None:
            raise UserError(
                "DeepSpeed's ZeRO cuts matrices into flat pieces and Muon needs them whole: --optimizer adamw"
            )
        share_of(recipe.piece_size)
        # Dropout differs from process to process, the order of the data does not.
        set_seed(seed, device_specific=True)
        self.generator = torch.Generator(self.accelerator.device)
        self.generator.manual_seed(seed + self.accelerator.process_index)
        if recipe.gradient_checkpointing:
            model.activation_checkpointing_enable()
        optimizer = recipe.optimizer(model)
        # The schedule counts optimizer steps: it is not handed to `prepare`, which would count those of
        # all processes.
        self.scheduler = recipe.scheduler(optimizer)
        sampler = PieceSampler(len(examples), recipe, seed if shuffle else None)  # type: ignore[arg-type]
        # A generator of its own: a loader without one would move the one that dropout draws from.
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
            loss_of: the mean loss of a batch, from the prepared model.
            watch: called with the number of steps after each, before a checkpoint is written; returns
                whether to stop early.
            save_in: where the first process writes the model in the end, gathered from all of them.
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
                    accelerator.backward(loss)
                    pieces.append(accelerator.reduce(loss.detach(), reduction="mean"))
                    if accelerator.sync_gradients:
                        mean = torch.stack(pieces).mean().item()
                        norm = self._clip()
                        self._require_finite(mean, norm)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                self.worked += time.perf_counter() - clock
                if accelerator.sync_gradients:
                    rate = self.optimizer.param_groups[0]["lr"]
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
        accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)  # a forward pass in 32 bits again
        accelerator.free_memory()
        if recipe.gradient_checkpointing:
            self.plain_model.activation_checkpointing_disable()
        self.plain_model.eval()

    def _clip(self) -> float:
        """Scales the gradient down to the limit; returns the length that it had, in all processes."""
        if self.recipe.max_grad_norm is not None:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        if norm is None:  # DeepSpeed clips inside its step
            return 0.0
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _require_finite(self, loss: float, norm: float) -> None:
        """The weights are still those from before this step; what follows cannot be good."""
        if not torch.tensor([loss, norm]).isfinite().all():
            folder = self.loop.folder / "last_finite"
            self.save_model(folder)
            self.loop.require_finite(loss, last_finite=folder)
            self.loop.require_finite(norm, "the gradient", folder)

    def save_model(self, folder: Path) -> None:
        """Gathers the weights from all processes; the first one writes them."""
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
        if list(checkpoint.glob("custom_checkpoint_*")):  # the schedule was a file of its own
            raise UserError(f"{checkpoint} was written by an older version; start over in another folder")
        self.accelerator.load_state(str(checkpoint))
        state: dict[str, Any] = load_file(checkpoint / PROCESS_FILE.format(self.accelerator.process_index))
        self.generator.set_state(state["generator"])
        self.scheduler.last_epoch = self.loop.step
