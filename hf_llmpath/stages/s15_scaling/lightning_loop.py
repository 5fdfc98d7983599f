"""The decoder's training as a Lightning module. Needs the extra: pip install 'hf-llmpath[lightning]'

module = GPTModule(model, recipe)
lightning_trainer(recipe).fit(module, Batches(blocks, recipe.batch_size))
module.model.save_pretrained("model")
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
from ...training.checkpoints import last_checkpoint, process_count, process_index, write_checkpoint
from ...training.distributed.workers import PATIENCE, share_of, stop_together
from ...training.recipes.gpt import GPTRecipe, blocks_loader

try:
    import lightning
except ImportError:
    raise UserError(
        "lightning is not installed; install it with: pip install 'hf-llmpath[lightning]'"
    ) from None

STATE_FILE = "lightning.ckpt"  # of a checkpoint


class Batches:
    """The batches of a training in order, of each this process's share; Lightning keeps in its
    checkpoints how far they are.

    Args:
        blocks: what to read.
        batch_size: rows of a batch, over all processes.
    """

    def __init__(self, blocks: TokenBlocks, batch_size: int):
        self.blocks, self.batch_size = blocks, batch_size
        self.read = 0

    def __len__(self) -> int:
        return len(self.blocks) // self.batch_size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        share, place = share_of(self.batch_size), process_index()
        for batch in blocks_loader(self.blocks, self.batch_size, self.read * self.batch_size):
            self.read += 1
            yield {name: rows[place * share : (place + 1) * share] for name, rows in batch.items()}
        self.read = 0

    def state_dict(self) -> dict[str, int]:
        return {"read": self.read}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.read = state["read"]


class GPTModule(lightning.LightningModule):
    """A causal language model, its loss and its optimizer.

    Args:
        model: takes `input_ids` and `shift_labels`, returns a `loss`.
        recipe: how to train it.
        folder: where `recipe.saves` checkpoints are written on the way, if given.

    Attributes:
        losses: of every optimizer step.
    """

    def __init__(self, model: nn.Module, recipe: GPTRecipe, folder: Path | None = None):
        super().__init__()
        self.model, self.recipe, self.folder = model, recipe, folder
        self.losses: list[float] = []
        self._pieces: list[Tensor] = []
        self._random: Tensor | None = None

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = self.model(**batch, use_cache=False).loss
        self._pieces.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self._pieces) < self.recipe.gradient_accumulation_steps:
            return
        mean = torch.stack(self._pieces).mean()
        if self.trainer.world_size > 1:
            mean = self.trainer.strategy.reduce(mean, reduce_op="mean")
        self.losses.append(mean.item())
        self._pieces.clear()
        done = len(self.losses)
        if self.folder is not None and done % self.recipe.save_every == 0 and done < self.recipe.steps:
            write_checkpoint(
                self.folder, done, lambda temporary: self.trainer.save_checkpoint(temporary / STATE_FILE)
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the losses so far, and the random numbers of each process, which Lightning leaves out."""
        on_gpu = self.device.type == "cuda"
        states = [torch.cuda.get_rng_state(self.device) if on_gpu else torch.get_rng_state()]
        if process_count() > 1:
            mine = states[0]
            states = [mine] * process_count()
            dist.all_gather_object(states, mine)
        checkpoint |= {"losses": list(self.losses), "random": states}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.losses, self._random = list(checkpoint["losses"]), checkpoint["random"][process_index()]

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
            "lr_scheduler": {"scheduler": self.recipe.scheduler(optimizer), "interval": "step"},
        }


def lightning_trainer(recipe: GPTRecipe, **options: Any) -> "lightning.Trainer":
    """Lightning's trainer for the recipe: its steps, precision, accumulation and clipping, on the
    processes that torchrun has started; `options` go before."""
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    return lightning.Trainer(
        **{
            "max_steps": recipe.steps,
            "precision": "bf16-mixed" if recipe.bf16 else "32-true",
            "accumulate_grad_batches": recipe.gradient_accumulation_steps,
            "gradient_clip_val": recipe.max_grad_norm,
            "accelerator": "auto" if torch.cuda.is_available() else "cpu",
            "devices": int(os.environ["LOCAL_WORLD_SIZE"]) if several else 1,
            "num_nodes": int(os.environ["GROUP_WORLD_SIZE"]) if several else 1,
            "strategy": "ddp" if several else "auto",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        | options
    )


def fit_with_lightning(
    model: nn.Module, blocks: TokenBlocks, recipe: GPTRecipe, seed: int, folder: Path | None = None
) -> list[float]:
    """The training by Lightning's trainer; `torchrun` runs it in several processes.

    Args:
        model: trained in place.
        blocks, recipe: what and how; a batch of the recipe is one of all processes together.
        seed: of dropout.
        folder: where checkpoints are kept, `recipe.saves` times on the way; the training goes on from the
            one that is there.

    Returns:
        The loss of every step, the mean over all processes.

    Raises:
        UserError: a batch that the processes cannot share evenly; a checkpoint that another number of
            processes wrote; another process is gone.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    share_of(recipe.batch_size)
    checkpoint = None if folder is None else last_checkpoint(folder)
    # Dropout differs from process to process, the order of the blocks does not.
    lightning.seed_everything(seed + process_index(), verbose=False)
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = GPTModule(model.train(), recipe, folder)
    with stop_together(folder), tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about loader workers, which a gather from memory does not need
        trainer = lightning_trainer(recipe, default_root_dir=scratch)
        state = None if checkpoint is None else checkpoint / STATE_FILE
        trainer.fit(module, Batches(blocks, recipe.batch_size), ckpt_path=state)
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_disable()
    model.eval()
    return module.losses


__all__ = ["Batches", "GPTModule", "fit_with_lightning", "lightning_trainer"]
