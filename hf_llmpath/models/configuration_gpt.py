"""Defines the configuration of the decoder-only Transformer."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict

from .configuration_common import (
    LLMPathConfig,
    require_activation,
    require_heads,
    require_positive,
    require_probability,
)

# The defaults of each layout.
_LAYOUTS: dict[str, dict[str, object]] = {
    "modern": {
        "position_embedding_type": "rotary",
        "normalization": "rms",
        "qk_norm": True,
        "hidden_act": "relu2",
        "bias": False,
        "zero_init_projections": True,
    },
    "gpt2": {
        "position_embedding_type": "learned",
        "normalization": "layer",
        "qk_norm": False,
        "hidden_act": "gelu_new",
        "bias": True,
        "zero_init_projections": False,
    },
}


@strict
class LLMPathGPTConfig(LLMPathConfig):
    """The configuration of `LLMPathGPTModel` and its heads.

    Args:
        layout (`str`, *optional*, defaults to `"modern"`): the defaults of the arguments marked (layout):
            `"modern"` (rotary positions, RMSNorm, QK-norm, ReLU², no biases, projections into the residual
            stream that start at zero) or `"gpt2"` (learned positions, layer norm, GELU, biases; Radford et
            al. 2019), which fits GPT-2's weights.
        vocab_size (`int`, *optional*, defaults to 256): number of tokens.
        hidden_size (`int`, *optional*, defaults to 128): width of the residual stream.
        num_hidden_layers (`int`, *optional*, defaults to 4): number of layers.
        num_attention_heads (`int`, *optional*, defaults to 4): number of heads in a layer, which divide
            `hidden_size` among themselves.
        num_key_value_heads (`int`, *optional*): number of heads of keys and values, each of which serves a
            group of query heads (Ainslie et al. 2023); `num_attention_heads` if not given.
        intermediate_size (`int`, *optional*): inner width of the feed-forward network; four times
            `hidden_size` if not given, or two thirds of that for `"swiglu"`, which has three matrices.
        max_position_embeddings (`int`, *optional*, defaults to 256): length of the longest sequence.
        position_embedding_type (`str`, *optional*): (layout) `"rotary"` or `"learned"`.
        rope_theta (`float`, *optional*, defaults to 10000): base of the rotary angles.
        normalization (`str`, *optional*): (layout) `"rms"` (Zhang & Sennrich 2019) or `"layer"`.
        qk_norm (`bool`, *optional*): (layout) RMSNorm on every query and key (Henry et al. 2020).
        hidden_act (`str`, *optional*): (layout) activation of the feed-forward network: `"swiglu"` (Shazeer
            2020), `"relu2"` (So et al. 2021), or any other name in transformers' `ACT2FN`.
        bias (`bool`, *optional*): (layout) whether linear layers have biases.
        zero_init_projections (`bool`, *optional*): (layout) whether the projections into the residual stream
            start at zero. Otherwise, the more layers the model has, the smaller they start (Radford et al.
            2019, section 2.3).
        dropout (`float`, *optional*, defaults to 0.0): dropout on the embeddings and on the output of each
            sublayer.
        attention_dropout (`float`, *optional*, defaults to 0.0): dropout on the attention weights.
        initializer_range (`float`, *optional*, defaults to 0.02): standard deviation of the initial weights.
        layer_norm_eps (`float`, *optional*, defaults to 1e-5): number added to the variance in a norm.
        tie_word_embeddings (`bool`, *optional*, defaults to `True`): whether the output layer shares the
            weights of the embeddings.
        use_cache (`bool`, *optional*, defaults to `True`): whether to keep keys and values while generating.
        pad_token_id, bos_token_id, eos_token_id (`int`, *optional*): special tokens.
    """

    model_type = "llmpath-gpt"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache"]
    attribute_map: ClassVar[dict[str, str]] = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
    }

    layout: Literal["modern", "gpt2"] = "modern"
    vocab_size: int = 256
    hidden_size: int = 128
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int | None = None
    intermediate_size: int | None = None
    max_position_embeddings: int = 256
    position_embedding_type: Literal["rotary", "learned"] | None = None
    rope_theta: float | int = 10_000.0
    normalization: Literal["rms", "layer"] | None = None
    qk_norm: bool | None = None
    hidden_act: str | None = None
    bias: bool | None = None
    zero_init_projections: bool | None = None
    dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    initializer_range: float | int = 0.02
    layer_norm_eps: float | int = 1e-5
    tie_word_embeddings: bool = True
    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs):
        for name, value in _LAYOUTS.get(self.layout, {}).items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.intermediate_size is None and self.hidden_act == "swiglu":
            # Two thirds of 4 * hidden_size: three matrices then have as many weights as two otherwise.
            self.intermediate_size = 8 * self.hidden_size // 3
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        require_positive(self, "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        require_positive(self, "num_key_value_heads", "intermediate_size", "max_position_embeddings")
        require_probability(self, "dropout", "attention_dropout")
        require_heads(self)
        heads, groups = self.num_attention_heads, self.num_key_value_heads or self.num_attention_heads
        if heads % groups:
            raise ValueError(
                f"num_attention_heads ({heads}) must be a multiple of num_key_value_heads ({groups})"
            )
        require_activation(self, "swiglu")
