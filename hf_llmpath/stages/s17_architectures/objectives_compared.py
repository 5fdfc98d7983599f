"""Compares a decoder, an encoder, and an encoder-decoder on equal terms and measures what each costs.

The models have the same size. Each is pretrained by its own objective on the same texts in the same order
and then taught the same labels.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ...data.batches.collators import Masking
from ...data.batches.pairs import PairBatches
from ...data.batches.streams import IGNORED
from ...data.batches.token_rows import TokenRows, TrainingBatches
from ...errors import UserError
from ...runs import Job
from ...training.recipes.classifier import fine_tune
from ...training.trainer import Recipe, fit
from .span_corruption import (
    CausalBatches,
    SpanBatches,
    SpanCorruption,
    open_ended,
    sentinels_of,
    text_to_text,
)

# Kind -> the Auto class that its objective needs; the pictures follow this order.
KINDS = {"gpt": "AutoModelForCausalLM", "bert": "AutoModelForMaskedLM", "t5": "AutoModelForSeq2SeqLM"}
POOL = 64  # batches that are sorted by length together
MOMENTS = 2  # running means that AdamW stores for every weight
WORD = 4  # bytes of a 32-bit number


@dataclass(frozen=True)
class SharedTexts:
    """Holds texts as tokens for all three kinds of model.

    Attributes:
        tokenizer: a tokenizer with a mask token and sentinels that frames a text as `[CLS] ... [SEP]`.
        train, held_out: framed rows to learn from and to measure on.
        mask_rate: the share of the tokens that the encoder must predict.
        noise_density, mean_span: the parameters of span corruption (see `SpanCorruption`).
    """

    tokenizer: PreTrainedTokenizerBase
    train: TokenRows
    held_out: TokenRows
    mask_rate: float = 0.15
    noise_density: float = 0.15
    mean_span: float = 3.0

    def batches(self, kind: str, rows: TokenRows, batch_size: int, steps: int, seed: int) -> TrainingBatches:
        """Makes batches for one of the objectives; every kind gets the same rows at the same step.

        Raises:
            UserError: If texts have more spans than there are sentinels.
        """
        tokenizer = self.tokenizer
        options: dict[str, Any] = {"pool": POOL}
        if kind == "bert":
            masking = Masking(tokenizer.mask_token_id, len(tokenizer), self.mask_rate)
            options |= {"masking": masking, "special": tokenizer.all_special_ids}
        batches = {"gpt": CausalBatches, "bert": TrainingBatches, "t5": SpanBatches}[kind](
            rows, batch_size, steps, tokenizer.pad_token_id, seed, **options
        )
        if isinstance(batches, SpanBatches):
            batches.corruption = self.corruption
            longest = int(rows.lengths.max()) - 2  # without [CLS] and [SEP]
            # A rolled pattern may cut one span in two, and the end of the target needs another sentinel.
            needed = int(batches.corruption.spans(torch.tensor([longest]))[1]) + 2
            if needed > len(batches.corruption.sentinels):
                raise UserError(
                    f"texts of {longest} tokens have up to {needed - 1} spans and need {needed} sentinels; "
                    f"there are {len(batches.corruption.sentinels)}: --set sentinels={needed}, or a smaller "
                    "context"
                )
        return batches

    @property
    def corruption(self) -> SpanCorruption:
        ids = self.tokenizer
        return SpanCorruption(
            sentinels_of(ids), ids.sep_token_id, ids.pad_token_id, self.noise_density, self.mean_span
        )

    def tokenizer_of(self, kind: str) -> PreTrainedTokenizerBase:
        """Returns a tokenizer with the same vocabulary that frames a text as this kind reads it."""
        reframe = {"gpt": open_ended, "t5": text_to_text}.get(kind)
        return self.tokenizer if reframe is None else reframe(self.tokenizer)


def of_size(make: Callable[[int], PreTrainedConfig], kind: str, parameters: int) -> PreTrainedConfig:
    """Finds the configuration `make(intermediate_size)` whose model has nearly `parameters` weights.

    Raises:
        UserError: If even the smallest model has more weights.
    """

    def count(size: int) -> int:
        with torch.device("meta"):  # shapes without memory: the weights only have to be counted
            model = getattr(transformers, KINDS[kind]).from_config(make(size))
        return model.num_parameters()

    # The number of weights is linear in the size, so two sizes determine the line.
    few, more = count(8), count(16)
    size = 8 + round((parameters - few) * 8 / (more - few))
    if size < 1:
        raise UserError(
            f"{kind} has {few:,} weights even with feed-forward layers of width 8, and no size gives it "
            f"{parameters:,}: use fewer layers, or a larger --set intermediate_size"
        )
    return make(size)


@torch.no_grad()
def held_out_loss(model: nn.Module, batches: TrainingBatches) -> float:
    """Computes the mean cross-entropy, in nats, over the objective's targets in all of `batches`."""
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(batches), batches.batch_size):
        batch = batches.__getitems__(list(range(start, start + batches.batch_size)))
        # (batch, length); a causal model shifts its labels, and nothing predicts the first token.
        targets = batch["labels"][:, 1:] if isinstance(batches, CausalBatches) else batch["labels"]
        asked = int((targets != IGNORED).sum())
        total += float(model(**batch).loss) * asked  # the loss is a mean over the targets of the batch
        count += asked
    model.train(was_training)
    return total / count


def training_memory_mb(model: PreTrainedModel, batch: dict[str, Tensor]) -> float:
    """Computes the memory that a training step must hold at once, in MiB.

    The result includes the weights, their gradients, AdamW's two moments, and the activations of this batch
    that the forward pass saves for the backward pass, each counted once. It excludes Python, the libraries,
    and temporary results and thus describes the model alone.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        address = value.untyped_storage().data_ptr()
        if address not in weights:
            kept[address] = value  # without a reference, another tensor could get the same address
        return value

    was_training = model.training
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        model(**batch)
    model.train(was_training)
    # Tensors that share a storage count once: `kept` has one entry per address.
    activations = sum(value.untyped_storage().nbytes() for value in kept.values())
    # Weights, gradients, and moments take 4 bytes each for every weight.
    return (activations + model.num_parameters() * WORD * (2 + MOMENTS)) / 2**20


def pretrain(
    kind: str, config: PreTrainedConfig, texts: SharedTexts, recipe: Recipe, job: Job, seed: int
) -> dict[str, Any]:
    """Trains a model from random weights by its own objective, once; `job` stores the result and the model.

    Returns:
        The `validation_loss` (nats per target), `perplexity`, `parameters`, `tokens` (tokens of text read),
        `memory_mb` (see `training_memory_mb`; for the batch with the longest text), and `seconds`.
    """
    return job.once(lambda job: _pretrain(kind, config, texts, recipe, job, seed))


def _pretrain(
    kind: str, config: PreTrainedConfig, texts: SharedTexts, recipe: Recipe, job: Job, seed: int
) -> dict[str, Any]:
    set_seed(seed)
    model = getattr(transformers, KINDS[kind]).from_config(config)
    batches = texts.batches(kind, texts.train, recipe.batch_size, recipe.steps, seed)
    # (steps, batch) -> (steps,): the step with the longest text, and the index of its first example
    widest = int(texts.train.lengths[batches.plan].max(axis=1).argmax()) * batches.batch_size
    memory = training_memory_mb(model, batches.__getitems__(list(range(widest, widest + batches.batch_size))))
    began = time.perf_counter()
    fit(model, batches, recipe, job, seed, tokens_per_step=batches.tokens_per_step)
    seconds = time.perf_counter() - began
    size = min(recipe.batch_size, len(texts.held_out))  # so many batches that nearly every text occurs once
    loss = held_out_loss(model, texts.batches(kind, texts.held_out, size, len(texts.held_out) // size, seed))
    job.save_model(model, texts.tokenizer_of(kind))
    return {
        "validation_loss": loss,
        "perplexity": math.exp(loss),
        "parameters": model.num_parameters(),
        "tokens": int(texts.train.lengths[batches.plan].sum()),
        "memory_mb": memory,
        "seconds": seconds,
    }


@dataclass(frozen=True)
class LabeledRows:
    """Holds labeled texts as tokens: rows framed by special tokens, and the indices of their classes."""

    classes: Sequence[str]
    train: tuple[TokenRows, Sequence[int]]
    held_out: tuple[TokenRows, Sequence[int]]


def teach(
    kind: str, start: Path, data: LabeledRows, texts: SharedTexts, recipe: Recipe, job: Job, seed: int
) -> dict[str, Any]:
    """Fine-tunes a pretrained model to classify, once; `job` stores the result and the model.

    The decoder gets a new head on its last state and the encoder a new head on the mean of its states. The
    encoder-decoder needs no head: it learns to write the name of the class.

    Returns:
        The `accuracy` on held-out texts and the `seconds` of training.
    """
    if kind == "t5":
        return job.once(lambda job: _teach_to_write(start, data, texts, recipe, job, seed))
    return fine_tune(start, data.classes, data.train, data.held_out, texts.tokenizer, recipe, job, seed)


def _teach_to_write(
    start: Path, data: LabeledRows, texts: SharedTexts, recipe: Recipe, job: Job, seed: int
) -> dict[str, Any]:
    set_seed(seed)
    classes = dict(enumerate(data.classes))  # saved for the page alone, since the model has no head
    known = {"id2label": classes, "label2id": {name: number for number, name in classes.items()}}
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(start, **known)
    tokenizer = texts.tokenizer_of("t5")
    names = class_targets(tokenizer, data.classes)
    rows, labels = data.train
    targets = [names[label] for label in labels]
    pad = tokenizer.pad_token_id
    # T5 reads a text and its end token, without the [CLS] at the beginning.
    dataset = PairBatches(_unframed(rows), targets, recipe.batch_size, recipe.steps, pad, seed)
    began = time.perf_counter()
    fit(model, dataset, recipe, job, seed, tokens_per_step=dataset.tokens_per_step)
    seconds = time.perf_counter() - began
    job.save_model(model, tokenizer)
    # (texts, classes) -> (texts,): the class whose name is the likeliest
    answers = class_scores(model, data.held_out[0], names, pad).argmax(1)
    return {"accuracy": float((answers == np.asarray(data.held_out[1])).mean()), "seconds": seconds}


def _unframed(rows: TokenRows) -> list[np.ndarray]:
    """Returns every row without its first token."""
    ends = np.cumsum(rows.lengths)  # (rows,): where each row ends in the flat array of tokens
    return [rows.tokens[end - length + 1 : end] for end, length in zip(ends, rows.lengths, strict=True)]


def class_targets(tokenizer: PreTrainedTokenizerBase, classes: Sequence[str]) -> list[list[int]]:
    """Encodes the class names as token ids, each with an end token.

    Raises:
        UserError: If the tokenizer maps two names to the same tokens.
    """
    targets = [tokenizer(name)["input_ids"] for name in classes]
    if len({tuple(ids) for ids in targets}) < len(targets):
        raise UserError(
            f"the class names are not all different to the tokenizer ({', '.join(classes[:6])}): a model "
            "that writes them needs names made of characters that occur in the texts"
        )
    return targets


@torch.no_grad()
def class_scores(
    model: PreTrainedModel, rows: TokenRows, targets: Sequence[Sequence[int]], pad: int, batch_size: int = 128
) -> np.ndarray:
    """Computes the log-probability of every target text given every row; each row is encoded once.

    Args:
        model: an encoder-decoder.
        rows: framed rows, whose first token is dropped.
        targets: the token ids of each target, such as those of `class_targets`.
        pad: the id of the padding token.
        batch_size: the number of rows encoded at once.

    Returns:
        The log-probabilities, `(rows, targets)`.
    """
    was_training = model.training
    model.eval()
    count, longest = len(targets), max(len(ids) for ids in targets)
    # Labels are padded with the ignored label, which adds nothing to the loss.
    padded = [[*ids, *[IGNORED] * (longest - len(ids))] for ids in targets]
    labels = torch.tensor(padded)  # (targets, longest)
    scores = np.empty((len(rows), count))
    order = np.argsort(rows.lengths, kind="stable")  # similar lengths together, for little padding
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        # (batch, 1 + length) -> (batch, length) each
        ids, mask = (values[:, 1:] for values in rows.padded(indices, pad))
        # (batch, length, hidden)
        states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        # Every text meets every target. `repeat` cycles through all targets for each text, and
        # `repeat_interleave` below repeats a text once per target, so the rows of both correspond.
        wanted = labels.repeat(len(indices), 1)  # (targets, longest) -> (batch * targets, longest)
        logits = model(
            attention_mask=mask.repeat_interleave(count, 0),  # (batch * targets, length)
            encoder_outputs=(states.repeat_interleave(count, 0),),  # (batch * targets, length, hidden)
            decoder_input_ids=model.prepare_decoder_input_ids_from_labels(wanted),
            use_cache=False,
        ).logits
        # (batch * targets, longest, vocabulary) -> (batch * targets, vocabulary, longest), as `cross_entropy`
        # expects, -> (batch * targets, longest); ignored labels have loss 0.
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
        # log P(target | text) = −Σ losses, (batch * targets, longest) -> (batch * targets,)
        # -> (batch, targets)
        scores[indices] = -losses.sum(1).view(len(indices), count).numpy()
    model.train(was_training)
    return scores
