"""BERT's weights in our encoder, and ours in BERT's: the same numbers under other names, in both directions.

    model = from_bert(transformers.BertForMaskedLM.from_pretrained(folder))
    model, tokenizer = load_bert("google-bert/bert-base-uncased", "LLMPathBertForQuestionAnswering")

Every class of ours has a class of transformers beside it; its logits are equal to float tolerance, before
and after.
"""

import re
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, AutoTokenizer, BertConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..errors import UserError
from ..hub.model_folder import check_model_folder, require_fitting
from ..models import modeling_bert as ours
from ..models.configuration_bert import LLMPathBertConfig

# Ours -> theirs; \1 is the number of the layer.
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
_SAME = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
    "tie_word_embeddings",
    "problem_type",
)


def bert_name(name: str) -> str:
    """The name in transformers' BERT of our weight `name`, both with or both without the prefix of the
    base model.

    Raises:
        KeyError: no such weight there.
    """
    prefix, rest = ("bert.", name.removeprefix("model.")) if name.startswith("model.") else ("", name)
    stem, _, kind = rest.rpartition(".")
    for pattern, replacement in (_MODEL | _HEADS).items():
        if re.fullmatch(pattern, stem):
            return f"{prefix}{re.sub(pattern, replacement, stem)}.{kind}"
    raise KeyError(f"BERT has no weight like {name}")


def config_from_bert(config: BertConfig, **changes: Any) -> LLMPathBertConfig:
    """Our configuration of the same model; `changes` are further arguments of it.

    Raises:
        UserError: a BERT that is a decoder.
    """
    if config.is_decoder or config.add_cross_attention:
        raise UserError(
            "this BERT is a decoder (is_decoder, add_cross_attention); only encoders can be converted"
        )
    kept = {name: getattr(config, name) for name in _SAME}
    labels = {"id2label": config.id2label, "label2id": config.label2id}
    return LLMPathBertConfig(**kept | labels | {"classifier_dropout": config.classifier_dropout} | changes)


def config_to_bert(config: LLMPathBertConfig) -> BertConfig:
    """BERT's configuration of the same model.

    Raises:
        UserError: something that BERT does not have.
    """
    wanted = {"position_embedding_type": "learned", "norm_position": "post", "classifier_pooling": "cls"}
    for name, value in wanted.items():
        if (found := getattr(config, name)) != value:
            raise UserError(f"BERT has only {name}='{value}'; this model has '{found}'")
    if not config.type_vocab_size:
        raise UserError("BERT needs type_vocab_size of at least 1; this model has 0")
    kept = {name: getattr(config, name) for name in _SAME}
    labels = {"id2label": config.id2label, "label2id": config.label2id}
    return BertConfig(**kept | labels | {"classifier_dropout": config.classifier_dropout})


def from_bert(model: PreTrainedModel, **changes: Any) -> PreTrainedModel:
    """Our model with the weights of a transformers BERT: the class that belongs to its class.

    Args:
        model: `BertModel` or one of its heads in the table above.
        changes: further arguments of our configuration, such as another dropout.

    Raises:
        UserError: a class that has no counterpart here.
    """
    theirs = {theirs: name for name, theirs in _CLASSES.items()}
    if (name := theirs.get(type(model).__name__)) is None:
        raise UserError(f"{type(model).__name__} has no counterpart here; there are: {', '.join(theirs)}")
    config = config_from_bert(model.config, **changes)
    # A BertModel may come without its pooler.
    options = {"add_pooling_layer": model.pooler is not None} if name == "LLMPathBertModel" else {}
    own, weights = getattr(ours, name)(config, **options).to(model.dtype), model.state_dict()
    own.load_state_dict({name: weights[bert_name(name)] for name in own.state_dict()})
    return own.train(model.training)


def to_bert(model: PreTrainedModel) -> PreTrainedModel:
    """The transformers BERT with the weights of our model: what `from_bert` undoes."""
    config = config_to_bert(model.config)
    options = (
        {"add_pooling_layer": model.pooler is not None} if isinstance(model, ours.LLMPathBertModel) else {}
    )
    bert = getattr(transformers, _CLASSES[type(model).__name__])(config, **options).to(model.dtype)
    renamed = {bert_name(name): value for name, value in model.state_dict().items()}
    if "cls.predictions.decoder.bias" in renamed:  # BERT has this bias under two names
        renamed["cls.predictions.bias"] = renamed["cls.predictions.decoder.bias"]
    bert.load_state_dict(renamed)
    return bert.train(model.training)


def load_bert(
    source: str | Path, name: str, **changes: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A BERT of transformers, or one of ours, as our class `name`, with its tokenizer.

    Args:
        source: local folder (config.json, model.safetensors, and tokenizer.json or vocab.txt) or Hub id.
        name: one of our classes, such as `LLMPathBertForQuestionAnswering`; a head that the source lacks
            is new.
        changes: further arguments of our configuration.

    Raises:
        UserError: nothing there, weights that are missing, truncated or pickled, a model that is no BERT,
            or a tokenizer that is none or that of another model.
    """
    if Path(source).is_dir():
        check_model_folder(source)
    elif str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
        raise UserError(
            f"no model folder '{source}'; name a folder that save_pretrained wrote, or a model on the Hub"
        )
    try:
        config = AutoConfig.from_pretrained(source)
        if config.model_type not in ("bert", LLMPathBertConfig.model_type):
            raise UserError(
                f"{source} is of type '{config.model_type}', not 'bert' or '{LLMPathBertConfig.model_type}'"
            )
        if config.model_type == "bert":
            theirs = getattr(transformers, _CLASSES[name]).from_pretrained(source, use_safetensors=True)
            model = from_bert(theirs, **changes)
        else:
            model = getattr(ours, name).from_pretrained(source, use_safetensors=True, **changes)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"'{source}' cannot be loaded: {str(error).strip().splitlines()[0][:160]}") from None
    require_fitting(tokenizer, model.config, f"the model in {source}")
    return model, tokenizer
