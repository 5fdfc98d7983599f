"""T5's weights in our encoder-decoder, and ours in T5's: the same numbers under other names, in both
directions.

    model = from_t5(transformers.T5ForConditionalGeneration.from_pretrained(folder))
    model, tokenizer = load_t5("google-t5/t5-small")

T5 (output layer tied to the embeddings, ReLU) and T5 1.1 (an output layer of its own, gated GELU),
FLAN-T5 included.
"""

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, T5Config

from ..errors import UserError
from ..hub.model_folder import check_model_folder
from ..models import modeling_t5 as ours
from ..models.configuration_t5 import LLMPathT5Config

# Ours -> theirs, within a stack; \1 is the number of the layer. The places of a layer's parts differ in
# the two stacks.
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
_PLAIN, _GATED = {"up": "wi", "down": "wo"}, {"up": "wi_1", "gate": "wi_0", "down": "wo"}
_CLASSES = {"T5Model": "LLMPathT5Model", "T5ForConditionalGeneration": "LLMPathT5ForConditionalGeneration"}
# Ours -> theirs, for what both configurations have.
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
    """The name in transformers' T5 of our weight `name`, with or without the prefix of the base model.

    Raises:
        KeyError: no such weight there.
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
            parts = _GATED if is_gated else _PLAIN
            return f"{stack}.{re.sub(pattern, replacement, stem).format(last=_LAST[stack], **parts)}.{kind}"
    raise KeyError(f"T5 has no weight like {name}")


def config_from_t5(config: T5Config, is_tied: bool = True, **changes: Any) -> LLMPathT5Config:
    """Our configuration of the same model; `changes` are further arguments of it.

    Args:
        config: transformers' configuration. It says nothing of the output layer, therefore
        is_tied: whether that is the embeddings.
    """
    kept = {own: getattr(config, their) for own, their in _SIZES.items()}
    if kept["decoder_start_token_id"] is None:
        kept["decoder_start_token_id"] = config.pad_token_id
    arguments = kept | {
        "hidden_act": config.dense_act_fn,
        "is_gated": config.is_gated_act,
        "tie_word_embeddings": is_tied,
        "scale_decoder_outputs": config.scale_decoder_outputs,
    }
    return LLMPathT5Config(**arguments | changes)


def config_to_t5(config: LLMPathT5Config) -> T5Config:
    """T5's configuration of the same model.

    Raises:
        UserError: something that T5 does not have.
    """
    if config.attention_dropout != config.dropout:
        raise UserError(
            f"T5 has one dropout for all; this model has dropout={config.dropout} and "
            f"attention_dropout={config.attention_dropout}"
        )
    kept = {their: getattr(config, own) for own, their in _SIZES.items()}
    activation = f"{'gated-' if config.is_gated else ''}{config.hidden_act}"
    # What transformers calls "gated-gelu" is the approximation by tanh.
    activation = {"gated-gelu_new": "gated-gelu"}.get(activation, activation)
    if config.is_gated and config.hidden_act == "gelu":
        raise UserError("T5 has no gated exact GELU; its 'gated-gelu' is hidden_act='gelu_new'")
    made = T5Config(feed_forward_proj=activation, **kept)
    made.scale_decoder_outputs = bool(config.scale_decoder_outputs)
    return made


def from_t5(model: PreTrainedModel, **changes: Any) -> PreTrainedModel:
    """Our model with the weights of a `T5Model` or `T5ForConditionalGeneration`.

    Args:
        model: of transformers.
        changes: further arguments of our configuration, such as another dropout.

    Raises:
        UserError: a class that has no counterpart here.
    """
    if (name := type(model).__name__) not in _CLASSES:
        raise UserError(f"{name} has no counterpart here; there are: {', '.join(_CLASSES)}")
    theirs: Any = model
    is_tied = not hasattr(model, "lm_head") or theirs.lm_head.weight is theirs.shared.weight
    config = config_from_t5(theirs.config, is_tied, **changes)
    own, weights = getattr(ours, _CLASSES[name])(config).to(model.dtype), model.state_dict()
    own.load_state_dict({name: weights[t5_name(name, config.is_gated)] for name in own.state_dict()})
    return own.train(model.training)


def to_t5(model: PreTrainedModel) -> PreTrainedModel:
    """transformers' T5 with the weights of ours: what `from_t5` undoes.

    Raises:
        UserError: something that T5 does not have.
    """
    own: Any = model.config
    name = next(their for their, our in _CLASSES.items() if our == type(model).__name__)
    made: Any = getattr(transformers, name)(config_to_t5(own)).to(model.dtype)
    if hasattr(made, "lm_head") and not own.tie_word_embeddings:
        made.lm_head.weight = nn.Parameter(torch.empty_like(made.shared.weight))
    found = {t5_name(name, own.is_gated): value for name, value in model.state_dict().items()}
    for stack in _LAST:  # the embeddings have three names there
        found[f"{stack}.embed_tokens.weight"] = found["shared.weight"]
    made.load_state_dict(found)
    return made.train(model.training)


def load_t5(source: str | Path, **changes: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A T5 of transformers, or one of ours, as `LLMPathT5ForConditionalGeneration`, with its tokenizer.

    Args:
        source: local folder (config.json, model.safetensors and tokenizer.json) or Hub id.
        changes: further arguments of our configuration.

    Raises:
        UserError: nothing there, weights that are missing, truncated or pickled, a model that is no T5,
            or no tokenizer.
    """
    if Path(source).is_dir():
        check_model_folder(source)
    elif str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
        raise UserError(
            f"no model folder '{source}'; name a folder that save_pretrained wrote, or a model on the Hub"
        )
    try:
        config = AutoConfig.from_pretrained(source)
        if config.model_type not in ("t5", LLMPathT5Config.model_type):
            raise UserError(
                f"{source} is of type '{config.model_type}', not 't5' or '{LLMPathT5Config.model_type}'"
            )
        if config.model_type == "t5":
            theirs = transformers.T5ForConditionalGeneration.from_pretrained(source, use_safetensors=True)
            model = from_t5(theirs, **changes)
        else:
            model = ours.LLMPathT5ForConditionalGeneration.from_pretrained(
                source, use_safetensors=True, **changes
            )
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"'{source}' cannot be loaded: {str(error).strip().splitlines()[0][:160]}") from None
    # T5's matrices are padded to a multiple of 128: more rows than tokens are usual, fewer are another
    # model's tokenizer.
    if len(tokenizer) > model.config.vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer):,} tokens and the model in {source} {model.config.vocab_size:,}: it is the "
            "tokenizer of another model; use the one that was saved with the model"
        )
    return model, tokenizer
