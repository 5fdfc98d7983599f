"""Trains a character-level recurrent language model and measures its loss on a validation split."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, set_seed

from ...data.batches.streams import IGNORED, Documents, StreamWindows
from ...data.sources import Texts
from ...data.tokenizers.characters import encode_characters, train_character_tokenizer
from ...errors import UserError
from ...models.configuration_rnn import LLMPathRNNConfig
from ...models.modeling_rnn import LLMPathRNNForCausalLM
from ...runs import Job, Run
from ..baselines import ngram_loss
from ..recipe import Recipe
from ..trainer import fit


@dataclass(frozen=True)
class CharacterData:
    """A corpus as characters.

    Attributes:
        tokenizer: tokenizer whose vocabulary is the characters of the training split.
        train, validation: token ids; for `documents`, a list with one array per document, and otherwise one
            long array each.
        documents: whether each text stands alone (names) or all texts form one stream (stories, a play).
    """

    tokenizer: PreTrainedTokenizerFast
    train: Any
    validation: Any
    documents: bool

    @classmethod
    def from_texts(cls, texts: Texts, documents: bool, byte_fallback: bool = False) -> "CharacterData":
        tokenizer = train_character_tokenizer(texts.train, byte_fallback)
        splits = [encode_characters(tokenizer, split) for split in (texts.train, texts.validation)]
        if not documents:
            end = np.array([tokenizer.eos_token_id])
            splits = [  # several texts become one, (tokens,), with an end-of-text token before and after each
                texts[0]
                if len(texts) == 1
                else np.concatenate([*(x for text in texts for x in (end, text)), end])
                for texts in splits
            ]
        return cls(tokenizer, *splits, documents)

    def ngram_loss(self, order: int = 5) -> float:
        """Computes the loss of the n-gram baseline on the validation split, over the model's targets."""
        train, validation = self.train, self.validation
        if self.documents:
            end = np.array([self.tokenizer.eos_token_id])
            # (tokens,) each
            train, validation = (
                np.concatenate([x for text in split for x in (text, end)]) for split in (train, validation)
            )
        # With end tokens in front, even the first token gets a whole context.
        before = np.full(order, self.tokenizer.eos_token_id)
        return ngram_loss(
            np.concatenate([before, train]), np.concatenate([before, validation]), len(self.tokenizer), order
        )


@dataclass(frozen=True)
class CharacterModel:
    """The sizes of a recurrent model and the length of the windows that it reads in training."""

    cell: str
    hidden_size: int
    embedding_size: int
    num_hidden_layers: int
    dropout: float
    context: int
    initializer_range: float = 0.1

    def config(self, tokenizer: PreTrainedTokenizerFast) -> LLMPathRNNConfig:
        return LLMPathRNNConfig(
            cell=self.cell,
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            embedding_size=self.embedding_size,
            num_hidden_layers=self.num_hidden_layers,
            dropout=self.dropout,
            initializer_range=self.initializer_range,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )


def train_character_model(
    data: CharacterData, shape: CharacterModel, recipe: Recipe, run: Run, name: str, seed: int
) -> dict[str, Any]:
    """Trains the model `name` of `run`, or reads it back if this run has already trained it.

    Returns:
        A dictionary with `validation_loss` (nats per character), `bits_per_character`, `perplexity`,
        `parameters`, `tokens`, and `seconds`. The model is in `run.job(name).model_dir`.
    """

    def work(job: Job) -> dict[str, Any]:
        began = time.perf_counter()
        set_seed(seed)
        model = LLMPathRNNForCausalLM(shape.config(data.tokenizer))
        if data.documents:
            end, pad = data.tokenizer.eos_token_id, data.tokenizer.pad_token_id
            train, held_out = Documents(data.train, end, pad), Documents(data.validation, end, pad)
            tokens_per_step = int(recipe.batch_size * train.lengths.float().mean())
        else:
            train, held_out = training_windows(data.train, recipe.batch_size, shape.context), data.validation
            tokens_per_step = recipe.batch_size * shape.context

        def evaluate(model: nn.Module) -> dict[str, float]:
            return {"loss": (document_loss if data.documents else stream_loss)(model, held_out)}

        fit(model, train, recipe, job, seed, evaluate, tokens_per_step)
        seconds = time.perf_counter() - began
        job.save_model(model, data.tokenizer)
        loss = evaluate(model)["loss"]
        return {
            "validation_loss": loss,
            "bits_per_character": loss / math.log(2),
            "perplexity": math.exp(loss),
            "parameters": model.num_parameters(),
            "tokens": tokens_per_step * recipe.steps,
            "seconds": seconds,
        }

    return run.once(name, work)


def stream_loss(model: nn.Module, tokens: np.ndarray, streams: int = 64, length: int = 256) -> float:
    """Computes the mean loss in nats over every token of `tokens` but the first.

    The text is cut into `streams` pieces, which the model reads in parallel from end to end, carrying the
    recurrent state along. Each piece starts with an empty state, one character before its first target.
    """
    targets = len(tokens) - 1
    streams = min(streams, max(1, targets // 16))  # a piece of a short text has at least 16 tokens
    piece = -(-targets // streams)  # rounded up, so the pieces cover all targets
    padded = np.full(streams * piece + 1, IGNORED, dtype=np.int64)
    padded[: targets + 1] = tokens
    # (streams * piece,) -> (streams, piece); the clamp turns the padding -100 into a valid id
    inputs = torch.from_numpy(padded[:-1].copy()).view(streams, piece).clamp(min=0)
    labels = torch.from_numpy(padded[1:].copy()).view(streams, piece)  # (streams, piece)
    total, cache = 0.0, None
    model.eval()
    with torch.no_grad():
        for start in range(0, piece, length):
            window = slice(start, start + length)
            outputs = model(input_ids=inputs[:, window], cache=cache, use_cache=True)
            cache = outputs.cache
            # (streams * length, vocabulary) and (streams * length,)
            logits, target = outputs.logits.flatten(0, 1), labels[:, window].reshape(-1)
            total += F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="sum").item()
    return total / targets


def document_loss(model: nn.Module, documents: Documents, batch_size: int = 512) -> float:
    """Computes the mean loss in nats per token of short documents, including end-of-text tokens."""
    total, count = 0.0, 0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(documents), batch_size):
            batch = documents.__getitems__(list(range(start, min(start + batch_size, len(documents)))))
            logits = model(input_ids=batch["input_ids"], use_cache=False).logits
            labels = batch["shift_labels"]
            # (batch * length, vocabulary) and (batch * length,)
            total += F.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
            ).item()
            count += int((labels != IGNORED).sum())
    return total / count


def training_windows(tokens: np.ndarray, streams: int, length: int) -> StreamWindows:
    """Cuts a text into windows of `length` tokens, read one after another by each of `streams` rows.

    Raises:
        UserError: the text is too short for one batch.
    """
    try:
        return StreamWindows(tokens, streams, length)
    except ValueError:
        raise UserError(
            f"the training text has {len(tokens)} characters; a batch of {streams} with a context of "
            f"{length} "
            f"needs more than {streams * length}: give more text, or --set batch_size=... --set context=..."
        ) from None


def hidden_size_for(parameters: int, cell: str, vocab_size: int, embedding_size: int) -> int:
    """Returns the hidden size at which a one-layer model comes closest to `parameters` weights."""
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell]

    def count(hidden: int) -> int:
        # W_ih (gates * hidden, embedding_size), W_hh (gates * hidden, hidden), and two biases; then the
        # embeddings and the output layer with its bias.
        layer = gates * hidden * (embedding_size + hidden + 2)
        return vocab_size * embedding_size + layer + vocab_size * (hidden + 1)

    return min(range(8, 4096), key=lambda hidden: abs(count(hidden) - parameters))
