"""Pretrains a decoder on a stream of tokens with the Trainer or with the bare Accelerate loop.

The order of the blocks, the optimizer, the schedule, and the clipping come from one `Recipe`, so both loops
give the same loss curve.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, set_seed

from ...data.batches.streams import IGNORED
from ...data.batches.token_file import TokenBlocks, read_tokens, write_tokens
from ...models.configuration_gpt import LLMPathGPTConfig
from ...models.modeling_gpt import LLMPathGPTForCausalLM
from ...runs import Job, Run
from ..accelerate_loop import AcceleratedTraining
from ..recipe import Recipe
from ..trainer import fit
from .character_model import CharacterData


@dataclass(frozen=True)
class GPTShape:
    """The sizes of a decoder.

    Attributes:
        hidden_size, num_hidden_layers, num_attention_heads, dropout: sizes as in `LLMPathGPTConfig`.
        context: number of tokens that the decoder reads at once.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    context: int
    dropout: float = 0.0

    def config(self, tokenizer: PreTrainedTokenizerFast) -> LLMPathGPTConfig:
        return LLMPathGPTConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            max_position_embeddings=self.context,
            dropout=self.dropout,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )


@dataclass(frozen=True)
class TokenData:
    """A corpus as token files.

    Attributes:
        tokenizer: tokenizer that made the tokens.
        train, validation: token ids `(n,)`, mapped into memory from files.
    """

    tokenizer: PreTrainedTokenizerFast
    train: np.ndarray
    validation: np.ndarray

    @classmethod
    def in_folder(cls, folder: Path, data: CharacterData) -> "TokenData":
        """Writes the streams of `data` into token files in `folder` and maps them."""
        splits = {"train": data.train, "validation": data.validation}
        files = {
            name: write_tokens(folder / f"{name}.npy", ids, len(data.tokenizer))
            for name, ids in splits.items()
        }
        return cls(data.tokenizer, read_tokens(files["train"]), read_tokens(files["validation"]))


def train_gpt(
    data: TokenData, shape: GPTShape, recipe: Recipe, run: Run, name: str, seed: int
) -> dict[str, Any]:
    """Trains the model `name` of `run`, or reads it back if this run has already trained it.

    Returns:
        A dictionary with `validation_loss` (nats per token over the whole validation split, in blocks that
        overlap by half, so each token is predicted from at least half a context), `block_loss` (the same with
        adjacent blocks that do not overlap), `bits_per_character`, `perplexity`, `parameters`, `tokens`,
        `epochs`, `flops` (6 x parameters x tokens; Kaplan et al. 2020, section 2.1), and `training_seconds`.
        The model is in `run.job(name).model_dir`.
    """

    def work(job: Job) -> dict[str, Any]:
        model = new_model(shape.config(data.tokenizer), seed)
        blocks = TokenBlocks(data.train, shape.context, recipe.batch_size, recipe.steps, seed)
        tokens_per_step = recipe.batch_size * shape.context
        began = time.perf_counter()
        fit(model, blocks, recipe, job, seed, tokens_per_step=tokens_per_step)
        seconds = time.perf_counter() - began
        job.save_model(model, data.tokenizer)
        loss = block_loss(model, data.validation, shape.context, max(1, shape.context // 2))
        parameters = model.num_parameters()
        return {
            "validation_loss": loss,
            "block_loss": block_loss(model, data.validation, shape.context),
            "bits_per_character": loss / math.log(2),
            "perplexity": math.exp(loss),
            "parameters": parameters,
            "tokens": tokens_per_step * recipe.steps,
            "epochs": blocks.epochs,
            "flops": 6.0 * parameters * tokens_per_step * recipe.steps,
            "training_seconds": seconds,
        }

    return run.once(name, work)


def new_model(config: LLMPathGPTConfig, seed: int) -> LLMPathGPTForCausalLM:
    """Makes an untrained decoder; the same seed gives the same weights."""
    set_seed(seed)
    return LLMPathGPTForCausalLM(config)


def next_token_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Computes the mean loss of a batch of blocks."""
    return model(**batch, use_cache=False).loss


def fit_with_accelerate(
    model: nn.Module, blocks: TokenBlocks, recipe: Recipe, job: Job, seed: int, save_in: Path | None = None
) -> list[float]:
    """Trains with the bare Accelerate loop, which `torchrun` can run in several processes.

    Args:
        model: model to train, in place.
        blocks, recipe: the data and how to train; a batch belongs to all processes together.
        job: where checkpoints, history, and progress go.
        seed: seed of dropout.
        save_in: folder where the first process writes the model, gathered from all processes.

    Returns:
        The loss of every step, as the mean over all processes.
    """
    training = AcceleratedTraining(model, blocks, recipe, job, seed, log_every=1)
    training.run(next_token_loss, save_in=save_in)
    return training.loop.losses


def block_loss(
    model: nn.Module, tokens: np.ndarray, length: int, stride: int | None = None, batch_size: int = 64
) -> float:
    """Computes the mean loss in nats over every token of `tokens` but the first, for a stateless model.

    Args:
        tokens: token ids `(n,)`.
        length: maximum number of tokens that the model sees at once.
        stride: distance between the beginnings of two blocks, by default `length`. Blocks are then adjacent,
            and a token is predicted from half a block on average. With a smaller stride, blocks overlap, and
            each token counts only in the block where at least `length - stride` others precede it (except at
            the beginning of the text).
        batch_size: number of blocks per pass.
    """
    stride = stride or length
    targets = len(tokens) - 1
    starts = np.arange(0, max(1, targets - (length - stride)), stride)
    # (n - 1 + length,) each: the last block may reach beyond the text
    padded = np.concatenate([tokens[:-1], np.zeros(length, dtype=np.int64)]).astype(np.int64)
    labels = np.concatenate([tokens[1:], np.full(length, IGNORED)]).astype(np.int64)
    model.eval()
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(starts), batch_size):
            # (blocks, 1) + (length,) -> (blocks, length)
            indices = starts[first : first + batch_size, None] + np.arange(length)
            target = labels[indices]  # (blocks, length)
            # In every block but the first, the block before it has counted the first tokens already.
            target[1 if first == 0 else 0 :, : length - stride] = IGNORED
            logits = model(input_ids=torch.from_numpy(padded[indices]), use_cache=False).logits
            total += F.cross_entropy(
                logits.float().flatten(0, 1),  # (blocks * length, vocabulary)
                torch.from_numpy(target).flatten(),  # (blocks * length,)
                ignore_index=IGNORED,
                reduction="sum",
            ).item()
    return total / targets
