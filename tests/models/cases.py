"""The cases of the common suite: at least one small configuration, with its inputs, for every class of the
model table.
"""

import importlib
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers

from hf_llmpath.models.model_table import MODELS

VOCAB = 23


@dataclass(frozen=True)
class Case:
    """One model class at one small configuration.

    Attributes:
        kind: the form of its inputs: `"tokens"`, `"series"`, `"images"`, `"vectors"`, or word pairs as
            `"neighbors"`, `"windows"` or `"counts"`.
        still: pieces of the names of weights that get no gradient in the first step, because they are
            behind a head that starts at zero.
        left_padding: whether it can be padded on the left too.
    """

    name: str
    model_type: str
    auto_class: str
    arguments: dict[str, Any] = field(default_factory=dict)
    kind: str = "tokens"
    still: tuple[str, ...] = ()
    left_padding: bool = True

    @property
    def config_class(self) -> type:
        row = next(row for row in MODELS if row.model_type == self.model_type)
        module, _, name = row.config.rpartition(".")
        return getattr(importlib.import_module(f"hf_llmpath.models.{module}"), name)

    def make(self, **changes: Any) -> Any:
        torch.manual_seed(0)
        return getattr(transformers, self.auto_class).from_config(
            self.config_class(**self.arguments | changes)
        )

    def inputs(self, batch: int = 3, length: int = 9) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        inputs = _INPUTS[self.kind](self, batch, length)
        if self.auto_class == "AutoModelForQuestionAnswering":
            inputs |= {"start_positions": torch.arange(batch), "end_positions": torch.arange(batch) + 2}
        elif self.auto_class != "AutoModel":
            inputs["labels"] = self._labels(inputs, batch, length)
        return inputs

    def _labels(self, inputs: dict[str, torch.Tensor], batch: int, length: int) -> torch.Tensor:
        if self.kind == "series":
            return inputs["past_values"]
        if self.auto_class in ("AutoModelForSequenceClassification", "AutoModelForImageClassification"):
            return torch.arange(batch) % self.arguments.get("num_labels", 2)
        if self.auto_class == "AutoModelForTokenClassification":
            return torch.randint(0, self.arguments.get("num_labels", 2), (batch, length))
        if self.auto_class == "AutoModelForSeq2SeqLM":
            return torch.randint(3, VOCAB, (batch, length - 2))
        return inputs["input_ids"]

    @property
    def generates(self) -> bool:
        return self.auto_class in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM")

    @property
    def is_encoder_decoder(self) -> bool:
        return self.auto_class == "AutoModelForSeq2SeqLM"


def _tokens(case: Case, batch: int, length: int) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(3, VOCAB, (batch, length))}


def _series(case: Case, batch: int, length: int) -> dict[str, torch.Tensor]:
    return {"past_values": torch.randn(batch, length)}


def _images(case: Case, batch: int, length: int) -> dict[str, torch.Tensor]:
    size = case.arguments["image_size"]
    return {"pixel_values": torch.randn(batch, case.arguments.get("num_channels", 1), size, size)}


def _vectors(case: Case, batch: int, length: int) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(batch, case.arguments["input_size"])}


def _neighbors(case: Case, batch: int, length: int) -> dict[str, torch.Tensor]:
    one, other = torch.arange(batch * length).view(batch, length) % VOCAB, torch.arange(VOCAB - 1, -1, -1)
    return {
        "input_ids": one,
        "context_ids": other[one],
        "negative_ids": (one.unsqueeze(-1) + torch.arange(1, 4)) % VOCAB,
    }


def _windows(case: Case, batch: int, length: int) -> dict[str, torch.Tensor]:
    inputs = _neighbors(case, batch, length)
    first = {"context_ids": inputs["context_ids"][:, 0], "negative_ids": inputs["negative_ids"][:, 0]}
    return inputs | first


def _counts(case: Case, batch: int, length: int) -> dict[str, torch.Tensor]:
    inputs = _neighbors(case, batch, length)
    inputs.pop("negative_ids")
    return inputs | {"counts": 1.0 + torch.arange(batch * length).view(batch, length)}


_INPUTS = {
    "tokens": _tokens,
    "series": _series,
    "images": _images,
    "vectors": _vectors,
    "neighbors": _neighbors,
    "windows": _windows,
    "counts": _counts,
}

TOKENS = {"vocab_size": VOCAB, "hidden_size": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

RNN = [
    Case(
        f"{cell}-{auto}",
        "llmpath-rnn",
        auto,
        {"cell": cell, "num_hidden_layers": 2, "embedding_size": 8} | TOKENS,
    )
    for cell, auto in (
        ("rnn", "AutoModelForCausalLM"),
        ("lstm", "AutoModelForCausalLM"),
        ("gru", "AutoModelForCausalLM"),
        ("gru", "AutoModel"),
    )
] + [
    Case(
        "lstm-tied",
        "llmpath-rnn",
        "AutoModelForCausalLM",
        {"cell": "lstm", "tie_word_embeddings": True} | TOKENS,
    ),
    Case(
        "gru-series",
        "llmpath-rnn",
        "AutoModelForTimeSeriesPrediction",
        {"cell": "gru", "vocab_size": 0, "hidden_size": 8, "lags_sequence": [1, 4]},
        kind="series",
        still=("layers", "value_projection"),
    ),
]

IMAGES = {"image_size": 6, "hidden_sizes": [12, 12, 9], "num_labels": 3}
MLP = [
    Case("mlp", "llmpath-mlp", "AutoModel", IMAGES, kind="images"),
    Case(
        "mlp-vectors",
        "llmpath-mlp",
        "AutoModelForImageClassification",
        {"input_size": 5, "hidden_sizes": [12, 9], "hidden_act": "tanh", "num_labels": 3},
        kind="vectors",
    ),
] + [
    Case(f"mlp-{name}", "llmpath-mlp", "AutoModelForImageClassification", changes | IMAGES, kind="images")
    for name, changes in {
        "sigmoid": {"hidden_act": "sigmoid"},
        "layer-norm": {"normalization": "layer", "hidden_act": "gelu"},
        "residual": {"normalization": "batch", "residual": True, "dropout": 0.2, "input_dropout": 0.1},
    }.items()
]

_BERT = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "type_vocab_size": 0,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "initializer_range": 0.2,
}
_MODERN = {"position_embedding_type": "rotary", "norm_position": "pre", "classifier_pooling": "mean"}
BERT = [
    Case(f"bert-{name}-{auto}", "llmpath-bert", auto, _BERT | layout, left_padding=layout is _MODERN)
    for name, layout, auto in (
        ("post", {}, "AutoModelForMaskedLM"),
        ("post", {}, "AutoModelForSequenceClassification"),
        ("modern", _MODERN, "AutoModel"),
        ("modern", _MODERN, "AutoModelForMaskedLM"),
        ("modern", _MODERN, "AutoModelForSequenceClassification"),
        ("modern", _MODERN, "AutoModelForTokenClassification"),
        ("modern", _MODERN, "AutoModelForQuestionAnswering"),
    )
]

_SUMMARIZER = {"embedding_size": 8, "initializer_range": 1.0, "num_hidden_layers": 2} | TOKENS
SUMMARIZER = [
    Case("summarizer", "llmpath-summarizer", "AutoModelForSeq2SeqLM", _SUMMARIZER),
    Case("summarizer-lstm", "llmpath-summarizer", "AutoModelForSeq2SeqLM", {"cell": "lstm"} | _SUMMARIZER),
    Case(
        "summarizer-additive",
        "llmpath-summarizer",
        "AutoModelForSeq2SeqLM",
        {"attention": "additive", "copy_mechanism": False, "tie_word_embeddings": False} | _SUMMARIZER,
    ),
    Case(
        "summarizer-none",
        "llmpath-summarizer",
        "AutoModelForSeq2SeqLM",
        {"attention": "none", "copy_mechanism": False} | _SUMMARIZER,
    ),
    Case("summarizer-AutoModel", "llmpath-summarizer", "AutoModel", _SUMMARIZER),
]

_TRANSFORMER = {"num_attention_heads": 2, "max_position_embeddings": 40} | TOKENS
TRANSFORMER = [
    Case(
        f"transformer-{kind}-{'pre' if norm_first else 'post'}-norm",
        "llmpath-transformer",
        "AutoModelForSeq2SeqLM",
        {"position_embedding_type": kind, "norm_first": norm_first} | _TRANSFORMER,
    )
    for kind, norm_first in (("sinusoidal", False), ("learned", True), ("rotary", True))
] + [
    Case("transformer-model", "llmpath-transformer", "AutoModel", _TRANSFORMER),
    Case(
        "transformer-classifier",
        "llmpath-transformer",
        "AutoModelForSequenceClassification",
        {"num_decoder_layers": 0, "num_labels": 3} | _TRANSFORMER,
    ),
]

WORD2VEC = [
    Case(
        f"word2vec-{objective}",
        "llmpath-word2vec",
        "AutoModel",
        {"vocab_size": VOCAB, "hidden_size": 8, "objective": objective},
        kind=kind,
        still=() if objective == "glove" else ("embed_tokens",),
    )
    for objective, kind in (("skipgram", "neighbors"), ("cbow", "windows"), ("glove", "counts"))
]

_GPT = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
} | TOKENS
_OPEN = {"zero_init_projections": False}  # so that every weight gets a gradient in the first step
GPT = [
    Case("gpt-gpt2", "llmpath-gpt", "AutoModelForCausalLM", {"layout": "gpt2"} | _GPT),
    Case("gpt-modern", "llmpath-gpt", "AutoModelForCausalLM", _OPEN | _GPT),
    Case(
        "gpt-zero",
        "llmpath-gpt",
        "AutoModelForCausalLM",
        _GPT,
        still=("_proj.weight", "q_norm", "k_norm", "layers"),
    ),
    Case(
        "gpt-swiglu-grouped",
        "llmpath-gpt",
        "AutoModelForCausalLM",
        {"hidden_act": "swiglu", "num_key_value_heads": 2, "tie_word_embeddings": False} | _OPEN | _GPT,
    ),
    Case("gpt-model", "llmpath-gpt", "AutoModel", _OPEN | _GPT),
    Case(
        "gpt-classifier",
        "llmpath-gpt",
        "AutoModelForSequenceClassification",
        _OPEN | _GPT | {"num_labels": 3},
    ),
]

_T5 = {"num_attention_heads": 2} | TOKENS
T5 = [
    Case("t5-1.0", "llmpath-t5", "AutoModelForSeq2SeqLM", _T5),
    Case(
        "t5-1.1",
        "llmpath-t5",
        "AutoModelForSeq2SeqLM",
        {"hidden_act": "gelu_new", "is_gated": True, "tie_word_embeddings": False, "head_dim": 6} | _T5,
    ),
    # Without a cache, as with labels: the keys of a cache are summed in another order, which shows in the
    # last bit.
    Case("t5-model", "llmpath-t5", "AutoModel", {"use_cache": False} | _T5),
]

CASES = [*RNN, *MLP, *BERT, *SUMMARIZER, *TRANSFORMER, *WORD2VEC, *GPT, *T5]
GENERATING = [case for case in CASES if case.generates]
