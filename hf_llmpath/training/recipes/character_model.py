"""Trains a character-level recurrent language model: what the stages of the recurrent phase share."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast, set_seed

from ...data.batches.streams import Documents, StreamWindows
from ...data.sources import Texts
from ...data.tokenizers.characters import encode_characters, train_character_tokenizer
from ...errors import UserError
from ...models.configuration_rnn import LLMPathRNNConfig
from ...models.modeling_rnn import LLMPathRNNForCausalLM
from ...runs import Run
from ..baselines import ngram_loss
from ..evaluation import document_loss, stream_loss
from ..trainer import Recipe, fit


@dataclass(frozen=True)
class CharacterData:
    """A corpus as characters.

    Attributes:
        tokenizer: its vocabulary is the characters of the training split.
        train, validation: token ids; for `documents` a list with one array per document, else one long
            array each.
        documents: whether each text stands alone (names) or all form one stream (stories, a play).
    """

    tokenizer: PreTrainedTokenizerFast
    train: Any
    validation: Any
    documents: bool

    @classmethod
    def from_texts(cls, texts: Texts, documents: bool, byte_fallback: bool = False) -> "CharacterData":
        tokenizer = train_character_tokenizer(texts.train, byte_fallback)
        splits = []
        for split in (texts.train, texts.validation):
            pieces = encode_characters(tokenizer, split)
            if not documents:
                end = np.array([tokenizer.eos_token_id])
                pieces = (
                    [pieces[0]]
                    if len(pieces) == 1
                    else [np.concatenate([p for x in pieces for p in (end, x)] + [end])]
                )
            splits.append(pieces if documents else pieces[0])
        return cls(tokenizer, *splits, documents)

    def ngram_loss(self, order: int = 5) -> float:
        """Loss of the n-gram baseline on the validation split, counted over the same targets as the model's."""
        train, validation = self.train, self.validation
        if self.documents:
            end = np.array([self.tokenizer.eos_token_id])
            train, validation = (
                np.concatenate([p for x in s for p in (x, end)]) for s in (train, validation)
            )
        before = np.full(order, self.tokenizer.eos_token_id)
        return ngram_loss(
            np.concatenate([before, train]), np.concatenate([before, validation]), len(self.tokenizer), order
        )


@dataclass(frozen=True)
class CharacterModel:
    """Sizes of a model and how it is read into windows."""

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
    """Trains the model `name` of `run`, or reads it back if this run has trained it already.

    Returns:
        `validation_loss` (nats per character), `bits_per_character`, `perplexity`, `parameters`,
        `tokens`, `seconds`; the model lies in `run.job(name).model_dir`.
    """
    job = run.job(name)
    if job.done:
        return job.result
    began = time.perf_counter()
    set_seed(seed)
    model = LLMPathRNNForCausalLM(shape.config(data.tokenizer))
    if data.documents:
        end, pad = data.tokenizer.eos_token_id, data.tokenizer.pad_token_id
        train, held_out = Documents(data.train, end, pad), Documents(data.validation, end, pad)
        tokens_per_step = int(recipe.batch_size * train.lengths.float().mean())
    else:
        train = training_windows(data.train, recipe.batch_size, shape.context)
        tokens_per_step = recipe.batch_size * shape.context

    def evaluate(model: Any) -> dict[str, float]:
        return {
            "loss": document_loss(model, held_out) if data.documents else stream_loss(model, data.validation)
        }

    fit(model, train, recipe, job, seed, evaluate, tokens_per_step)
    seconds = time.perf_counter() - began
    loss = evaluate(model)["loss"]
    result = {
        "validation_loss": loss,
        "bits_per_character": loss / math.log(2),
        "perplexity": math.exp(loss),
        "parameters": model.num_parameters(),
        "tokens": tokens_per_step * recipe.steps,
        "seconds": seconds,
    }
    return job.finish(result, model, data.tokenizer)


def training_windows(tokens: np.ndarray, streams: int, length: int) -> StreamWindows:
    """The windows of `length` tokens that `streams` rows of a batch read one after the other.

    Raises:
        UserError: a text too short for one batch.
    """
    try:
        return StreamWindows(tokens, streams, length)
    except ValueError:
        raise UserError(
            f"the training text has {len(tokens)} characters; a batch of {streams} with a context of {length} needs more "
            f"than {streams * length}: give more text, or --set batch_size=... --set context=..."
        ) from None


def hidden_size_for(parameters: int, cell: str, vocab_size: int, embedding_size: int) -> int:
    """The hidden size at which a one-layer model of this cell comes closest to `parameters` weights."""
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell]

    def count(hidden: int) -> int:
        layer = gates * hidden * (embedding_size + hidden + 2)
        return vocab_size * embedding_size + layer + vocab_size * (hidden + 1)

    return min(range(8, 4096), key=lambda hidden: abs(count(hidden) - parameters))
