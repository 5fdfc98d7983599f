"""Converts between GPT-2 and our decoder, which have the same weights under different names.

    model = from_gpt2(transformers.GPT2LMHeadModel.from_pretrained(folder))

GPT-2 keeps the projections of queries, keys, and values in one matrix, and stores every matrix of its layers
transposed.
"""

import re
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import GPT2Config, PreTrainedModel

from ..errors import UserError
from ..models import modeling_gpt as ours
from ..models.configuration_gpt import LLMPathGPTConfig

# Our name of a module -> GPT-2's name; \1 is the index of the layer. The joint projection of queries, keys,
# and values does not fit into this table, which is one to one.
_NAMES = {
    r"embed_tokens": "wte",
    r"embed_positions": "wpe",
    r"layers\.(\d+)\.attention_norm": r"h.\1.ln_1",
    r"layers\.(\d+)\.attention\.o_proj": r"h.\1.attn.c_proj",
    r"layers\.(\d+)\.mlp_norm": r"h.\1.ln_2",
    r"layers\.(\d+)\.mlp\.up_proj": r"h.\1.mlp.c_fc",
    r"layers\.(\d+)\.mlp\.down_proj": r"h.\1.mlp.c_proj",
    r"norm": "ln_f",
}
_JOINT = re.compile(r"layers\.(\d+)\.attention\.([qkv])_proj\.(weight|bias)")
_CLASSES = {
    "GPT2Model": "LLMPathGPTModel",
    "GPT2LMHeadModel": "LLMPathGPTForCausalLM",
    "GPT2ForSequenceClassification": "LLMPathGPTForSequenceClassification",
}
# Our name -> GPT-2's name, for arguments that both configurations have.
_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
    "hidden_act": "activation_function",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "layer_norm_eps": "layer_norm_epsilon",
    "initializer_range": "initializer_range",
    "tie_word_embeddings": "tie_word_embeddings",
    "pad_token_id": "pad_token_id",
    "bos_token_id": "bos_token_id",
    "eos_token_id": "eos_token_id",
}


def from_gpt2(model: PreTrainedModel) -> PreTrainedModel:
    """Returns our model with the weights of a `GPT2Model`, `GPT2LMHeadModel`, or classifier.

    Raises:
        UserError: the class has no counterpart here, or the model has an option that ours lacks.
    """
    name = type(model).__name__
    if name not in _CLASSES:
        raise UserError(f"{name} is none of: {', '.join(_CLASSES)}")
    theirs: Any = model.config
    for option in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        if getattr(theirs, option, False):
            raise UserError(f"this GPT-2 has {option}, which our model does not have")
    if not theirs.scale_attn_weights:
        raise UserError("this GPT-2 has scale_attn_weights switched off, which our model does not have")
    arguments = {own: getattr(theirs, their) for own, their in _SIZES.items()}
    labels = {"id2label": theirs.id2label, "label2id": theirs.label2id} if "Classification" in name else {}
    # GPT-2's n_inner is None where the feed-forward layer has the usual width of 4 * n_embd.
    config = LLMPathGPTConfig(
        layout="gpt2", intermediate_size=theirs.n_inner or 4 * theirs.n_embd, **arguments, **labels
    )
    converted, weights = getattr(ours, _CLASSES[name])(config), model.state_dict()
    prefix = "transformer." if hasattr(model, "transformer") else ""
    converted.load_state_dict(
        {own: _our_weight(weights, own, prefix, theirs.n_embd) for own in converted.state_dict()}
    )
    return converted.to(next(model.parameters()).dtype).train(model.training)


def to_gpt2(model: PreTrainedModel) -> PreTrainedModel:
    """Returns the transformers GPT-2 with the weights of our model; the inverse of `from_gpt2`.

    Raises:
        UserError: the model has a layout that GPT-2 lacks.
    """
    own: Any = model.config
    layout = {"position_embedding_type": "learned", "normalization": "layer", "qk_norm": False, "bias": True}
    for name, value in layout.items():
        if getattr(own, name) != value:
            raise UserError(
                f"GPT-2 has no {name}={getattr(own, name)!r}; only models of layout='gpt2' fit into it"
            )
    if own.num_key_value_heads != own.num_attention_heads or own.hidden_act == "swiglu":
        raise UserError(
            "GPT-2 has neither grouped heads nor SwiGLU; only models of layout='gpt2' fit into it"
        )
    arguments = {their: getattr(own, name) for name, their in _SIZES.items()}
    theirs = next(theirs for theirs, name in _CLASSES.items() if name == type(model).__name__)
    labels = {"id2label": own.id2label, "label2id": own.label2id} if "Classification" in theirs else {}
    config = GPT2Config(n_inner=own.intermediate_size, embd_pdrop=own.dropout, **arguments, **labels)
    gpt2, weights = getattr(transformers, theirs)(config), model.state_dict()
    prefix = "transformer." if hasattr(gpt2, "transformer") else ""
    renamed = {}
    for name, value in weights.items():
        if not _JOINT.search(name):
            their_name, is_matrix = _their_name(name, prefix)
            # A matrix: (outputs, inputs) -> (inputs, outputs), which GPT-2's Conv1D layers multiply x by.
            renamed[their_name] = value.t() if is_matrix else value
    base = "model." if prefix else ""
    for layer in range(own.num_hidden_layers):
        for kind in ("weight", "bias"):
            names = [f"{base}layers.{layer}.attention.{letter}_proj.{kind}" for letter in "qkv"]
            joint = torch.cat([weights[name] for name in names])  # (3 * hidden, hidden), or (3 * hidden,)
            # The matrix: (3 * hidden, hidden) -> (hidden, 3 * hidden).
            renamed[f"{prefix}h.{layer}.attn.c_attn.{kind}"] = joint.t() if kind == "weight" else joint
    gpt2.load_state_dict(renamed)
    return gpt2.to(next(model.parameters()).dtype).train(model.training)


def _their_name(own: str, prefix: str) -> tuple[str, bool]:
    """Returns GPT-2's name of our weight `own`, and whether GPT-2 stores it as a transposed matrix."""
    bare = own.removeprefix("model.")
    module, _, kind = bare.rpartition(".")
    if module in ("lm_head", "score"):
        return bare, False  # the heads have no prefix, and both models store them as (outputs, inputs)
    for pattern, name in _NAMES.items():
        if re.fullmatch(pattern, module):
            return f"{prefix}{re.sub(pattern, name, module)}.{kind}", kind == "weight" and "_proj" in module
    raise UserError(f"GPT-2 has no weight for our '{own}'")


def _our_weight(weights: dict[str, Tensor], own: str, prefix: str, width: int) -> Tensor:
    """Takes our weight `own` out of GPT-2's weights, whose hidden size is `width`."""
    joint = _JOINT.search(own)
    if joint is None:
        name, is_matrix = _their_name(own, prefix)
        return weights[name].t() if is_matrix else weights[name]  # (inputs, outputs) -> (outputs, inputs)
    layer, letter, kind = joint.groups()
    start = "qkv".index(letter) * width
    # Queries, keys, and values lie side by side: (hidden, 3 * hidden) -> (hidden, hidden), or for the bias
    # (3 * hidden,) -> (hidden,).
    value = weights[f"{prefix}h.{layer}.attn.c_attn.{kind}"][..., start : start + width]
    return value.t() if kind == "weight" else value  # (hidden, hidden), or (hidden,)
