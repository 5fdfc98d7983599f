"""Pretrains the bidirectional encoder on masked tokens, measures it, and fills in masks."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, set_seed

from ...data.batches.collators import Masking
from ...data.batches.packing import packed
from ...data.batches.token_rows import TokenRows, TrainingBatches
from ...data.stored_texts import StoredTexts, Together
from ...data.tokenizers.subwords import SubwordKind, train_subwords
from ...errors import UserError
from ...models.configuration_bert import LLMPathBertConfig
from ...models.modeling_bert import LLMPathBertForMaskedLM
from ...runs import Job
from ..recipe import Recipe
from ..trainer import fit

EVALUATED = 256  # number of validation rows on which the loss is tracked during training
POOL = 128  # number of batches sorted by length together; most then have equal rows and need no mask


def small_encoder(tokenizer: PreTrainedTokenizerBase, context: int, **others: Any) -> LLMPathBertConfig:
    """Configures the encoder that learns fastest from little text.

    It has rotary positions, norms before attention and feed-forward layers, and no dropout.

    Args:
        tokenizer: tokenizer of the text that the encoder reads.
        context: maximum number of tokens in a sequence.
        others: sizes, and arguments that differ from these defaults.
    """
    defaults: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "position_embedding_type": "rotary",
        "norm_position": "pre",
        "max_position_embeddings": context,
        "type_vocab_size": 0,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "classifier_pooling": "mean",
        "initializer_range": 0.08,
        "layer_norm_eps": 1e-5,
        "pad_token_id": tokenizer.pad_token_id,
        "mask_token_id": tokenizer.mask_token_id,
    }
    return LLMPathBertConfig(**defaults | others)


@dataclass(frozen=True)
class MaskedTexts:
    """The texts to pretrain on, as tokens.

    Attributes:
        tokenizer: tokenizer trained on the training split.
        train, validation: token ids, framed by `[CLS]` and `[SEP]`.
        masking: rule that chooses the tokens to predict.
    """

    tokenizer: PreTrainedTokenizerFast
    train: TokenRows
    validation: TokenRows
    masking: Masking

    @classmethod
    def from_texts(
        cls,
        train: Sequence[str],
        validation: Sequence[str],
        corpus: Sequence[str] | StoredTexts = (),
        kind: SubwordKind = "wordpiece",
        vocab_size: int = 1000,
        context: int = 64,
        mask_rate: float = 0.15,
        folder: Path | None = None,
    ) -> "MaskedTexts":
        """Trains a tokenizer on the texts and encodes them.

        Args:
            train, validation: short texts, each of which becomes a row.
            corpus: longer texts to learn from as well, packed into rows of `context` tokens.
            kind, vocab_size: kind and size of the tokenizer (see `train_subwords`).
            context: maximum number of tokens in a row.
            mask_rate: share of the tokens to predict.
            folder: folder where the tokens are written, to be mapped into memory; None to keep them in
                memory.

        Raises:
            UserError: the vocabulary is too small for the alphabet of the texts.
        """
        import datasets

        # WikiText writes an unknown word as <unk>.
        table = (
            corpus.table
            if isinstance(corpus, StoredTexts)
            else datasets.Dataset.from_dict({"text": list(corpus)})
        )
        table = table.map(_unknown_words_marked, batched=True) if len(corpus) else table
        try:
            everything = Together(train, StoredTexts(table))
            tokenizer = train_subwords(everything, kind, vocab_size, max_length=context)
        except ValueError as error:
            raise UserError(str(error)) from None
        rows: Iterable[Sequence[int]] = encode(tokenizer, train, context)
        if len(corpus):
            rows = chain(rows, _blocks(packed(table, tokenizer, context)))
        stored = TokenRows(rows) if folder is None else TokenRows.in_file(rows, folder / "tokens.bin")
        masking = Masking(tokenizer.mask_token_id, len(tokenizer), mask_rate)
        return cls(tokenizer, stored, TokenRows(encode(tokenizer, validation, context)), masking)

    def unigram_loss(self) -> tuple[float, float]:
        """Returns the loss in nats and the accuracy of predictions by frequency on the validation rows.

        Every token is predicted from the frequencies of the tokens in the training rows.
        """
        # Counts start at 1, not 0, because a token may be absent from training: (vocabulary,).
        counts = np.ones(len(self.tokenizer))
        counts += np.bincount(self._maskable(self.train.tokens), minlength=len(counts))
        targets = self._maskable(self.validation.tokens)
        loss = -float(np.log(counts / counts.sum())[targets].mean())
        return loss, float((targets == counts.argmax()).mean())

    def _maskable(self, tokens: np.ndarray) -> np.ndarray:
        return tokens[~np.isin(tokens, self.tokenizer.all_special_ids)]


def _unknown_words_marked(batch: dict[str, list[str]]) -> dict[str, list[str]]:
    return {"text": [text.replace("<unk>", "[UNK]") for text in batch["text"]]}


def _blocks(table: Any) -> Iterator[np.ndarray]:
    """Yields rows of token ids, with a thousand of them in memory at a time."""
    for batch in table.with_format("numpy").iter(1000):
        yield from batch["input_ids"]


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], context: int) -> list[list[int]]:
    """Returns the token ids of each text, with special tokens around them, cut to `context`."""
    options = {"return_attention_mask": False, "return_token_type_ids": False}
    return tokenizer(list(texts), truncation=True, max_length=context, **options)["input_ids"]


@torch.no_grad()
def masked_loss(
    model: LLMPathBertForMaskedLM, rows: TokenRows, texts: MaskedTexts, seed: int = 0, batch_size: int = 64
) -> dict[str, float]:
    """Measures the mean cross-entropy in nats and the accuracy over the masked tokens of `rows`.

    The same seed always gives the same masks.
    """
    tokenizer, was_training = texts.tokenizer, model.training
    model.eval()
    special = torch.tensor(tokenizer.all_special_ids)
    generator = torch.Generator().manual_seed(seed)
    order = np.argsort(rows.lengths, kind="stable")  # rows of similar length together, for little padding
    total, correct, count = 0.0, 0, 0
    for start in range(0, len(order), batch_size):
        ids, mask = rows.padded(order[start : start + batch_size], tokenizer.pad_token_id)
        inputs, labels = texts.masking(ids, ~torch.isin(ids, special), generator)  # (batch, longest)
        chosen = labels >= 0  # (batch, longest); only the states of masked tokens go through the head
        states = model.model(inputs, mask).last_hidden_state[chosen]  # (masked tokens, hidden)
        logits, targets = model.decoder(model.head(states)), labels[chosen]
        total += float(nn.functional.cross_entropy(logits, targets, reduction="sum"))
        correct += int((logits.argmax(-1) == targets).sum())
        count += len(targets)
    model.train(was_training)
    return {"loss": total / max(count, 1), "accuracy": correct / max(count, 1)}


def pretrain(
    texts: MaskedTexts,
    config: LLMPathBertConfig,
    recipe: Recipe,
    job: Job,
    seed: int,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> dict[str, Any]:
    """Trains an encoder from random weights to predict masked tokens, once; the job keeps the model.

    `make_optimizer`, if given, replaces the recipe's optimizer.

    Returns:
        A dictionary with `validation_loss` (nats per masked token), `perplexity` (the exponential of the
        loss), `masked_accuracy`, the perplexity and accuracy of the untrained model (`..._before`),
        `parameters`, `epochs`, and `seconds`.
    """

    def train_once(job: Job) -> dict[str, Any]:
        set_seed(seed)
        model = LLMPathBertForMaskedLM(config)
        before = masked_loss(model, texts.validation, texts)
        dataset = TrainingBatches(
            texts.train,
            recipe.batch_size,
            recipe.steps,
            texts.tokenizer.pad_token_id,
            seed,
            masking=texts.masking,
            special=texts.tokenizer.all_special_ids,
            pool=POOL,
        )
        # (tokens of all rows,) -> one array per row
        rows = np.split(texts.validation.tokens, np.cumsum(texts.validation.lengths)[:-1])
        followed = TokenRows(rows[:EVALUATED])
        began = time.perf_counter()
        fit(
            model,
            dataset,
            recipe,
            job,
            seed,
            evaluate_with=lambda trained: masked_loss(trained, followed, texts),
            tokens_per_step=dataset.tokens_per_step,
            optimizer=make_optimizer and make_optimizer(model),
        )
        seconds = time.perf_counter() - began
        job.save_model(model, texts.tokenizer)
        after = masked_loss(model, texts.validation, texts)
        return {
            "validation_loss": after["loss"],
            "perplexity": math.exp(after["loss"]),
            "masked_accuracy": after["accuracy"],
            "perplexity_before": math.exp(before["loss"]),
            "masked_accuracy_before": before["accuracy"],
            "parameters": model.num_parameters(),
            "epochs": dataset.epochs,
            "seconds": seconds,
        }

    return job.once(train_once)


@torch.no_grad()
def fill_masks(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, text: str, top_k: int = 5
) -> list[list[tuple[str, float]]]:
    """Returns the `top_k` most probable tokens and their probabilities for every mask token in `text`.

    A text that is too long for the model is cut off.

    Raises:
        UserError: the text is empty, or the part that the model reads has no mask token.
    """
    limit, mask = model.config.max_position_embeddings, tokenizer.mask_token
    if not text.strip():
        raise UserError(f"the text is empty; type a sentence with {mask} in it")
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=limit)
    inputs.pop("token_type_ids", None)  # the text is one segment, so the model does not need them
    positions = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero().flatten()  # (masks,)
    if not len(positions):
        if mask in text:
            raise UserError(
                f"{mask} stands beyond the first {limit} tokens, which is all that this model reads"
            )
        raise UserError(f"no {mask} in '{text[:60]}'; put it where a word is missing")
    was_training = model.training
    # (1, length, vocabulary) -> (masks, vocabulary)
    probabilities = model.eval()(**inputs).logits[0, positions].float().softmax(-1)
    model.train(was_training)
    values, tokens = probabilities.topk(min(top_k, probabilities.shape[-1]))  # each (masks, top_k)
    return [
        [(tokenizer.decode([token]).strip(), value) for token, value in zip(row, chances, strict=True)]
        for row, chances in zip(tokens.tolist(), values.tolist(), strict=True)
    ]
