"""Implements attention from scratch: scaled dot-product, additive, and the models' multi-head module.

`scaled_dot_product_attention` is the formula. It equals `F.scaled_dot_product_attention` in values and
gradients, and also returns the weights, which the pictures need. `MultiHeadAttention` calls it when
`config._attn_implementation` is `"eager"`. Otherwise it calls the function that transformers has registered
under that name (`"sdpa"`, flash attention, ...), which is faster and returns no weights. `eager_attention`
switches a model to the eager form for as long as its weights are needed.

Queries, keys, and values have separate projections (`q_proj`, `k_proj`, `v_proj`), followed by `o_proj`. A
joint projection would replace three matrix products by one of the same total size. Separate projections load
other libraries' weights by renaming alone, take adapters one by one, and need no special case for
cross-attention or grouped heads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .layers_norms import RMSNorm
from .ops_fused import needs_gradient, rotate

MASKED = float("-inf")  # the score of a key that a query may not look at
LONGEST_FORMULA = 512  # keys; with more, the memory of the weights outweighs the time saved


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    is_causal: bool = False,
    dropout: float = 0.0,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Computes softmax(Q Kᵀ / √d) V. Vaswani et al. 2017, equation 1.

    Args:
        query: `(batch, heads, queries, d)`.
        key, value: `(batch, key_value_heads, keys, d)` and `(..., d_v)`. `heads` is a multiple of
            `key_value_heads`, each of which serves a group of neighboring query heads (Ainslie et al. 2023).
        mask: broadcast to `(batch, heads, queries, keys)`. Either boolean, True where a query may look at a
            key, or numbers that are added to the scores: -inf to mask a key, or a relative position bias.
        is_causal: query i may look only at keys 0 to i.
        dropout: the fraction of the weights that are set to zero.
        scale: replaces 1 / √d.

    Returns:
        The output `(batch, heads, queries, d_v)`, and the weights `(batch, heads, queries, keys)` before
        dropout, which sum to 1 over the keys. A query that may look at no key gets zeros.
    """
    batch, heads, queries, d = query.shape
    key_value_heads, keys = key.shape[1:3]
    query = query * (d**-0.5 if scale is None else scale)  # scaled here: it has fewer numbers than the scores
    # (batch, key_value_heads, group, queries, d)
    grouped = query.reshape(batch, key_value_heads, heads // key_value_heads, queries, d)
    scores = grouped @ key.unsqueeze(2).transpose(-2, -1)  # (batch, key_value_heads, group, queries, keys)
    scores = scores.view(batch, heads, queries, keys)
    # Both kinds of mask are added before the softmax: exp(-inf) = 0 gives a hidden key the weight 0.
    if is_causal:
        scores = scores + _additive_mask(causal_mask(queries, keys, scores.device), scores.dtype)
    if mask is not None:
        scores = scores + (_additive_mask(mask, scores.dtype) if mask.dtype is torch.bool else mask)
    weights = _softmax(scores, is_masked=mask is not None)  # (batch, heads, queries, keys)
    kept = nn.functional.dropout(weights, dropout) if dropout else weights
    # Each group of query heads shares one head of values: (batch, key_value_heads, group, queries, d_v).
    output = kept.view(batch, key_value_heads, -1, queries, keys) @ value.unsqueeze(2)
    return output.view(batch, heads, queries, value.shape[-1]), weights


def _additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns 0 where the mask is True, else -inf; unlike filling, adding it costs no backward pass."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, MASKED)


def causal_mask(queries: int, keys: int, device: torch.device | str = "cpu") -> Tensor:
    """Returns a boolean mask `(queries, keys)`, True on and below the diagonal."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


def _softmax(scores: Tensor, is_masked: bool) -> Tensor:
    """Returns the softmax over the keys, with zeros instead of NaN if all scores of a query are -inf."""
    if not is_masked:
        return scores.softmax(-1)
    # Queries that may look at no key, such as padding: (batch, heads, queries, keys) -> (..., queries, 1).
    empty = (scores == MASKED).all(-1, keepdim=True)
    return scores.masked_fill(empty, 0.0).softmax(-1).masked_fill(empty, 0.0)


class AdditiveAttention(nn.Module):
    """Attention with score(q, k) = vᵀ tanh(W q + U k).

    Bahdanau, Cho & Bengio 2015, section 3.1 and appendix A.1.2.

    Args:
        query_size, key_size: the widths of queries and keys.
        hidden_size: the width of the layer that compares them.
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int):
        super().__init__()
        self.q_proj = nn.Linear(query_size, hidden_size)
        self.k_proj = nn.Linear(key_size, hidden_size, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor | None = None,
        mask: Tensor | None = None,
        projected_key: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compares every query with every key and mixes the values.

        Args:
            query: `(batch, queries, query_size)`.
            key: `(batch, keys, key_size)`.
            value: `(batch, keys, value_size)`; the keys if not given.
            mask: `(batch, keys)` or `(batch, queries, keys)`; 0 or False hides a key.
            projected_key: `k_proj(key)`, for a decoder that reads the same keys at every step.

        Returns:
            The context `(batch, queries, value_size)` and the weights `(batch, queries, keys)`.
        """
        projected = self.k_proj(key) if projected_key is None else projected_key  # (batch, keys, hidden)
        pairs = self.q_proj(query).unsqueeze(2) + projected.unsqueeze(1)  # (batch, queries, keys, hidden)
        scores = self.score(torch.tanh(pairs)).squeeze(-1)  # (batch, queries, keys)
        if mask is not None:
            mask = mask.bool() if mask.dim() == 3 else mask.bool().unsqueeze(1)  # (batch, 1, keys)
            scores = scores.masked_fill(~mask, MASKED)
        weights = _softmax(scores, is_masked=mask is not None)
        return weights @ (key if value is None else value), weights  # (batch, queries, value_size)


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Calls `scaled_dot_product_attention` with the signature of transformers' attention functions.

    `attention_mask` comes from `create_causal_mask` or `create_bidirectional_mask`, which choose its form to
    suit the attention implementation.
    """
    causal = module.is_causal if is_causal is None else is_causal
    # A given mask is already causal where it must be, and a single query may look at all keys so far.
    causal = bool(causal) and attention_mask is None and query.shape[2] > 1
    mask = attention_mask
    if position_bias is not None and mask is not None:
        is_boolean = mask.dtype is torch.bool
        # One tensor of numbers to add to the scores: (batch, heads, queries, keys).
        mask = position_bias.masked_fill(~mask, MASKED) if is_boolean else position_bias + mask
    elif position_bias is not None:
        mask = position_bias
    output, weights = scaled_dot_product_attention(query, key, value, mask, causal, dropout, scaling)
    return output.transpose(1, 2), weights  # (batch, queries, heads, head_dim)


class MultiHeadAttention(nn.Module):
    """Runs several attentions in parallel, each in its own subspace. Vaswani et al. 2017, section 3.2.2.

    head_i = attention(x W_i^Q, y W_i^K, y W_i^V),  output = [head_1 ... head_h] W^O,  with y = x in
    self-attention.

    Args:
        config: has `hidden_size` and `num_attention_heads`. It may also have `attention_dropout` (default 0),
            `num_key_value_heads` (default: as many as heads), `head_dim` (default: hidden_size / heads), and
            `qk_norm` (default False). The last is RMSNorm on every query and key, which keeps their products
            from growing without bound (Henry et al. 2020).
        layer_idx: the index of this layer's keys and values in a cache.
        is_causal: whether a position may look only at itself and earlier ones.
        bias: whether the projections have biases.
        scaling: the factor of the scores, in place of head_dim ** -0.5.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        layer_idx: int = 0,
        is_causal: bool = False,
        bias: bool = True,
        scaling: float | None = None,
    ):
        super().__init__()
        self.config, self.layer_idx, self.is_causal = config, layer_idx, is_causal
        heads = config.num_attention_heads
        key_value_heads = getattr(config, "num_key_value_heads", None) or heads
        self.head_dim: int = getattr(config, "head_dim", None) or config.hidden_size // heads
        self.num_key_value_groups = heads // key_value_heads
        self.scaling = self.head_dim**-0.5 if scaling is None else scaling
        self.attention_dropout = float(getattr(config, "attention_dropout", 0.0))
        is_normed = bool(getattr(config, "qk_norm", False))
        self.q_norm = RMSNorm(self.head_dim, eps=config.layer_norm_eps) if is_normed else None
        self.k_norm = RMSNorm(self.head_dim, eps=config.layer_norm_eps) if is_normed else None
        self.q_proj = nn.Linear(config.hidden_size, heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, key_value_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, key_value_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(heads * self.head_dim, config.hidden_size, bias=bias)

    def _heads(self, x: Tensor) -> Tensor:
        # (batch, length, heads * head_dim) -> (batch, heads, length, head_dim)
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    def _keys_and_values(
        self, source: Tensor, cache: Cache | None, is_cross: bool, rotation: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Returns the keys and values of the source, appended to those in the cache.

        Each is `(batch, key_value_heads, past + length, head_dim)`. Cross-attention projects the encoder's
        output once and reads its keys and values from the cache afterward.
        """
        is_updated = getattr(cache, "is_updated", {})
        if is_cross and is_updated.get(self.layer_idx):
            layer = cache.cross_attention_cache.layers[self.layer_idx]  # type: ignore[union-attr]
            return layer.keys, layer.values
        # Each (batch, key_value_heads, source_length, head_dim).
        key, value = self._heads(self.k_proj(source)), self._heads(self.v_proj(source))
        if self.k_norm is not None:
            key = self.k_norm(key)
        if rotation is not None:  # before the cache: a key is rotated by its own position, once
            key = rotate(key, *rotation)
        if cache is None:
            return key, value
        if isinstance(cache, EncoderDecoderCache):
            if is_cross:
                cache.is_updated[self.layer_idx] = True
            cache = cache.cross_attention_cache if is_cross else cache.self_attention_cache
        # The cache appends them and returns those of all steps, (batch, key_value_heads, past + length, ...).
        return cache.update(key, value, self.layer_idx)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        key_value_states: Tensor | None = None,
        cache: Cache | None = None,
        rotation: tuple[Tensor, Tensor] | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Lets every position of `hidden_states` look at the positions of the source.

        Args:
            hidden_states: `(batch, length, hidden_size)`, the source of the queries.
            attention_mask: the mask from `create_causal_mask` or `create_bidirectional_mask`.
            key_value_states: `(batch, source_length, hidden_size)`, the source of keys and values; the hidden
                states themselves if not given.
            cache: stores keys and values from call to call. An `EncoderDecoderCache` has one half for
                self-attention and one for cross-attention.
            rotation: the cosines and sines from `RotaryPositions`, for self-attention.
            kwargs: more arguments for the attention function, such as `position_bias`
                `(1 or batch, heads, length, keys)`.

        Returns:
            The output `(batch, length, hidden_size)`, and the weights `(batch, heads, length, keys)` if the
            attention is eager, else None.
        """
        is_cross = key_value_states is not None
        hidden_states = _rounded_once(hidden_states)
        query = self._heads(self.q_proj(hidden_states))  # (batch, heads, length, head_dim)
        if self.q_norm is not None:
            query = self.q_norm(query)
        if rotation is not None:
            query = rotate(query, *rotation)
        key, value = self._keys_and_values(
            key_value_states if key_value_states is not None else hidden_states, cache, is_cross, rotation
        )
        # eager_attention_forward is the fallback for "eager", which transformers does not register.
        implementation = self.config._attn_implementation or "eager"
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        if implementation == "sdpa" and _formula_is_faster(query, key):
            attend = eager_attention_forward
        output, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        # (batch, length, heads, head_dim) -> (batch, length, heads * head_dim)
        output = self.o_proj(output.reshape(*hidden_states.shape[:2], -1))
        return output, weights if implementation == "eager" else None


def _rounded_once(x: Tensor) -> Tensor:
    """Casts the shared input of several projections to autocast's dtype, once instead of once for each."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _formula_is_faster(query: Tensor, key: Tensor) -> bool:
    """Returns whether to use the formula in place of torch's kernel: when training in 16 bits on a CPU.

    There, for up to `LONGEST_FORMULA` keys, the kernel takes 1.5 to 5.9 times as long as the matrix products
    themselves.
    """
    is_16_bits = query.dtype is torch.bfloat16 and query.device.type == "cpu"
    return is_16_bits and needs_gradient(query, key) and key.shape[2] <= LONGEST_FORMULA


@contextmanager
def eager_attention(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Makes the model compute its attention eagerly, so that `output_attentions=True` returns weights.

    with eager_attention(model):
        attentions = model(**inputs, output_attentions=True).attentions
    """
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield model
    finally:
        model.set_attn_implementation(before)
