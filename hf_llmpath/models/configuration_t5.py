"""Defines the configuration of the text-to-text Transformer."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict

from .configuration_common import LLMPathConfig, require_activation, require_positive, require_probability


@strict
class LLMPathT5Config(LLMPathConfig):
    """The configuration of `LLMPathT5Model` and its head.

    The defaults give the layout of T5 (Raffel et al. 2020).

    Args:
        vocab_size (`int`, *optional*, defaults to 256): number of tokens, the same for encoder and decoder.
        hidden_size (`int`, *optional*, defaults to 128): width of the residual stream.
        head_dim (`int`, *optional*): width of an attention head; `hidden_size / num_attention_heads` if
            not given.
        intermediate_size (`int`, *optional*): inner width of the feed-forward layers; 4 * `hidden_size`
            if not given.
        num_encoder_layers, num_decoder_layers (`int`, *optional*, defaults to 2 and 2): number of layers.
        num_attention_heads (`int`, *optional*, defaults to 4): number of heads in each attention module.
        relative_attention_num_buckets (`int`, *optional*, defaults to 32): number of biases per head that
            the distances between tokens share.
        relative_attention_max_distance (`int`, *optional*, defaults to 128): the distance from which on all
            distances have the same bias.
        hidden_act (`str`, *optional*, defaults to `"relu"`): activation of the feed-forward layers; any
            name in transformers' `ACT2FN`. T5 1.1 has `"gelu_new"`.
        is_gated (`bool`, *optional*, defaults to `False`): whether the feed-forward layers are gated
            (Shazeer 2020), as in T5 1.1.
        dropout (`float`, *optional*, defaults to 0.0): dropout on the embeddings, inside the feed-forward
            layers, on the output of each sublayer, and at the end of each stack.
        attention_dropout (`float`, *optional*): dropout on the attention weights; `dropout` if not given.
        layer_norm_eps (`float`, *optional*, defaults to 1e-6): number added to the mean square in RMSNorm.
        initializer_factor (`float`, *optional*, defaults to 1.0): factor of all initial weights.
        embedding_initializer_range (`float`, *optional*, defaults to 1.0): standard deviation of the
            initial embeddings. T5's embeddings are large, and its optimizer (Adafactor) takes steps in
            proportion to them. Adam's steps have the same size for all weights, so with Adam, small
            embeddings (0.1) learn sooner.
        tie_word_embeddings (`bool`, *optional*, defaults to `True`): whether the output layer shares the
            weights of the embeddings; in T5 1.1 it has its own.
        scale_decoder_outputs (`bool`, *optional*): whether the last states are divided by √`hidden_size`
            before the output layer; `tie_word_embeddings` if not given.
        use_cache (`bool`, *optional*, defaults to `True`): keep keys and values while generating.
        pad_token_id, eos_token_id, decoder_start_token_id (`int`, *optional*, defaults to 0, 1 and
            `pad_token_id`): special tokens.
    """

    model_type = "llmpath-t5"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache"]
    # generate() looks for the number of decoder layers under this name.
    attribute_map: ClassVar[dict[str, str]] = {"num_hidden_layers": "num_decoder_layers"}

    vocab_size: int = 256
    hidden_size: int = 128
    head_dim: int | None = None
    intermediate_size: int | None = None
    num_encoder_layers: int = 2
    num_decoder_layers: int = 2
    num_attention_heads: int = 4
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    hidden_act: str = "relu"
    is_gated: bool = False
    dropout: float | int = 0.0
    attention_dropout: float | int | None = None
    layer_norm_eps: float | int = 1e-6
    initializer_factor: float | int = 1.0
    embedding_initializer_range: float | int = 1.0
    is_encoder_decoder: bool = True
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool | None = None
    use_cache: bool = True
    pad_token_id: int = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 1
    decoder_start_token_id: int | None = None

    def __post_init__(self, **kwargs):
        if self.head_dim is None and self.num_attention_heads > 0:
            self.head_dim = max(self.hidden_size // self.num_attention_heads, 1)
        if self.attention_dropout is None:
            self.attention_dropout = self.dropout
        if self.scale_decoder_outputs is None:
            self.scale_decoder_outputs = self.tie_word_embeddings
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = self.pad_token_id
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        require_positive(self, "vocab_size", "hidden_size", "num_encoder_layers", "num_decoder_layers")
        require_positive(self, "num_attention_heads", "head_dim", "intermediate_size")
        require_probability(self, "dropout", "attention_dropout")
        buckets, distance = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if buckets < 4 or buckets % 2:
            raise ValueError(f"relative_attention_num_buckets ({buckets}) must be even and at least 4")
        if distance <= buckets // 2:
            raise ValueError(
                f"relative_attention_max_distance ({distance}) must be more than half of "
                f"relative_attention_num_buckets ({buckets}): that many hold a single distance each"
            )
        require_activation(self)
