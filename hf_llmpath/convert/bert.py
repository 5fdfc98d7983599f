"""Converts between BERT and our encoder, which have the same weights under different names.

    model = from_bert(transformers.BertForMaskedLM.from_pretrained(folder))
    model, tokenizer = load_bert("google-bert/bert-base-uncased", "LLMPathBertForQuestionAnswering")

Each of our classes has a counterpart in transformers. Both compute the same logits up to rounding.
"""

import re
from pathlib import Path
from typing import Any

import transformers
from transformers import BertConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..errors import UserError
from ..hub.model_folder import require_fitting
from ..models import modeling_bert as ours
from ..models.configuration_bert import LLMPathBertConfig
from .pretrained import load_converted

# Our name of a module -> BERT's name; \1 is the index of the layer.
_MODEL = {
    r"embeddings\.tokens": "embeddings.word_embeddings",
    r"embeddings\.positions": "embeddings.position_embeddings",
    r"embeddings\.token_types": "embeddings.token_type_embeddings",
    r"embeddings\.norm": "embeddings.LayerNorm",
    r"layers\.(\d+)\.attention\.q_proj": r"encoder.layer.\1.attention.self.query",
    r"layers\.(\d+)\.attention\.k_proj": r"encoder.layer.\1.attention.self.key",
    r"layers\.(\d+)\.attention\.v_proj": r"encoder.layer.\1.attention.self.value",
    r"layers\.(\d+)\.attention\.o_proj": r"encoder.layer.\1.attention.output.dense",
    r"layers\.(\d+)\.attention_norm": r"encoder.layer.\1.attention.output.LayerNorm",
    r"layers\.(\d+)\.up_proj": r"encoder.layer.\1.intermediate.dense",
    r"layers\.(\d+)\.down_proj": r"encoder.layer.\1.output.dense",
    r"layers\.(\d+)\.feed_forward_norm": r"encoder.layer.\1.output.LayerNorm",
    r"pooler\.dense": "pooler.dense",
}
_HEADS = {
    r"head\.dense": "cls.predictions.transform.dense",
    r"head\.norm": "cls.predictions.transform.LayerNorm",
    r"decoder": "cls.predictions.decoder",
    r"classifier": "classifier",
    r"qa_outputs": "qa_outputs",
}
_CLASSES = {
    "LLMPathBertModel": "BertModel",
    "LLMPathBertForMaskedLM": "BertForMaskedLM",
    "LLMPathBertForSequenceClassification": "BertForSequenceClassification",
    "LLMPathBertForTokenClassification": "BertForTokenClassification",
    "LLMPathBertForQuestionAnswering": "BertForQuestionAnswering",
}
# Arguments that have the same name in both configurations.
_SAME = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings",
    "type_vocab_size", "initializer_range", "layer_norm_eps", "pad_token_id", "tie_word_embeddings",
    "problem_type", "id2label", "label2id", "classifier_dropout",
)  # fmt: skip


def bert_name(name: str) -> str:
    """Translates the name of one of our weights to its name in transformers' BERT.

    The prefix of the base model, `model.` here and `bert.` there, is kept if `name` has it.

    Raises:
        KeyError: BERT has no such weight.
    """
    prefix, rest = ("bert.", name.removeprefix("model.")) if name.startswith("model.") else ("", name)
    stem, _, kind = rest.rpartition(".")
    for pattern, replacement in (_MODEL | _HEADS).items():
        if re.fullmatch(pattern, stem):
            return f"{prefix}{re.sub(pattern, replacement, stem)}.{kind}"
    raise KeyError(f"BERT has no weight like {name}")


def config_from_bert(config: Any, **changes: Any) -> LLMPathBertConfig:
    """Returns our configuration for the same model; `changes` are arguments that differ from BERT's.

    Raises:
        UserError: the BERT is a decoder.
    """
    if config.is_decoder or config.add_cross_attention:
        raise UserError(
            "this BERT is a decoder (is_decoder, add_cross_attention); only encoders can be converted"
        )
    return LLMPathBertConfig(**{name: getattr(config, name) for name in _SAME} | changes)


def config_to_bert(config: Any) -> BertConfig:
    """Returns BERT's configuration for the same model.

    Raises:
        UserError: the model has an option that BERT lacks.
    """
    # BERT knows only one value of each of these options, and so has no argument for them.
    layout = {"position_embedding_type": "learned", "norm_position": "post", "classifier_pooling": "cls"}
    for name, value in layout.items():
        if (ours := getattr(config, name)) != value:
            raise UserError(f"BERT has only {name}='{value}'; this model has '{ours}'")
    if not config.type_vocab_size:
        raise UserError("BERT needs type_vocab_size of at least 1; this model has 0")
    return BertConfig(**{name: getattr(config, name) for name in _SAME})


def from_bert(model: PreTrainedModel, **changes: Any) -> PreTrainedModel:
    """Returns our counterpart of a transformers BERT, with the same weights.

    Args:
        model: a `BertModel`, or a BERT with one of the heads in `_CLASSES`.
        changes: arguments of our configuration that differ from BERT's, such as the dropout.

    Raises:
        UserError: the class has no counterpart here.
    """
    counterparts = {theirs: name for name, theirs in _CLASSES.items()}
    if (name := counterparts.get(type(model).__name__)) is None:
        raise UserError(
            f"{type(model).__name__} has no counterpart here; there are: {', '.join(counterparts)}"
        )
    config = config_from_bert(model.config, **changes)
    converted = getattr(ours, name)(config, **_pooling(model)).to(model.dtype)
    weights = model.state_dict()
    # Every weight of ours must be there. BERT's second name for the decoder's bias is skipped.
    converted.load_state_dict({name: weights[bert_name(name)] for name in converted.state_dict()})
    return converted.train(model.training)


def _pooling(model: Any) -> dict[str, bool]:
    """Returns whether to build the pooler, an argument that only the models without a head have."""
    has_choice = isinstance(model, transformers.BertModel | ours.LLMPathBertModel)
    return {"add_pooling_layer": model.pooler is not None} if has_choice else {}


def to_bert(model: PreTrainedModel) -> PreTrainedModel:
    """Returns the transformers BERT with the weights of our model; the inverse of `from_bert`."""
    config = config_to_bert(model.config)
    bert = getattr(transformers, _CLASSES[type(model).__name__])(config, **_pooling(model)).to(model.dtype)
    renamed = {bert_name(name): value for name, value in model.state_dict().items()}
    if "cls.predictions.decoder.bias" in renamed:  # BERT has this bias under two names
        renamed["cls.predictions.bias"] = renamed["cls.predictions.decoder.bias"]
    bert.load_state_dict(renamed)
    return bert.train(model.training)


def load_bert(
    source: str | Path, name: str, **changes: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a BERT that transformers or this package saved as our class `name`, with its tokenizer.

    Args:
        source: a local folder (config.json, model.safetensors, and tokenizer.json or vocab.txt) or a Hub id.
        name: one of our classes, such as `LLMPathBertForQuestionAnswering`. A head that the source lacks is
            initialized at random.
        changes: arguments of our configuration that differ from the source's.

    Raises:
        UserError: the source does not exist; weights are missing, truncated, or pickled; the model is not a
            BERT; or the tokenizer is missing or belongs to another model.
    """
    theirs = getattr(transformers, _CLASSES[name])
    model, tokenizer = load_converted(source, getattr(ours, name), theirs, from_bert, **changes)
    require_fitting(tokenizer, model.config, f"the model in {source}")
    return model, tokenizer
