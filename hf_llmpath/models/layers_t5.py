"""Implements T5's layers: RMSNorm before each sublayer, no biases, unscaled scores plus a position bias."""

from typing import Any

from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_t5 import LLMPathT5Config
from .layers_attention import MultiHeadAttention
from .layers_norms import RMSNorm
from .layers_transformer import FeedForward


def _attention(config: LLMPathT5Config, layer_idx: int, is_causal: bool = False) -> MultiHeadAttention:
    attention = MultiHeadAttention(config, layer_idx, is_causal, bias=False, scaling=1.0)
    # Weights are initialized leaf by leaf, so a mark must tell the leaf whose scores are not scaled later.
    attention.q_proj._is_query = True  # type: ignore[assignment]
    return attention


def _feed_forward(config: LLMPathT5Config) -> FeedForward:
    return FeedForward(config, bias=False, is_gated=config.is_gated, dropout=config.dropout)


class LLMPathT5EncoderLayer(GradientCheckpointingLayer):
    """Self-attention in both directions, then feed-forward; each reads the normed stream and adds to it."""

    def __init__(self, config: LLMPathT5Config, layer_idx: int):
        super().__init__()
        self.self_attn_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = _attention(config, layer_idx)
        self.mlp_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = _feed_forward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None, position_bias: Tensor, **kwargs: Any
    ) -> Tensor:
        """Maps hidden_states `(batch, length, hidden_size)` to the same shape.

        `position_bias` is `(1, heads, length, length)`.
        """
        attended, _ = self.self_attn(
            self.self_attn_norm(hidden_states), attention_mask, position_bias=position_bias, **kwargs
        )
        hidden_states = hidden_states + self.dropout(attended)  # (batch, length, hidden_size)
        return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))


class LLMPathT5DecoderLayer(GradientCheckpointingLayer):
    """Causal self-attention, cross-attention to the encoder's output (without a bias), then feed-forward."""

    def __init__(self, config: LLMPathT5Config, layer_idx: int):
        super().__init__()
        self.self_attn_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = _attention(config, layer_idx, is_causal=True)
        self.cross_attn_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_attn = _attention(config, layer_idx)
        self.mlp_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = _feed_forward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,  # (batch, 1, length, keys), or None
        position_bias: Tensor,  # (1, heads, length, keys)
        encoder_hidden_states: Tensor,  # (batch, source_length, hidden_size)
        encoder_attention_mask: Tensor | None = None,  # (batch, 1, length, source_length), or None
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Maps hidden_states `(batch, length, hidden_size)` to the same shape.

        `position_bias` is `(1, heads, length, keys)`, `encoder_hidden_states` `(batch, source_length,
        hidden_size)`.
        """
        attended, _ = self.self_attn(
            self.self_attn_norm(hidden_states),
            attention_mask,
            cache=cache,
            position_bias=position_bias,
            **kwargs,
        )
        hidden_states = hidden_states + self.dropout(attended)
        # Distances between positions in two different texts are meaningless, so cross-attention has no bias.
        attended, _ = self.cross_attn(
            self.cross_attn_norm(hidden_states),
            encoder_attention_mask,
            encoder_hidden_states,
            cache=cache,
            **kwargs,
        )
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))
