"""The layers of a Transformer: a residual stream that attention and feed-forward sublayers read from and
add to.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers_attention import MultiHeadAttention


class FeedForward(nn.Module):
    """W_2 f(W_1 x + b_1) + b_2, the same at every position. Vaswani et al. 2017, equation 2.

    Args:
        config: has `hidden_size`, `intermediate_size`, `hidden_act` and `dropout`.
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`(batch, length, hidden)` -> the same."""
        return self.down_proj(self.dropout(self.activation(self.up_proj(hidden_states))))


class Residual(nn.Module):
    """What a sublayer f adds to the residual stream, with layer norm before it or after it:

        pre-norm:   x + dropout(f(norm(x)))        the stream itself is never rescaled: deep models train without warm-up
        post-norm:  norm(x + dropout(f(x)))        as in Vaswani et al. 2017, section 3.1

    Xiong et al. 2020 compare the two.

    Args:
        config: has `hidden_size`, `layer_norm_eps`, `norm_first` and `dropout`.
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.norm_first: bool = config.norm_first
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, stream: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """stream `(batch, length, hidden)`; the same shape comes back."""
        if self.norm_first:
            return stream + self.dropout(sublayer(self.norm(stream)))
        return self.norm(stream + self.dropout(sublayer(stream)))


class LLMPathTransformerEncoderLayer(GradientCheckpointingLayer):
    """Self-attention in both directions, then feed-forward."""

    def __init__(self, config: PreTrainedConfig, layer_idx: int):
        super().__init__()
        self.self_attn = MultiHeadAttention(config, layer_idx)
        self.self_attn_residual = Residual(config)
        self.mlp = FeedForward(config)
        self.mlp_residual = Residual(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        rotation: tuple[Tensor, Tensor] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """`(batch, length, hidden)` -> the same."""
        hidden_states = self.self_attn_residual(
            hidden_states, lambda x: self.self_attn(x, attention_mask, rotation=rotation, **kwargs)[0]
        )
        return self.mlp_residual(hidden_states, self.mlp)


class LLMPathTransformerDecoderLayer(GradientCheckpointingLayer):
    """Causal self-attention, attention to what the encoder made of the source, then feed-forward."""

    def __init__(self, config: PreTrainedConfig, layer_idx: int):
        super().__init__()
        self.self_attn = MultiHeadAttention(config, layer_idx, is_causal=True)
        self.self_attn_residual = Residual(config)
        self.cross_attn = MultiHeadAttention(config, layer_idx)
        self.cross_attn_residual = Residual(config)
        self.mlp = FeedForward(config)
        self.mlp_residual = Residual(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        rotation: tuple[Tensor, Tensor] | None = None,
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states `(batch, length, hidden)`, encoder_hidden_states `(batch, source_length, hidden)`."""
        hidden_states = self.self_attn_residual(
            hidden_states,
            lambda x: self.self_attn(x, attention_mask, cache=cache, rotation=rotation, **kwargs)[0],
        )
        hidden_states = self.cross_attn_residual(
            hidden_states,
            lambda x: self.cross_attn(
                x, encoder_attention_mask, encoder_hidden_states, cache=cache, **kwargs
            )[0],
        )
        return self.mlp_residual(hidden_states, self.mlp)
