"""Implements the layers of a Transformer: attention and feed-forward sublayers around a residual stream."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers_attention import MultiHeadAttention
from .ops_fused import relu_squared


class FeedForward(nn.Module):
    """Computes W_2 f(W_1 x + b_1) + b_2, the same at every position. Vaswani et al. 2017, equation 2.

    The gated form is W_2 (f(W_g x) ⊙ W_1 x). Shazeer 2020, equation 6.

    Args:
        config: has `hidden_size`, `intermediate_size`, and `hidden_act`.
        activation: f, in place of `config.hidden_act`.
        bias: whether the linear layers have biases.
        is_gated: whether the network has a gate W_g.
        dropout: the dropout on the inner activations.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        activation: str | None = None,
        bias: bool = True,
        is_gated: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        outer, inner, name = config.hidden_size, config.intermediate_size, activation or config.hidden_act
        self.up_proj = nn.Linear(outer, inner, bias=bias)
        self.gate_proj = nn.Linear(outer, inner, bias=bias) if is_gated else None
        self.down_proj = nn.Linear(inner, outer, bias=bias)
        # transformers also has a "relu2"; this one is faster, because its gradient is hand-written.
        self.activation = relu_squared if name == "relu2" else ACT2FN[name]
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Maps `(batch, length, hidden_size)` to the same shape."""
        inner = self.up_proj(hidden_states)  # (batch, length, intermediate_size)
        if self.gate_proj is None:
            inner = self.activation(inner)
        else:
            inner = self.activation(self.gate_proj(hidden_states)) * inner
        return self.down_proj(self.dropout(inner))  # (batch, length, hidden_size)


class Residual(nn.Module):
    """Adds the output of a sublayer f to the residual stream, with layer norm before f or after the sum.

        pre-norm:   x + dropout(f(norm(x)))        never rescales the stream, so deep models need no warm-up
        post-norm:  norm(x + dropout(f(x)))        Vaswani et al. 2017, section 3.1

    Xiong et al. 2020 compare the two.

    Args:
        config: has `hidden_size`, `layer_norm_eps`, `norm_first`, and `dropout`.
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.norm_first: bool = config.norm_first
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, stream: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Maps the stream `(batch, length, hidden_size)` to the same shape."""
        if self.norm_first:
            return stream + self.dropout(sublayer(self.norm(stream)))  # (batch, length, hidden_size)
        return self.norm(stream + self.dropout(sublayer(stream)))


class LLMPathTransformerEncoderLayer(GradientCheckpointingLayer):
    """Self-attention in both directions, then feed-forward."""

    def __init__(self, config: PreTrainedConfig, layer_idx: int):
        super().__init__()
        self.self_attn = MultiHeadAttention(config, layer_idx)
        self.self_attn_residual = Residual(config)
        self.mlp = FeedForward(config, dropout=config.dropout)
        self.mlp_residual = Residual(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,  # (batch, 1, length, length), or None
        rotation: tuple[Tensor, Tensor] | None = None,  # each (batch, 1, length, head_dim)
        **kwargs: Any,
    ) -> Tensor:
        """Maps hidden_states `(batch, length, hidden_size)` to the same shape."""
        hidden_states = self.self_attn_residual(
            hidden_states, lambda x: self.self_attn(x, attention_mask, rotation=rotation, **kwargs)[0]
        )
        return self.mlp_residual(hidden_states, self.mlp)


class LLMPathTransformerDecoderLayer(GradientCheckpointingLayer):
    """Causal self-attention, cross-attention to the encoder's output, then feed-forward."""

    def __init__(self, config: PreTrainedConfig, layer_idx: int):
        super().__init__()
        self.self_attn = MultiHeadAttention(config, layer_idx, is_causal=True)
        self.self_attn_residual = Residual(config)
        self.cross_attn = MultiHeadAttention(config, layer_idx)
        self.cross_attn_residual = Residual(config)
        self.mlp = FeedForward(config, dropout=config.dropout)
        self.mlp_residual = Residual(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,  # (batch, 1, length, keys), or None
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,  # (batch, 1, length, source_length), or None
        rotation: tuple[Tensor, Tensor] | None = None,  # each (batch, 1, length, head_dim)
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Maps hidden_states `(batch, length, hidden_size)` to the same shape.

        `encoder_hidden_states` are `(batch, source_length, hidden_size)`.
        """
        hidden_states = self.self_attn_residual(
            hidden_states,
            lambda x: self.self_attn(x, attention_mask, cache=cache, rotation=rotation, **kwargs)[0],
        )
        # The queries come from the target, and the keys and values from the source.
        hidden_states = self.cross_attn_residual(
            hidden_states,
            lambda x: self.cross_attn(
                x, encoder_attention_mask, encoder_hidden_states, cache=cache, **kwargs
            )[0],
        )
        return self.mlp_residual(hidden_states, self.mlp)
