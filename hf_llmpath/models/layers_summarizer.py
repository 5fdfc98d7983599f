"""The two parts of the summarizer: a layer that reads from both ends, and the look back at what was read."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers_attention import AdditiveAttention, scaled_dot_product_attention
from .layers_recurrence import GATES, RecurrentLayer, over_time


class BidirectionalLayer(GradientCheckpointingLayer):
    """Two recurrent layers that read a sequence from either end (Schuster & Paliwal 1997).

    They never meet, so they are one recurrence of twice the width whose matrix has two blocks: half as
    many steps to walk.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int):
        super().__init__()
        self.forwards = RecurrentLayer(cell, input_size, hidden_size // 2)
        self.backwards = RecurrentLayer(cell, input_size, hidden_size // 2)

    def forward(self, hidden_states: Tensor, reverse: Tensor | None) -> Tensor:
        """
        Args:
            hidden_states: `(batch, length, input_size)`, padding on the right only.
            reverse: `(batch, length)`, the places of each row's tokens in reverse order, padding where it
                was; None: no row has padding.

        Returns:
            `(batch, length, hidden_size)`.
        """
        inputs = (hidden_states, _reversed(hidden_states, reverse))
        if torch.compiler.is_compiling():
            forwards, backwards = (
                layer(x)[0] for layer, x in zip((self.forwards, self.backwards), inputs, strict=True)
            )
        else:
            forwards, backwards = self._side_by_side(inputs).chunk(2, dim=-1)
        return torch.cat([forwards, _reversed(backwards, reverse)], dim=-1)

    def _side_by_side(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """The states of both directions `(batch, length, hidden_size)`, each in the order in which it reads."""
        layers = (self.forwards, self.backwards)
        cell, half, gates = layers[0].cell, layers[0].hidden_size, GATES[layers[0].cell]
        with torch.autocast(inputs[0].device.type, enabled=False):
            dtype = layers[0].weight_hh.dtype
            both = (
                torch.cat(inputs, dim=-1).to(dtype).transpose(0, 1).contiguous()
            )  # (length, batch, 2 * input_size)
            weights = (
                _blocks(getattr(layers[0], name), getattr(layers[1], name), gates)
                for name in ("weight_ih", "weight_hh")
            )
            biases = (
                torch.cat([getattr(layer, name).view(gates, half) for layer in layers], dim=1).flatten()
                for name in ("bias_ih", "bias_hh")
            )
            (weight_ih, weight_hh), (bias_ih, bias_hh) = weights, biases
            start = tuple(
                torch.cat([part, part], dim=-1) for part in layers[0].initial_state(both.shape[1], both)
            )
            states, _ = over_time(cell, both, weight_ih, bias_ih, weight_hh, bias_hh, start)
        return states.transpose(0, 1)


def _blocks(first: Tensor, second: Tensor, gates: int) -> Tensor:
    """Two matrices `(gates * half, width)` as the blocks of one, `(gates * 2 * half, 2 * width)`, gate by
    gate.
    """
    first, second = (weight.view(gates, -1, weight.shape[-1]) for weight in (first, second))
    zeros = torch.zeros_like(first)
    upper, lower = torch.cat([first, zeros], dim=-1), torch.cat([zeros, second], dim=-1)
    return torch.cat([upper, lower], dim=1).flatten(0, 1)


def _reversed(rows: Tensor, places: Tensor | None) -> Tensor:
    return rows.flip(1) if places is None else taken(rows, places)


def taken(rows: Tensor, places: Tensor) -> Tensor:
    """`rows[b, places[b, t]]`: (batch, length, width) by (batch, places)."""
    return rows.gather(1, places.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))


class LookBack(nn.Module):
    """The decoder's look at the source: its states are the queries, those of the encoder give keys and
    values.
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        hidden = config.hidden_size
        self.additive = AdditiveAttention(hidden, hidden, hidden) if config.attention == "additive" else None
        if self.additive is None:
            self.q_proj = nn.Linear(hidden, hidden, bias=False)
            self.k_proj = nn.Linear(hidden, hidden, bias=False)
            self.v_proj = nn.Linear(hidden, hidden)

    def keys_and_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, source, hidden)` -> two `(batch, 1, source, hidden)`: there is one head."""
        if self.additive is not None:
            return self.additive.k_proj(source).unsqueeze(1), source.unsqueeze(1)
        return self.k_proj(source).unsqueeze(1), self.v_proj(source).unsqueeze(1)

    def forward(
        self, states: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            states: `(batch, target, hidden)`.
            keys, values: `(batch, 1, source, hidden)`.
            mask: `(batch, source)`, 0 where nothing may be looked at.

        Returns:
            the context `(batch, target, hidden)` and the weights `(batch, 1, target, source)`.
        """
        if self.additive is not None:
            source = values.squeeze(1)
            context, weights = self.additive(states, source, source, mask, projected_key=keys.squeeze(1))
            return context, weights.unsqueeze(1)
        allowed = mask[:, None, None].bool() if mask is not None else None
        context, weights = scaled_dot_product_attention(
            self.q_proj(states).unsqueeze(1), keys, values, allowed
        )
        return context.squeeze(1), weights
