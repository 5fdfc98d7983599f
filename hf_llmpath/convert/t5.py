"""Converts between T5 and our text-to-text Transformer, which have the same weights under different names.

    model = from_t5(transformers.T5ForConditionalGeneration.from_pretrained(folder))
    model, tokenizer = load_t5("google-t5/t5-small")

The conversion covers T5 (output layer tied to the embeddings, ReLU), T5 1.1 (separate output layer, gated
GELU), and FLAN-T5.
"""

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, T5Config

from ..errors import UserError
from ..models import modeling_t5 as ours
from ..models.configuration_t5 import LLMPathT5Config
from .pretrained import load_converted

# Our name of a module -> T5's name within a stack; \1 is the index of the layer. `{last}` is the index of the
# feed-forward sublayer, which is smaller in the encoder, because the encoder has no cross-attention. The
# first block holds the position bias of its whole stack.
_STACK = {
    r"position_bias\.bias": "block.0.layer.0.SelfAttention.relative_attention_bias",
    r"layers\.(\d+)\.self_attn\.([qkvo])_proj": r"block.\1.layer.0.SelfAttention.\2",
    r"layers\.(\d+)\.self_attn_norm": r"block.\1.layer.0.layer_norm",
    r"layers\.(\d+)\.cross_attn\.([qkvo])_proj": r"block.\1.layer.1.EncDecAttention.\2",
    r"layers\.(\d+)\.cross_attn_norm": r"block.\1.layer.1.layer_norm",
    r"layers\.(\d+)\.mlp_norm": r"block.\1.layer.{last}.layer_norm",
    r"layers\.(\d+)\.mlp\.(up|gate|down)_proj": r"block.\1.layer.{last}.DenseReluDense.{\2}",
    r"norm": "final_layer_norm",
}
_LAST = {"encoder": "1", "decoder": "2"}
# The gated layer of T5 computes (act(x wi_0) * (x wi_1)) wo.
_PLAIN, _GATED = {"up": "wi", "down": "wo"}, {"up": "wi_1", "gate": "wi_0", "down": "wo"}
_CLASSES = {"T5Model": "LLMPathT5Model", "T5ForConditionalGeneration": "LLMPathT5ForConditionalGeneration"}
# Our name -> T5's name, for arguments that both configurations have.
_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "head_dim": "d_kv",
    "intermediate_size": "d_ff",
    "num_encoder_layers": "num_layers",
    "num_decoder_layers": "num_decoder_layers",
    "num_attention_heads": "num_heads",
    "relative_attention_num_buckets": "relative_attention_num_buckets",
    "relative_attention_max_distance": "relative_attention_max_distance",
    "dropout": "dropout_rate",
    "layer_norm_eps": "layer_norm_epsilon",
    "initializer_factor": "initializer_factor",
    "pad_token_id": "pad_token_id",
    "eos_token_id": "eos_token_id",
    "decoder_start_token_id": "decoder_start_token_id",
}


def t5_name(name: str, is_gated: bool) -> str:
    """Translates the name of one of our weights, with or without its prefix `model.`, to its name in T5.

    Raises:
        KeyError: T5 has no such weight.
    """
    bare = name.removeprefix("model.")
    if bare == "lm_head.weight":
        return bare
    if bare == "encoder.embed_tokens.weight":
        return "shared.weight"
    stack, _, rest = bare.partition(".")
    stem, _, kind = rest.rpartition(".")
    for pattern, replacement in _STACK.items():
        if stack in _LAST and re.fullmatch(pattern, stem):
            matrices = _GATED if is_gated else _PLAIN
            # re.sub leaves `{last}`, `{up}`, `{gate}`, and `{down}` in the name, and format fills them in.
            their_stem = re.sub(pattern, replacement, stem).format(last=_LAST[stack], **matrices)
            return f"{stack}.{their_stem}.{kind}"
    raise KeyError(f"T5 has no weight like {name}")


def config_from_t5(config: T5Config, is_tied: bool = True, **changes: Any) -> LLMPathT5Config:
    """Returns our configuration for the same model.

    Args:
        config: transformers' configuration.
        is_tied: whether the output layer is tied to the embeddings, which that configuration does not say.
        changes: arguments of our configuration that differ from T5's.
    """
    arguments = {own: getattr(config, their) for own, their in _SIZES.items()} | {
        "hidden_act": config.dense_act_fn,
        "is_gated": config.is_gated_act,
        "tie_word_embeddings": is_tied,
        "scale_decoder_outputs": config.scale_decoder_outputs,
    }
    return LLMPathT5Config(**arguments | changes)


def config_to_t5(config: LLMPathT5Config) -> T5Config:
    """Returns T5's configuration for the same model.

    Raises:
        UserError: the model has an option that T5 lacks.
    """
    if config.attention_dropout != config.dropout:
        raise UserError(
            f"T5 has one dropout for all; this model has dropout={config.dropout} and "
            f"attention_dropout={config.attention_dropout}"
        )
    sizes = {their: getattr(config, own) for own, their in _SIZES.items()}
    activation = f"{'gated-' if config.is_gated else ''}{config.hidden_act}"
    # In transformers, "gated-gelu" means GELU in its approximation by tanh.
    activation = {"gated-gelu_new": "gated-gelu"}.get(activation, activation)
    if config.is_gated and config.hidden_act == "gelu":
        raise UserError("T5 has no gated exact GELU; its 'gated-gelu' is hidden_act='gelu_new'")
    their_config = T5Config(feed_forward_proj=activation, **sizes)
    # T5Config takes no such argument; it derives the flag from `tie_word_embeddings`.
    their_config.scale_decoder_outputs = bool(config.scale_decoder_outputs)
    return their_config


def from_t5(model: PreTrainedModel, **changes: Any) -> PreTrainedModel:
    """Returns our model with the weights of a `T5Model` or `T5ForConditionalGeneration`.

    Args:
        model: a model of transformers.
        changes: arguments of our configuration that differ from T5's, such as the dropout.

    Raises:
        UserError: the class has no counterpart here.
    """
    if (name := type(model).__name__) not in _CLASSES:
        raise UserError(f"{name} has no counterpart here; there are: {', '.join(_CLASSES)}")
    theirs: Any = model
    # A model without an output layer counts as tied: it has nothing to untie.
    is_tied = not hasattr(model, "lm_head") or theirs.lm_head.weight is theirs.shared.weight
    config = config_from_t5(theirs.config, is_tied, **changes)
    converted, weights = getattr(ours, _CLASSES[name])(config).to(model.dtype), model.state_dict()
    converted.load_state_dict(
        {name: weights[t5_name(name, config.is_gated)] for name in converted.state_dict()}
    )
    return converted.train(model.training)


def to_t5(model: PreTrainedModel) -> PreTrainedModel:
    """Returns the transformers T5 with the weights of our model; the inverse of `from_t5`.

    Raises:
        UserError: the model has an option that T5 lacks.
    """
    config: Any = model.config
    name = next(theirs for theirs, name in _CLASSES.items() if name == type(model).__name__)
    t5: Any = getattr(transformers, name)(config_to_t5(config)).to(model.dtype)
    if hasattr(t5, "lm_head") and not config.tie_word_embeddings:
        # A new T5 ties its output layer to the embeddings; an untied one needs a matrix of its own.
        t5.lm_head.weight = nn.Parameter(torch.empty_like(t5.shared.weight))  # (vocabulary, hidden)
    renamed = {t5_name(name, config.is_gated): value for name, value in model.state_dict().items()}
    for stack in _LAST:  # T5 has the embeddings under three names
        renamed[f"{stack}.embed_tokens.weight"] = renamed["shared.weight"]
    t5.load_state_dict(renamed)
    return t5.train(model.training)


def load_t5(source: str | Path, **changes: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a T5 as `LLMPathT5ForConditionalGeneration`, with its tokenizer.

    Args:
        source: a local folder (config.json, model.safetensors, and tokenizer.json) or a Hub id, saved by
            transformers or by this package.
        changes: arguments of our configuration that differ from the source's.

    Raises:
        UserError: the source does not exist; weights are missing, truncated, or pickled; the model is not a
            T5; or the tokenizer is missing or belongs to another model.
    """
    theirs = transformers.T5ForConditionalGeneration
    model, tokenizer = load_converted(
        source, ours.LLMPathT5ForConditionalGeneration, theirs, from_t5, **changes
    )
    # T5's embeddings are padded to a multiple of 128 rows: often more than there are tokens, never fewer.
    if len(tokenizer) > (size := model.config.vocab_size):
        raise UserError(
            f"the tokenizer has {len(tokenizer):,} tokens and the model in {source} {size:,}: it is the "
            "tokenizer of another model; use the one that was saved with the model"
        )
    return model, tokenizer
