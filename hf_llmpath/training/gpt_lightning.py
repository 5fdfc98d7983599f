"""The decoder's training as a Lightning module. Needs the extra: pip install 'hf-llmpath[lightning]'

module = GPTModule(model, recipe)
lightning.Trainer(max_steps=recipe.steps, gradient_clip_val=recipe.max_grad_norm, ...).fit(module, loader)
module.model.save_pretrained("model")
"""

import logging
import tempfile
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ..data.token_file import TokenBlocks
from ..errors import UserError
from .gpt import GPTRecipe, blocks_loader

try:
    import lightning
except ImportError:
    raise UserError("lightning is not installed; install it with: pip install 'hf-llmpath[lightning]'") from None


class GPTModule(lightning.LightningModule):
    """A causal language model, its loss and its optimiser.

    Args:
        model: takes `input_ids` and `shift_labels`, returns a `loss`.
        recipe: how to train it.

    Attributes:
        losses: of every optimiser step.
    """

    def __init__(self, model: nn.Module, recipe: GPTRecipe):
        super().__init__()
        self.model, self.recipe = model, recipe
        self.losses: list[float] = []
        self._pieces: list[Tensor] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = self.model(**batch, use_cache=False).loss
        self._pieces.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self._pieces) == self.recipe.gradient_accumulation_steps:
            mean = torch.stack(self._pieces).mean()
            if self.trainer.world_size > 1:
                mean = self.trainer.strategy.reduce(mean, reduce_op="mean")
            self.losses.append(mean.item())
            self._pieces.clear()

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.recipe.optimizer(self.model)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.recipe.scheduler(optimizer), "interval": "step"},
        }


def lightning_trainer(recipe: GPTRecipe, **options: Any) -> "lightning.Trainer":
    """Lightning's trainer for the recipe: its steps, precision, accumulation and clipping; `options` go before."""
    return lightning.Trainer(
        **{
            "max_steps": recipe.steps,
            "precision": "bf16-mixed" if recipe.bf16 else "32-true",
            "accumulate_grad_batches": recipe.gradient_accumulation_steps,
            "gradient_clip_val": recipe.max_grad_norm,
            "accelerator": "auto" if torch.cuda.is_available() else "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        | options
    )


def fit_with_lightning(model: nn.Module, blocks: TokenBlocks, recipe: GPTRecipe, seed: int) -> list[float]:
    """Trains `model` in place; the loss of every step."""
    lightning.seed_everything(seed, verbose=False)
    if recipe.gradient_checkpointing:
        model.activation_checkpointing_enable()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = GPTModule(model.train(), recipe)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about loader workers, which a gather from memory does not need
        trainer = lightning_trainer(recipe, default_root_dir=folder)
        trainer.fit(module, blocks_loader(blocks, recipe.batch_size))
    model.eval()
    return module.losses


__all__ = ["GPTModule", "fit_with_lightning", "lightning_trainer"]
