"""Decoder, encoder and encoder-decoder side by side: models of equal size, each pretrained by its own
objective on the same texts in the same order, then taught the same labels, and what that costs."""

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
from .span_corruption import CausalBatches, SpanBatches, SpanCorruption, going_on, sentinels_of, text_to_text

# Kind -> the Auto class that its objective needs, in the order of the pictures.
KINDS = {"gpt": "AutoModelForCausalLM", "bert": "AutoModelForMaskedLM", "t5": "AutoModelForSeq2SeqLM"}
POOL = 64  # batches sorted by length together
MOMENTS = 2  # that AdamW keeps for every weight
WORD = 4  # bytes of a number


@dataclass(frozen=True)
class Texts:
    """Texts as tokens, for all three.

    Attributes:
        tokenizer: with a mask token and sentinels; frames a text as `[CLS] ... [SEP]`.
        train, held_out: framed rows.
        mask_rate: share of the tokens that the encoder must guess.
        noise_density, mean_span: of span corruption (see `SpanCorruption`).
    """

    tokenizer: PreTrainedTokenizerBase
    train: TokenRows
    held_out: TokenRows
    mask_rate: float = 0.15
    noise_density: float = 0.15
    mean_span: float = 3.0

    def batches(self, kind: str, rows: TokenRows, batch_size: int, steps: int, seed: int) -> TrainingBatches:
        """Batches of rows for one of the objectives: the same rows at the same step for every kind.

        Raises:
            UserError: texts with more spans than there are sentinels.
        """
        tokenizer = self.tokenizer
        options: dict[str, Any] = {"pool": POOL}
        if kind == "bert":
            masking = Masking(tokenizer.mask_token_id, len(tokenizer), self.mask_rate)
            options |= {"masking": masking, "special": tokenizer.all_special_ids}
        made = {"gpt": CausalBatches, "bert": TrainingBatches, "t5": SpanBatches}[kind](
            rows, batch_size, steps, tokenizer.pad_token_id, seed, **options
        )
        if isinstance(made, SpanBatches):
            made.corruption = self.corruption
            longest = torch.tensor([int(rows.lengths.max()) - 2])
            needed = (
                int(made.corruption.spans(longest)[1]) + 2
            )  # turned round, a span may be cut in two; and the end
            if needed > len(made.corruption.sentinels):
                raise UserError(
                    f"texts of {int(longest)} tokens have up to {needed - 1} spans and need {needed} sentinels; there are "
                    f"{len(made.corruption.sentinels)}: --set sentinels={needed}, or a smaller context"
                )
        return made

    @property
    def corruption(self) -> SpanCorruption:
        ids = self.tokenizer
        return SpanCorruption(
            sentinels_of(ids), ids.sep_token_id, ids.pad_token_id, self.noise_density, self.mean_span
        )

    def tokenizer_of(self, kind: str) -> PreTrainedTokenizerBase:
        """The same vocabulary, framing a text as this kind reads it."""
        reframe = {"gpt": going_on, "t5": text_to_text}.get(kind)
        return self.tokenizer if reframe is None else reframe(self.tokenizer)


def of_size(make: Callable[[int], PreTrainedConfig], kind: str, parameters: int) -> PreTrainedConfig:
    """The configuration `make(intermediate_size)` whose model comes nearest to a number of weights.

    Raises:
        UserError: even the smallest has more.
    """

    def count(size: int) -> int:
        with torch.device("meta"):
            model = getattr(transformers, KINDS[kind]).from_config(make(size))
        return model.num_parameters()

    few, more = count(8), count(16)
    size = 8 + round((parameters - few) * 8 / (more - few))  # linear in the size
    if size < 1:
        raise UserError(
            f"{kind} has {few:,} weights with a feed-forward part of 8; no size gives it {parameters:,}: "
            "fewer layers, or a larger --set intermediate_size"
        )
    return make(size)


@torch.no_grad()
def held_out_loss(model: nn.Module, batches: TrainingBatches) -> float:
    """Mean cross-entropy in nats of what the objective asks for, over all of `batches`."""
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(batches), batches.batch_size):
        batch = batches.__getitems__(list(range(start, start + batches.batch_size)))
        targets = batch["labels"][:, 1:] if isinstance(batches, CausalBatches) else batch["labels"]
        asked = int((targets != IGNORED).sum())
        total += float(model(**batch).loss) * asked
        count += asked
    model.train(was_training)
    return total / count


def training_memory_mb(model: PreTrainedModel, batch: dict[str, Tensor]) -> float:
    """What a training step must hold at once, in MiB: weights, their gradients, AdamW's two moments, and
    the activations of this batch that the forward pass keeps for the backward pass (each counted once, as
    torch hands them over to be kept). Python, the libraries and passing intermediate results are left
    out, so that the number is that of the model."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        place = value.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = value  # held, so that no other takes its place
        return value

    was_training = model.training
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        model(**batch)
    model.train(was_training)
    activations = sum(value.untyped_storage().nbytes() for value in kept.values())
    return (activations + model.num_parameters() * WORD * (2 + MOMENTS)) / 2**20


def pretrain(
    kind: str, config: PreTrainedConfig, texts: Texts, recipe: Recipe, job: Job, seed: int
) -> dict[str, Any]:
    """Trains a model from random weights by its own objective; the result is kept in `part`, with the model.

    Returns:
        `validation_loss` (nats per target), `perplexity`, `parameters`, `tokens` (of text that was read),
        `memory_mb` (see `training_memory_mb`; of the batch with the longest text) and `seconds`.
    """
    if job.done:
        return job.result
    set_seed(seed)
    model = getattr(transformers, KINDS[kind]).from_config(config)
    batches = texts.batches(kind, texts.train, recipe.batch_size, recipe.steps, seed)
    widest = int(texts.train.lengths[batches.plan].max(axis=1).argmax()) * batches.batch_size
    memory = training_memory_mb(model, batches.__getitems__(list(range(widest, widest + batches.batch_size))))
    began = time.perf_counter()
    fit(model, batches, recipe, job, seed, tokens_per_step=batches.tokens_per_step)
    seconds = time.perf_counter() - began
    size = min(recipe.batch_size, len(texts.held_out))
    loss = held_out_loss(model, texts.batches(kind, texts.held_out, size, len(texts.held_out) // size, seed))
    result = {
        "validation_loss": loss,
        "perplexity": math.exp(loss),
        "parameters": model.num_parameters(),
        "tokens": int(texts.train.lengths[batches.plan].sum()),
        "memory_mb": memory,
        "seconds": seconds,
    }
    return job.finish(result, model, texts.tokenizer_of(kind))


@dataclass(frozen=True)
class Labeled:
    """Labeled texts as tokens: framed rows and the numbers of their classes."""

    classes: Sequence[str]
    train: tuple[TokenRows, Sequence[int]]
    held_out: tuple[TokenRows, Sequence[int]]


def teach(
    kind: str, start: Path, data: Labeled, texts: Texts, recipe: Recipe, job: Job, seed: int
) -> dict[str, Any]:
    """Fine-tunes a pretrained model to classify; the result is kept in `part`, with the model.

    Decoder and encoder get a new head on their last state and on the mean of their states. The
    encoder-decoder gets none: it learns to write the name of the class.

    Returns:
        `accuracy` and `seconds`.
    """
    if kind == "t5":
        return _teach_to_write(start, data, texts, recipe, job, seed)
    return fine_tune(start, data.classes, data.train, data.held_out, texts.tokenizer, recipe, job, seed)


def _teach_to_write(
    start: Path, data: Labeled, texts: Texts, recipe: Recipe, job: Job, seed: int
) -> dict[str, Any]:
    if job.done:
        return job.result
    set_seed(seed)
    classes = dict(enumerate(data.classes))  # it has no head for them; the page asks for their names
    known = {"id2label": classes, "label2id": {name: number for number, name in classes.items()}}
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(start, **known)
    tokenizer = texts.tokenizer_of("t5")
    names = class_targets(tokenizer, data.classes)
    rows, labels = data.train
    targets = [names[label] for label in labels]
    pad = tokenizer.pad_token_id
    dataset = PairBatches(_unframed(rows), targets, recipe.batch_size, recipe.steps, pad, seed)
    began = time.perf_counter()
    fit(model, dataset, recipe, job, seed, tokens_per_step=dataset.tokens_per_step)
    seconds = time.perf_counter() - began
    found = class_scores(model, data.held_out[0], names, pad).argmax(1)
    accuracy = float((found == np.asarray(data.held_out[1])).mean())
    return job.finish({"accuracy": accuracy, "seconds": seconds}, model, tokenizer)


def _unframed(rows: TokenRows) -> list[np.ndarray]:
    """Every row without the token that it begins with."""
    ends = np.cumsum(rows.lengths)
    return [rows.tokens[end - length + 1 : end] for end, length in zip(ends, rows.lengths, strict=True)]


def class_targets(tokenizer: PreTrainedTokenizerBase, classes: Sequence[str]) -> list[list[int]]:
    """The token ids of the names of classes, each with an end token.

    Raises:
        UserError: two names that are the same to the tokenizer.
    """
    found = [tokenizer(name)["input_ids"] for name in classes]
    if len({tuple(ids) for ids in found}) < len(found):
        raise UserError(
            f"the names of the classes are not all different to the tokenizer ({', '.join(classes[:6])}): a model that "
            "writes them needs names made of characters that the texts have"
        )
    return found


@torch.no_grad()
def class_scores(
    model: PreTrainedModel, rows: TokenRows, targets: Sequence[Sequence[int]], pad: int, batch_size: int = 128
) -> np.ndarray:
    """Log-probability of every target text after every row, `(rows, targets)`. A row is read once.

    Args:
        model: an encoder-decoder.
        rows: framed rows; their first token is left out.
        targets: token ids, such as those of `class_targets`.
        pad: id of the padding token.
    """
    was_training = model.training
    model.eval()
    count, longest = len(targets), max(len(ids) for ids in targets)
    labels = torch.tensor(
        [[*ids, *[IGNORED] * (longest - len(ids))] for ids in targets]
    )  # (targets, longest)
    found = np.empty((len(rows), count))
    order = np.argsort(rows.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        ids, there = (values[:, 1:] for values in rows.padded(indices, pad))
        states = model.get_encoder()(input_ids=ids, attention_mask=there).last_hidden_state
        wanted = labels.repeat(len(indices), 1)
        logits = model(
            attention_mask=there.repeat_interleave(count, 0),
            encoder_outputs=(states.repeat_interleave(count, 0),),
            decoder_input_ids=model.prepare_decoder_input_ids_from_labels(wanted),
            use_cache=False,
        ).logits
        losses = nn.functional.cross_entropy(
            logits.transpose(1, 2), wanted, reduction="none"
        )  # 0 where left out
        found[indices] = -losses.sum(1).view(len(indices), count).numpy()
    model.train(was_training)
    return found
