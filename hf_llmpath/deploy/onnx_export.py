"""Exports models as ONNX files, and keeps a file only if it agrees with the model at several input shapes.

    export_onnx("runs/14-inference/model", "runs/14-inference/onnx/model.onnx")
    quantize_onnx("runs/14-inference/onnx/model.onnx", "runs/14-inference/onnx/model_int8.onnx")

A decoder is exported with its cache: it takes the keys and values of earlier tokens and returns them together
with the keys and values of the new tokens, so each step of generation reads a single token. Batch, length,
and past can have any size. The file records the hash of the weights that it was made from.
"""

import functools
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers.cache_utils import DynamicCache

from ..errors import UserError
from ..hub.model_folder import check_model_folder, load_model, weight_files
from .quantization import auto_class_of

CLOSE = 1e-4  # largest allowed difference between a logit of the file and of the model
OPSET = 20  # version of the ONNX operators
# Keys of the file's metadata.
HASH, KIND, LAYERS, HEADS, HEAD_SIZE = "weights_sha256", "kind", "layers", "heads", "head_size"
HIDDEN = -1e30  # added to the scores of hidden keys; finite, because softmax over -inf alone gives NaN
LEAST_AGREEMENT = 0.8  # share of the positions whose likeliest token must be the same in 8 bits


@dataclass(frozen=True)
class Exported:
    """An ONNX file, compared with the model that it was made from.

    Attributes:
        path, megabytes: the file and its size.
        max_difference: largest difference between two logits.
        agreement: share of the positions with the same likeliest token or class.
    """

    path: Path
    megabytes: float
    max_difference: float
    agreement: float


class WithCache(nn.Module):
    """A decoder as a function of tensors alone: ids, mask, and the keys and values of each layer."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """Computes the logits and the extended cache.

        Args:
            input_ids: `(batch, length)`.
            attention_mask: `(batch, past + length)`, 0 for padding.
            past: keys and values of layer 0, then of layer 1, ..., `(batch, heads, past, head_size)` each.

        Returns:
            The logits `(batch, length, vocab_size)`, then the keys and values of all tokens including the
            new ones, in the order of `past`, `(batch, heads, past + length, head_size)` each.
        """
        cache = DynamicCache(config=self.model.config)
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        length, total = input_ids.shape[1], attention_mask.shape[1]
        # Padding takes no position; clamp keeps padding on the left, which would be at -1, in the table.
        # (batch, past + length) -> (batch, length)
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -length:]
        query = torch.arange(length) + (total - length)  # (length,): index of each query among the keys
        causal = torch.arange(total)[None, :] <= query[:, None]  # (length, past + length)
        visible = causal[None] & (attention_mask[:, None, :] > 0)  # (batch, length, past + length)
        bias = torch.where(visible, 0.0, HIDDEN)[:, None]  # (batch, 1, length, past + length)
        output = self.model(
            input_ids=input_ids, attention_mask=bias, position_ids=positions, cache=cache, use_cache=True
        )
        return output.logits, *_cache_tensors(output)


def with_own_mask(model: Any, input_ids: Tensor, attention_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
    """Computes the reference for `WithCache`: the model builds its mask itself, as everywhere else."""
    cache = DynamicCache(config=model.config)
    for layer in range(len(past) // 2):
        cache.update(past[2 * layer], past[2 * layer + 1], layer)
    output = model(input_ids=input_ids, attention_mask=attention_mask, cache=cache, use_cache=True)
    return output.logits, *_cache_tensors(output)


def _cache_tensors(output: Any) -> list[Tensor]:
    return [tensor for layer in output.cache.layers for tensor in (layer.keys, layer.values)]


class _Plain(nn.Module):
    """A model without a cache that takes its inputs in order and returns a tuple of tensors."""

    def __init__(self, model: Any, names: tuple[str, ...], outputs: tuple[str, ...]):
        super().__init__()
        self.model, self.names, self.outputs = model, names, outputs

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        output = self.model(**dict(zip(self.names, values, strict=True)))
        return tuple(output[name] for name in self.outputs)


@dataclass(frozen=True)
class _Form:
    """The recipe for exporting a model: module, names of inputs and outputs, and a maker of examples."""

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic: Any  # name of an argument of `forward` -> its axes of any size
    example: Callable[[int, int, int], tuple[Tensor, ...]]  # batch, length, past -> values of the inputs
    metadata: dict[str, Any]
    reference: Callable[..., tuple[Tensor, ...]]  # computes the outputs that the file must reproduce
    has_past: bool = False


def cache_names(layers: int) -> tuple[list[str], list[str]]:
    """Returns the names of the cache among a graph's inputs (`past...`) and outputs (`present...`)."""
    names = [f"{layer}.{kind}" for layer in range(layers) for kind in ("key", "value")]
    return [f"past.{name}" for name in names], [f"present.{name}" for name in names]


def export_onnx(folder: Path | str, path: Path | str, auto_class: str | None = None) -> Exported:
    """Writes the model in `folder` to `path` as one ONNX file.

    Raises:
        UserError: this kind of model has no ONNX form, or the logits of the file differ from the model's by
            more than `CLOSE`; the file is not kept.
    """
    folder, path = Path(folder), Path(path)
    check_model_folder(folder)  # before any file in it is loaded
    model = load_model(auto_class or auto_class_of(folder), folder, dtype=torch.float32)
    form = _form_of(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with _quietly():
        torch.onnx.export(
            form.module.eval(),
            form.example(2, 3, 2),  # torch.export takes sizes of 0 and 1 for constants
            temporary,
            dynamo=True,
            opset_version=OPSET,
            input_names=form.inputs,
            output_names=form.outputs,
            dynamic_shapes=form.dynamic,
            external_data=False,
            verbose=False,
        )
    try:
        _note(temporary, form.metadata | {HASH: hash_of_weights(folder)})
        difference, agreement = _compare(form, temporary)
        if not difference <= CLOSE:  # unlike `>`, this refuses NaN too
            raise UserError(
                f"the ONNX file's output is {difference:.1e} away from the model's; {CLOSE:.0e} is the limit"
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(path, path.stat().st_size / 1e6, difference, agreement)


def quantize_onnx(
    source: Path | str, path: Path | str, folder: Path | str, auto_class: str | None = None
) -> Exported:
    """Quantizes the matrices of the ONNX file `source` to 8-bit integers with a scale per column.

    The inputs of the matrices are rounded to 8 bits at run time (dynamic quantization).

    Args:
        source: an ONNX file in 32 bits.
        path: the file to write.
        folder: folder of the model that `source` was made from, with which the result is compared.
        auto_class: the Auto class that loads the model; derived from its config if None.

    Raises:
        UserError: the likeliest tokens agree with the model's less often than `LEAST_AGREEMENT`.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source, path, folder = Path(source), Path(path), Path(folder)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with _quietly():
            quantize_dynamic(source, temporary, weight_type=QuantType.QInt8, per_channel=True)
        _note(temporary, metadata_of(source))  # the hash and the sizes hold for this file too
        model = load_model(auto_class or auto_class_of(folder), folder)
        difference, agreement = _compare(_form_of(model), temporary)
        if agreement < LEAST_AGREEMENT:
            raise UserError(
                f"in 8 bits only {agreement:.0%} of the likeliest outputs stay the same; keep {source.name}"
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(path, path.stat().st_size / 1e6, difference, agreement)


def exported_before(folder: Path, path: Path, auto_class: str | None = None) -> Exported | None:
    """Compares the file at `path` again if it was made from the weights in `folder`; returns None if not."""
    if not path.is_file() or metadata_of(path).get(HASH) != hash_of_weights(folder):
        return None
    model = load_model(auto_class or auto_class_of(folder), folder, dtype=torch.float32)
    return Exported(path, path.stat().st_size / 1e6, *_compare(_form_of(model), path))


def hash_of_weights(folder: Path) -> str:
    """Computes the SHA-256 of the weight files, in order."""
    digest = hashlib.sha256()
    for file in weight_files(Path(folder)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def metadata_of(path: Path) -> dict[str, str]:
    """Reads the metadata of the ONNX file."""
    import onnx

    return {entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props}


def _note(path: Path, metadata: dict[str, Any]) -> None:
    import onnx

    document = onnx.load(str(path))
    onnx.helper.set_model_props(document, {name: str(value) for name, value in metadata.items()})
    onnx.save(document, str(path))


def _form_of(model: Any) -> _Form:
    kind, config = type(model).__name__, model.config
    free = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}  # batch and length can have any size
    if kind == "LLMPathGPTForCausalLM":
        past, present = cache_names(config.num_hidden_layers)
        head_size = config.hidden_size // config.num_attention_heads
        shape = (config.num_key_value_heads, head_size)

        def cached(batch: int, length: int, before: int) -> tuple[Tensor, ...]:
            ids = _ids(config, batch, length)  # (batch, length)
            mask = torch.ones(batch, before + length, dtype=torch.long)  # (batch, past + length)
            mask[batch // 2 :, : (before + length) // 3] = 0  # padding on the left of half of the rows
            # (batch, heads, past, head_size) each
            states = [torch.randn(batch, shape[0], before, shape[1]) for _ in past]
            return (ids, mask, *states)

        return _Form(
            WithCache(model),
            ("input_ids", "attention_mask", *past),
            ("logits", *present),
            {
                "input_ids": free,
                "attention_mask": free,
                "past": tuple({0: Dim.DYNAMIC, 2: Dim.DYNAMIC} for _ in past),  # batch and past
            },
            cached,
            {KIND: "decoder", LAYERS: config.num_hidden_layers, HEADS: shape[0], HEAD_SIZE: shape[1]},
            functools.partial(with_own_mask, model),
            True,
        )
    if kind.startswith("LLMPathBertFor"):
        names = (
            ("input_ids", "attention_mask", "token_type_ids")
            if config.type_vocab_size > 1
            else ("input_ids", "attention_mask")
        )
        outputs = ("start_logits", "end_logits") if kind.endswith("QuestionAnswering") else ("logits",)

        def masked(batch: int, length: int, _: int) -> tuple[Tensor, ...]:
            mask = torch.ones(batch, length, dtype=torch.long)  # (batch, length)
            mask[batch // 2 :, length - length // 3 :] = 0  # padding on the right of half of the rows
            # The second half of each text is segment 1: (length,) -> (batch, length).
            segments = (torch.arange(length) >= length // 2).long().expand(batch, -1).contiguous()
            return (_ids(config, batch, length), mask, segments)[: len(names)]

        plain = _Plain(model, names, outputs)
        return _Form(
            plain, names, outputs, {"values": (free,) * len(names)}, masked, {KIND: "encoder"}, plain
        )
    if kind == "LLMPathMLPForImageClassification":
        size = config.image_size
        sizes = [config.num_channels, size, size] if size else [config.input_size]

        def images(batch: int, *_: int) -> tuple[Tensor, ...]:
            return (torch.rand(batch, *sizes),)  # (batch, channels, height, width) or (batch, inputs)

        plain = _Plain(model, ("pixel_values",), ("logits",))
        dynamic = {"values": ({0: Dim.DYNAMIC},)}
        return _Form(plain, plain.names, plain.outputs, dynamic, images, {KIND: "images"}, plain)
    raise UserError(
        f"{kind} has no ONNX form here; what has: decoders (LLMPathGPTForCausalLM), encoders with a "
        f"head (LLMPathBertFor...) and "
        "image classifiers (LLMPathMLPForImageClassification)"
    )


def _ids(config: Any, batch: int, length: int) -> Tensor:
    return torch.randint(0, config.vocab_size, (batch, length))


def _compare(form: _Form, path: Path) -> tuple[float, float]:
    """Returns the largest difference and the agreement, over input shapes that the export did not see."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pasts = (0, 0, 7, 1) if form.has_past else (0, 0, 0, 0)
    worst, same, count = 0.0, 0, 0
    # The same examples each time, without a trace in the caller's random numbers.
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    for (batch, length), past in zip(((1, 1), (3, 9), (1, 4), (4, 2)), pasts, strict=True):
        values = form.example(batch, length, past)
        with torch.no_grad():
            expected = form.reference(*values)
        outputs = session.run(None, {name: v.numpy() for name, v in zip(form.inputs, values, strict=True)})
        # Outputs of padding mean nothing: (batch, past + length) -> (batch, length).
        mask = values[1][:, -length:].numpy() > 0 if form.inputs[0] == "input_ids" else None
        logits = [
            tuple(_without_padding(values, mask, name) for values in (e.numpy(), f))
            for e, f, name in zip(expected, outputs, form.outputs, strict=True)
            if "logits" in name
        ]
        for e, f in logits:
            worst = max(worst, float(np.abs(e - f).max()))
            same, count = same + int((e.argmax(-1) == f.argmax(-1)).sum()), count + e.argmax(-1).size
    torch.random.set_rng_state(state)
    return worst, same / count


def _without_padding(logits: np.ndarray, mask: np.ndarray | None, name: str) -> np.ndarray:
    """Returns logits as rows, `(rows, choices)`, in which no row and no choice is a padding token.

    Args:
        logits: `(batch, length, vocabulary)` for tokens, `(batch, length)` for spans, whose choices are
            tokens, or `(batch, classes)`.
        mask: `(batch, length)`, False at padding; None for a model that reads no tokens.
        name: the name of this output.
    """
    if mask is not None and logits.ndim == 3:
        return logits[mask]  # (batch, length, vocabulary) -> (tokens, vocabulary)
    if mask is not None and name in ("start_logits", "end_logits"):
        return np.where(mask, logits, np.float32(-1e9))
    return logits


@contextmanager
def _quietly() -> Iterator[None]:
    """Silences the exporter, which reports its steps and missing optional packages."""
    import logging

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root", "")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
