"""Defines the configuration of the bidirectional encoder."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict

from .configuration_common import (
    LLMPathConfig,
    require_activation,
    require_heads,
    require_positive,
    require_probability,
)


@strict
class LLMPathBertConfig(LLMPathConfig):
    """The configuration of `LLMPathBertModel` and its heads.

    The defaults give the layout of BERT (Devlin et al. 2018).

    Args:
        vocab_size (`int`, *optional*, defaults to 2000): number of tokens.
        hidden_size (`int`, *optional*, defaults to 128): width of the embeddings and of every layer.
        num_hidden_layers (`int`, *optional*, defaults to 2): number of layers.
        num_attention_heads (`int`, *optional*, defaults to 4): number of heads in a layer, which divide
            `hidden_size` among themselves.
        intermediate_size (`int`, *optional*): inner width of the feed-forward network; four times
            `hidden_size` if not given.
        hidden_act (`str`, *optional*, defaults to `"gelu"`): activation of the feed-forward network and of
            the masked language modeling head; any name in transformers' `ACT2FN`.
        position_embedding_type (`str`, *optional*, defaults to `"learned"`): `"learned"` adds a learned
            vector per position, as in BERT. `"rotary"` rotates queries and keys by their position (Su et al.
            2021), which learns faster from little text.
        rope_theta (`float`, *optional*, defaults to 10000): base of the rotary angles.
        norm_position (`str`, *optional*, defaults to `"post"`): `"post"` applies layer norm after each
            residual sum, as in BERT, and `"pre"` before each sublayer (Xiong et al. 2020).
        max_position_embeddings (`int`, *optional*, defaults to 128): length of the longest sequence.
        type_vocab_size (`int`, *optional*, defaults to 2): kinds of segments (`token_type_ids`); 0 for none.
        dropout (`float`, *optional*, defaults to 0.1): dropout on the embeddings and on the output of each
            sublayer.
        attention_dropout (`float`, *optional*, defaults to 0.1): dropout on the attention weights.
        classifier_pooling (`str`, *optional*, defaults to `"cls"`): how a sequence becomes one vector:
            `"cls"` applies a dense layer and tanh to its first state, as in BERT; `"mean"` takes the mean of
            its states, which needs no weights.
        classifier_dropout (`float`, *optional*): dropout before a classifier; `dropout` if not given.
        sparse_prediction (`bool`, *optional*, defaults to `True`): whether training computes only the logits
            of the masked tokens, since the loss needs no others.
        initializer_range (`float`, *optional*, defaults to 0.02): standard deviation of the initial weights.
        layer_norm_eps (`float`, *optional*, defaults to 1e-12): number added to the variance in a layer norm.
        tie_word_embeddings (`bool`, *optional*, defaults to `True`): whether the output layer shares the
            weights of the embeddings.
        pad_token_id, mask_token_id (`int`, *optional*): special tokens.
    """

    model_type = "llmpath-bert"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }

    vocab_size: int = 2000
    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int | None = None
    hidden_act: str = "gelu"
    position_embedding_type: Literal["learned", "rotary"] = "learned"
    rope_theta: float | int = 10_000.0
    norm_position: Literal["post", "pre"] = "post"
    max_position_embeddings: int = 128
    type_vocab_size: int = 2
    dropout: float | int = 0.1
    attention_dropout: float | int = 0.1
    classifier_pooling: Literal["cls", "mean"] = "cls"
    classifier_dropout: float | int | None = None
    sparse_prediction: bool = True
    initializer_range: float | int = 0.02
    layer_norm_eps: float | int = 1e-12
    tie_word_embeddings: bool = True
    pad_token_id: int | None = None
    mask_token_id: int | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.classifier_dropout is None:  # only now, since the call above may set `dropout` by its alias
            self.classifier_dropout = self.dropout

    def validate_architecture(self):
        require_positive(self, "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        require_positive(self, "intermediate_size", "max_position_embeddings")
        require_probability(self, "dropout", "attention_dropout", "classifier_dropout")
        if self.type_vocab_size < 0:
            raise ValueError(f"type_vocab_size ({self.type_vocab_size}) must be at least 0")
        require_heads(self)
        require_activation(self)
