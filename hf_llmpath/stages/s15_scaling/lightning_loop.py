"""Trains the decoder as a Lightning module, which needs an extra: pip install 'hf-llmpath[lightning]'.

losses = fit_with_lightning(model, blocks, recipe, job, seed)
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...data.batches.token_file import TokenBlocks
from ...errors import UserError
from ...runs import Job
from ...training.checkpoints import process_count, process_index
from ...training.distributed.workers import PATIENCE, share_of
from ...training.loop import Loop
from ...training.recipe import Recipe
from ...training.recipes.gpt import next_token_loss

try:
    import lightning
except ImportError:
    raise UserError(
        "lightning is not installed; install it with: pip install 'hf-llmpath[lightning]'"
    ) from None

LIGHTNING_FILE = "lightning.ckpt"  # the name of Lightning's own file in a checkpoint of `Loop`


class ProcessPieces:
    """Yields this process's share of every piece of a training run, in order.

    Lightning stores the `state_dict` in its checkpoints, so a resumed run continues with the next piece.
    """

    def __init__(self, blocks: TokenBlocks, recipe: Recipe):
        self.blocks, self.piece_size = blocks, recipe.piece_size
        self.pieces_read = 0

    def __len__(self) -> int:
        return len(self.blocks) // self.piece_size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        share = share_of(self.piece_size)
        for piece in range(self.pieces_read, len(self)):
            first = piece * self.piece_size + process_index() * share
            # Counted before the yield: a checkpoint after this piece must not read it again.
            self.pieces_read += 1
            # `input_ids` and `shift_labels`, (share, length) each
            yield self.blocks.__getitems__(list(range(first, first + share)))
        self.pieces_read = 0  # a new pass begins with the first piece

    def state_dict(self) -> dict[str, int]:
        return {"read": self.pieces_read}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.pieces_read = state["read"]


class GPTModule(lightning.LightningModule):
    """Wraps a causal language model with its loss and optimizer, and reports its steps to `loop`.

    Args:
        model: a model that takes `input_ids` and `shift_labels` and returns a `loss`.
        recipe: the settings of the training.
        loop: the loop that counts the steps and writes history and checkpoints.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, loop: Loop):
        super().__init__()
        self.model, self.recipe, self.loop = model, recipe, loop
        self._pieces: list[Tensor] = []
        self._random: Tensor | None = None  # the random state to restore, if the run is resumed

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = next_token_loss(self.model, batch)
        self._pieces.append(loss.detach())  # the graph of a piece must not outlive its backward pass
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self._pieces) < self.recipe.accumulation:  # the optimizer has not moved yet
            return
        mean = torch.stack(self._pieces).mean()  # (pieces,) -> a scalar
        if self.trainer.world_size > 1:
            mean = self.trainer.strategy.reduce(mean, reduce_op="mean")
        self._pieces.clear()
        self.loop.after_step(mean)
        # After Ctrl-C, Lightning ends the training, and leaving `loop` raises KeyboardInterrupt.
        self.trainer.should_stop = self.loop.save_if_due(self._write)

    def _write(self, folder: Path) -> None:
        self.trainer.save_checkpoint(folder / LIGHTNING_FILE)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the state of each process's random generator, which Lightning leaves out."""
        on_gpu = self.device.type == "cuda"
        state = torch.cuda.get_rng_state(self.device) if on_gpu else torch.get_rng_state()
        states = [state] * process_count()
        if process_count() > 1:
            dist.all_gather_object(states, state)
        checkpoint["random"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._random = checkpoint["random"][process_index()]

    # Restored only here, because Lightning may draw random numbers after it has loaded the checkpoint.
    def on_train_start(self) -> None:
        if self._random is None:
            return
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self._random, self.device)
        else:
            torch.set_rng_state(self._random)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.recipe.optimizer(self.model)
        return {
            "optimizer": optimizer,
            # Lightning's default interval is an epoch.
            "lr_scheduler": {"scheduler": self.recipe.scheduler(optimizer), "interval": "step"},
        }


def lightning_trainer(recipe: Recipe, folder: str) -> "lightning.Trainer":
    """Creates Lightning's trainer with the recipe's steps, precision, accumulation, and clipping.

    It runs on the processes that torchrun has started. Lightning's own files go to `folder`.
    """
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return lightning.Trainer(
        max_steps=recipe.steps,
        precision="bf16-mixed" if recipe.bf16 else "32-true",
        accumulate_grad_batches=recipe.accumulation,
        gradient_clip_val=recipe.max_grad_norm,
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=int(os.environ["LOCAL_WORLD_SIZE"]) if several else 1,
        num_nodes=int(os.environ["GROUP_WORLD_SIZE"]) if several else 1,
        strategy="ddp" if several else "auto",
        default_root_dir=folder,
        # `Loop` writes the history and the checkpoints and shows the progress.
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fit_with_lightning(
    model: nn.Module, blocks: TokenBlocks, recipe: Recipe, job: Job, seed: int
) -> list[float]:
    """Trains a model with Lightning's trainer, which `torchrun` can run in several processes.

    Args:
        model: the model, which is trained in place.
        blocks, recipe: the data and the settings; the processes divide each batch among them.
        job: the place for checkpoints, history, and progress.
        seed: the seed of dropout.

    Returns:
        The loss of every step, averaged over all processes.

    Raises:
        UserError: If the processes cannot share a batch evenly, or if `Loop` raises it.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    share_of(recipe.piece_size)  # raises an error now rather than at the first batch
    loop = Loop(job, recipe.steps, recipe.advice, recipe.saves, log_every=1)
    # Dropout differs between processes; the order of the blocks does not.
    lightning.seed_everything(seed + process_index(), verbose=False)
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = GPTModule(model.train(), recipe, loop)
    with loop, tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Lightning asks for loader workers, but batches are gathered from memory.
        warnings.simplefilter("ignore")
        state = None if loop.checkpoint is None else loop.checkpoint / LIGHTNING_FILE
        lightning_trainer(recipe, folder).fit(module, ProcessPieces(blocks, recipe), ckpt_path=state)
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_disable()
    model.eval()
    return loop.losses


__all__ = ["GPTModule", "ProcessPieces", "fit_with_lightning", "lightning_trainer"]
