"""Decodes with an `LLMPathGPT` one step at a time, using bare tensor operations.

A step of a small model takes about a millisecond, and most of that time is overhead: calling modules,
choosing an attention function, building masks, and copying every key and value to append one more. Here, a
single product computes queries, keys, and values; new keys and values are written into memory that is already
allocated; and plain operations replace the calls of modules. The logits equal the model's own.
`generation.stream` and `beam_search` use these steps for every model that they fit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.modeling_gpt import LLMPathGPTForCausalLM
from ..models.ops_fused import rotate

LEAST_ROOM = 64  # minimum number of tokens for which memory is added at once


@dataclass(frozen=True)
class _Layer:
    """The operations of one layer; `qkv` computes queries, keys, and values in one product."""

    attention_norm: Callable[[Tensor], Tensor]
    qkv: Callable[[Tensor], Tensor]
    qk_norm: Tensor | None
    o_proj: Callable[[Tensor], Tensor]
    mlp_norm: Callable[[Tensor], Tensor]
    up_proj: Callable[[Tensor], Tensor]
    gate_proj: Callable[[Tensor], Tensor] | None
    activation: Callable[[Tensor], Tensor]
    down_proj: Callable[[Tensor], Tensor]


class BareStepper:
    """A `generation.Stepper` for an `LLMPathGPTForCausalLM` with plain layers; the logits are the same.

    Args:
        model: the decoder, in evaluation mode; its weights are read once, when the stepper is made.
        input_ids: the prompt `(batch, length)`, padded on the left.
        attention_mask: `(batch, length)`, 0 for padding; all ones if None.
    """

    @staticmethod
    def fits(model: Any) -> bool:
        """Returns whether the model is such a decoder, without adapters, quantized layers, or hooks."""
        if type(model) is not LLMPathGPTForCausalLM or model.training:
            return False
        layers = [module for module in model.modules() if getattr(module, "weight", None) is not None]
        known = {nn.Linear, nn.Embedding, nn.LayerNorm}
        return all(
            type(layer) in known
            or type(layer).__module__.startswith(LLMPathGPTForCausalLM.__module__.rpartition(".")[0])
            for layer in layers
        ) and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())

    @torch.no_grad()
    def __init__(self, model: Any, input_ids: Tensor, attention_mask: Tensor | None = None):
        config, decoder = model.config, model.model
        self.model, self.prompt, self._unread = model, input_ids, input_ids
        self.mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim, self.eps = config.hidden_size // self.heads, config.layer_norm_eps
        self.layers = [self._read(layer) for layer in decoder.layers]
        self.norm, self.head = _norm(decoder.norm), _linear(model.lm_head)
        self.past, self.room = 0, input_ids.new_empty(0)
        is_padded = not bool(self.mask.all())
        self._seen = self.mask.bool() if is_padded else None  # (batch, length): keys that are not padding
        self._padding = (self.mask.shape[1] - self.mask.sum(1)) if is_padded else None  # (batch,)

    def _read(self, layer: Any) -> _Layer:
        attention, mlp = layer.attention, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        # ((heads + 2 * key_heads) * head_dim, hidden_size)
        weight = torch.cat([projection.weight for projection in projections])
        has_bias = projections[0].bias is not None
        # ((heads + 2 * key_heads) * head_dim,)
        bias = torch.cat([projection.bias for projection in projections]) if has_bias else None
        scales = None
        if attention.q_norm is not None:
            norms = [attention.q_norm.weight] * self.heads + [attention.k_norm.weight] * self.key_heads
            scales = torch.stack(norms)  # (heads + key_heads, head_dim)
        return _Layer(
            _norm(layer.attention_norm),
            lambda x: F.linear(x, weight, bias),
            scales,
            _linear(attention.o_proj),
            _norm(layer.mlp_norm),
            _linear(mlp.up_proj),
            None if mlp.gate_proj is None else _linear(mlp.gate_proj),
            mlp.activation,
            _linear(mlp.down_proj),
        )

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Computes the logits of the next token in 32 bits: `(batch, vocab_size)`."""
        batch, new = self._unread.shape
        self._make_room(batch, new)
        decoder, positions = self.model.model, self._positions(new)
        hidden = decoder.embed_tokens(self._unread)  # (batch, new, hidden_size)
        if decoder.embed_positions is not None:
            hidden = hidden + decoder.embed_positions(positions)
        rotation = None if decoder.rotary is None else decoder.rotary(positions, hidden.dtype)
        if rotation is not None:  # here, heads come after positions, unlike in the model
            rotation = rotation[0].transpose(1, 2), rotation[1].transpose(1, 2)  # (batch, new, 1, head_dim)
        mask = self._mask(new)
        # keys and values are views into `room`, each (batch, key_heads, room, head_dim)
        for layer, (keys, values) in zip(self.layers, self.room, strict=True):
            hidden = hidden + layer.o_proj(
                self._attend(layer, layer.attention_norm(hidden), keys, values, rotation, mask)
            )
            normed = layer.mlp_norm(hidden)
            up = layer.up_proj(normed)
            gate = layer.gate_proj
            hidden = hidden + layer.down_proj(
                layer.activation(up) if gate is None else layer.activation(gate(normed)) * up
            )
        self.past += new
        return self.head(self.norm(hidden[:, -1])).float()  # only the last position predicts a new token

    def _attend(
        self,
        layer: _Layer,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Computes the attention output for x `(batch, new, hidden_size)`, in the same shape.

        The new keys and values are written into `keys` and `values`, `(batch, key_heads, room, head_dim)`.
        """
        batch, new, size = x.shape
        end, both = self.past + new, self.heads + self.key_heads
        # (batch, new, heads + 2 * key_heads, head_dim): queries, then keys, then values
        projected = layer.qkv(x).view(batch, new, both + self.key_heads, self.head_dim)
        query_key = projected[:, :, :both]  # (batch, new, heads + key_heads, head_dim)
        if layer.qk_norm is not None:
            query_key = F.rms_norm(query_key, (self.head_dim,), None, self.eps) * layer.qk_norm
        if rotation is not None:
            query_key = rotate(query_key, *rotation)
        # (batch, new, key_heads, head_dim) -> (batch, key_heads, new, head_dim), for keys and values
        keys[:, :, self.past : end] = query_key[:, :, self.heads :].transpose(1, 2)
        values[:, :, self.past : end] = projected[:, :, both:].transpose(1, 2)
        query = query_key[:, :, : self.heads].transpose(1, 2)  # (batch, heads, new, head_dim)
        keys, values = keys[:, :, :end], values[:, :, :end]  # (batch, key_heads, past + new, head_dim)
        if new == 1:
            # The query heads that share keys stand in for several queries, so no key is copied per head.
            query = query.reshape(
                batch, self.key_heads, -1, self.head_dim
            )  # (batch, key_heads, group, head_dim)
            output = F.scaled_dot_product_attention(query, keys, values, mask)
            return output.reshape(batch, 1, size)  # (batch, 1, hidden_size)
        grouped = self.heads != self.key_heads
        output = F.scaled_dot_product_attention(
            query, keys, values, mask, is_causal=mask is None, enable_gqa=grouped
        )
        return output.transpose(1, 2).reshape(batch, new, size)  # (batch, new, hidden_size)

    def _positions(self, new: int) -> Tensor:
        """Returns the positions of the new tokens, not counting padding, `(batch or 1, new)`."""
        # (new,) -> (1, new)
        positions = torch.arange(self.past, self.past + new, device=self.prompt.device)[None]
        # (1, new) - (batch, 1) -> (batch, new); padding itself, which nothing reads, gets position 0
        return positions if self._padding is None else (positions - self._padding[:, None]).clamp(min=0)

    def _mask(self, new: int) -> Tensor | None:
        """Returns a boolean mask `(batch, 1, new, past + new)`, or None if no row has padding."""
        if self._seen is None:
            return None
        keys = self._seen[:, None, None, : self.past + new]  # (batch, 1, 1, past + new)
        if new == 1:
            return keys
        # (new, past + new): query i is token past + i, hence the shifted diagonal
        causal = torch.ones(new, self.past + new, dtype=torch.bool, device=keys.device).tril(self.past)
        # Let padding attend to itself, because a softmax over no key would be NaN.
        diagonal = torch.eye(new, dtype=torch.bool, device=keys.device)
        return keys & causal | F.pad(diagonal, (self.past, 0))  # (batch, 1, new, past + new)

    def _make_room(self, batch: int, new: int) -> None:
        """Allocates memory for the keys and values of all layers, and doubles it when it is too small.

        The shape of `room` is `(layers, 2, batch, key_heads, room, head_dim)`.
        """
        end = self.past + new
        if self.past and self.room.shape[4] >= end:
            return
        weight = self.model.lm_head.weight
        sizes = len(self.layers), 2, batch, self.key_heads, end + max(LEAST_ROOM, end), self.head_dim
        room = weight.new_empty(sizes)
        if self.past:
            room[..., : self.past, :] = self.room[..., : self.past, :]
        self.room = room

    def give(self, tokens: Tensor) -> None:
        """Appends one token to each text; `tokens` is `(batch,)`."""
        self._unread = tokens[:, None]  # (batch, 1)
        if self._seen is not None:
            # (batch, past + 1)
            self._seen = torch.cat([self._seen, self._seen.new_ones(len(tokens), 1)], dim=1)

    def repeat(self, times: int) -> None:
        """Turns every text into `times` copies that may differ from here on."""
        self.room = self.room.repeat_interleave(
            times, dim=2
        )  # (layers, 2, batch * times, key_heads, room, head_dim)
        self._unread = self._unread.repeat_interleave(times, dim=0)  # (batch * times, new)
        if self._seen is not None and self._padding is not None:
            self._seen = self._seen.repeat_interleave(times, dim=0)  # (batch * times, length)
            self._padding = self._padding.repeat_interleave(times)  # (batch * times,)

    def reorder(self, rows: Tensor) -> None:
        """Makes text i continue the former text `rows[i]`, which has the same prompt."""
        # The right side is indexed first, as a copy, so no row is overwritten before it is read.
        self.room[..., : self.past, :] = self.room[:, :, rows, :, : self.past]


def _linear(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    weight, bias = layer.weight, layer.bias
    return lambda x: F.linear(x, weight, bias)


def _norm(layer: Any) -> Callable[[Tensor], Tensor]:
    weight, shape = layer.weight, layer.weight.shape
    if isinstance(layer, nn.LayerNorm):
        bias, eps = layer.bias, layer.eps
        return lambda x: F.layer_norm(x, shape, weight, bias, eps)
    return lambda x: F.rms_norm(x, shape, weight, layer.eps)
