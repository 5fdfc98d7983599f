"""Defines the configuration of the encoder-decoder Transformer."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict

from .configuration_common import LLMPathConfig, require_heads, require_positive, require_probability


@strict
class LLMPathTransformerConfig(LLMPathConfig):
    """The configuration of `LLMPathTransformerModel` and its heads.

    Args:
        vocab_size (`int`, *optional*, defaults to 256): number of tokens, the same for encoder and decoder.
        hidden_size (`int`, *optional*, defaults to 128): width of the residual stream.
        num_encoder_layers, num_decoder_layers (`int`, *optional*, defaults to 2 and 2): number of layers;
            a classifier has no decoder.
        num_attention_heads (`int`, *optional*, defaults to 4): number of heads in each attention module.
        intermediate_size (`int`, *optional*): inner width of the feed-forward layers; 4 * `hidden_size`
            if not given.
        hidden_act (`str`, *optional*, defaults to `"relu"`): activation of the feed-forward layers: `"relu"`,
            `"gelu"`, or `"silu"`.
        position_embedding_type (`str`, *optional*, defaults to `"sinusoidal"`): `"sinusoidal"`,
            `"learned"`, or `"rotary"`.
        rope_theta (`float`, *optional*, defaults to 10000.0): base of the rotary angles.
        max_position_embeddings (`int`, *optional*, defaults to 512): length of the longest sequence: a hard
            limit for learned positions; otherwise, the length that the model is meant for.
        norm_first (`bool`, *optional*, defaults to `True`): whether layer norm comes before each sublayer
            (pre-norm) or after it (post-norm).
        dropout, attention_dropout (`float`, *optional*, defaults to 0.0): `dropout` applies to the
            embeddings, inside the feed-forward layers, and to the output of each sublayer;
            `attention_dropout` applies to the attention weights.
        layer_norm_eps (`float`, *optional*, defaults to 1e-5): number added to the variance in a layer norm.
        tie_word_embeddings (`bool`, *optional*, defaults to `True`): whether encoder, decoder, and output
            layer share one embedding matrix.
        classifier_dropout (`float`, *optional*): dropout before the classification head; `dropout` if not
            given.
        pad_token_id, bos_token_id, eos_token_id, decoder_start_token_id (`int`, *optional*, defaults to 0, 1,
            2 and 1): special tokens.
    """

    model_type = "llmpath-transformer"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache"]
    # generate() looks for the number of decoder layers under this name.
    attribute_map: ClassVar[dict[str, str]] = {"num_hidden_layers": "num_decoder_layers"}

    vocab_size: int = 256
    hidden_size: int = 128
    num_encoder_layers: int = 2
    num_decoder_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int | None = None
    hidden_act: Literal["relu", "gelu", "silu"] = "relu"
    position_embedding_type: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    rope_theta: float | int = 10_000.0
    max_position_embeddings: int = 512
    norm_first: bool = True
    dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    classifier_dropout: float | int | None = None
    layer_norm_eps: float = 1e-5
    is_encoder_decoder: bool = True
    tie_word_embeddings: bool = True
    use_cache: bool = True
    pad_token_id: int = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int = 1

    def validate_architecture(self):
        require_positive(self, "vocab_size", "hidden_size", "num_encoder_layers", "num_attention_heads")
        require_positive(self, "intermediate_size", "max_position_embeddings")
        require_probability(self, "dropout", "attention_dropout")
        if self.classifier_dropout is not None:
            require_probability(self, "classifier_dropout")
        if self.num_decoder_layers < 0:
            raise ValueError(f"num_decoder_layers ({self.num_decoder_layers}) must be at least 0")
        require_heads(self)
        if self.position_embedding_type == "sinusoidal" and self.hidden_size % 2:
            raise ValueError(f"sinusoidal positions need an even hidden_size; this is {self.hidden_size}")
