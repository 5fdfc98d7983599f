"""The layers of T5: RMSNorm before each sublayer, no biases, and scores that distances add to and nothing
scales.
"""

from typing import Any

from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_t5 import LLMPathT5Config
from .layers_attention import MultiHeadAttention
from .layers_norms import RMSNorm


class LLMPathT5FeedForward(nn.Module):
    """W_2 f(W_1 x), or gated W_2 (f(W_g x) ⊙ W_1 x), Shazeer 2020, equation 6."""

    def __init__(self, config: LLMPathT5Config):
        super().__init__()
        outer, inner = config.hidden_size, config.intermediate_size or 0
        self.up_proj = nn.Linear(outer, inner, bias=False)
        self.gate_proj = nn.Linear(outer, inner, bias=False) if config.is_gated else None
        self.down_proj = nn.Linear(inner, outer, bias=False)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`(batch, length, hidden_size)` -> the same."""
        up = self.up_proj(hidden_states)
        inner = (
            self.activation(up)
            if self.gate_proj is None
            else self.activation(self.gate_proj(hidden_states)) * up
        )
        return self.down_proj(self.dropout(inner))


def _attention(config: LLMPathT5Config, layer_idx: int, is_causal: bool = False) -> MultiHeadAttention:
    attention = MultiHeadAttention(config, layer_idx, is_causal, bias=False, scaling=1.0)
    # Weights are initialized leaf by leaf, so the leaf must know that its products are not scaled later.
    attention.q_proj._asks = True  # type: ignore[assignment]
    return attention


class LLMPathT5EncoderLayer(GradientCheckpointingLayer):
    """Self-attention in both directions, then feed-forward; each reads a normed stream and adds to it."""

    def __init__(self, config: LLMPathT5Config, layer_idx: int):
        super().__init__()
        self.self_attn_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = _attention(config, layer_idx)
        self.mlp_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = LLMPathT5FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None, position_bias: Tensor, **kwargs: Any
    ) -> Tensor:
        """hidden_states `(batch, length, hidden_size)`, position_bias `(1, heads, length, length)`."""
        read, _ = self.self_attn(
            self.self_attn_norm(hidden_states), attention_mask, position_bias=position_bias, **kwargs
        )
        hidden_states = hidden_states + self.dropout(read)
        return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))


class LLMPathT5DecoderLayer(GradientCheckpointingLayer):
    """Causal self-attention, attention to what the encoder made of the source (without a bias), then
    feed-forward.
    """

    def __init__(self, config: LLMPathT5Config, layer_idx: int):
        super().__init__()
        self.self_attn_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = _attention(config, layer_idx, is_causal=True)
        self.cross_attn_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_attn = _attention(config, layer_idx)
        self.mlp_norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = LLMPathT5FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        position_bias: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states `(batch, length, hidden_size)`, position_bias `(1, heads, length, keys)`,
        encoder_hidden_states `(batch, source_length, hidden_size)`."""
        read, _ = self.self_attn(
            self.self_attn_norm(hidden_states),
            attention_mask,
            cache=cache,
            position_bias=position_bias,
            **kwargs,
        )
        hidden_states = hidden_states + self.dropout(read)
        read, _ = self.cross_attn(
            self.cross_attn_norm(hidden_states),
            encoder_attention_mask,
            encoder_hidden_states,
            cache=cache,
            **kwargs,
        )
        hidden_states = hidden_states + self.dropout(read)
        return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))
