"""Implements the summarizer's layers: a bidirectional recurrent layer, and attention to the source."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers_attention import AdditiveAttention, scaled_dot_product_attention
from .layers_recurrence import GATES, RecurrentLayer, run_recurrence


class BidirectionalLayer(GradientCheckpointingLayer):
    """Two recurrent layers that read a sequence from opposite ends (Schuster & Paliwal 1997).

    The two layers do not depend on each other. They run as one recurrence of twice the width, whose weight
    matrix has two blocks per gate, which halves the number of steps.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int):
        super().__init__()
        self.forwards = RecurrentLayer(cell, input_size, hidden_size // 2)
        self.backwards = RecurrentLayer(cell, input_size, hidden_size // 2)

    def forward(self, hidden_states: Tensor, reverse: Tensor | None) -> Tensor:
        """Returns the states of both directions, `(batch, length, hidden_size)`.

        Args:
            hidden_states: `(batch, length, input_size)`, with padding on the right only.
            reverse: `(batch, length)`, the indices that reverse the tokens of each row and leave its padding
                in place; None if no row has padding.
        """
        inputs = (hidden_states, _reversed(hidden_states, reverse))
        if torch.compiler.is_compiling():
            forwards, backwards = (
                layer(x)[0] for layer, x in zip((self.forwards, self.backwards), inputs, strict=True)
            )
        else:
            forwards, backwards = self._both_at_once(inputs).chunk(2, dim=-1)
        return torch.cat([forwards, _reversed(backwards, reverse)], dim=-1)  # (batch, length, hidden_size)

    def _both_at_once(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Returns both directions' states `(batch, length, hidden_size)`, each in its own reading order."""
        one, other = self.forwards, self.backwards
        gates = GATES[one.cell]
        # The hand-written passes work in place, so all tensors must have one dtype.
        with torch.autocast(inputs[0].device.type, enabled=False):
            both = torch.cat(inputs, dim=-1).to(one.weight_hh.dtype)  # (batch, length, 2 * input_size)
            both = both.transpose(0, 1).contiguous()  # (length, batch, 2 * input_size)
            start = one.initial_state(both.shape[1], both)  # each (batch, hidden_size / 2)
            states, _ = run_recurrence(
                one.cell,
                both,
                _blocks(one.weight_ih, other.weight_ih, gates),
                _interleaved(one.bias_ih, other.bias_ih, gates),
                _blocks(one.weight_hh, other.weight_hh, gates),
                _interleaved(one.bias_hh, other.bias_hh, gates),
                tuple(torch.cat([zeros, zeros], dim=-1) for zeros in start),  # (batch, hidden_size)
            )
        return states.transpose(0, 1)  # (batch, length, hidden_size)


def _blocks(first: Tensor, second: Tensor, gates: int) -> Tensor:
    """Returns two matrices `(gates * half, width)` as diagonal blocks, one pair of blocks per gate.

    The result is `(gates * 2 * half, 2 * width)`.
    """
    # (gates * half, width) -> (gates, half, width)
    first, second = (weight.view(gates, -1, weight.shape[-1]) for weight in (first, second))
    zeros = torch.zeros_like(first)  # (gates, half, width)
    # Each (gates, half, 2 * width).
    upper, lower = torch.cat([first, zeros], dim=-1), torch.cat([zeros, second], dim=-1)
    # (gates, 2 * half, 2 * width) -> (gates * 2 * half, 2 * width)
    return torch.cat([upper, lower], dim=1).flatten(0, 1)


def _interleaved(first: Tensor, second: Tensor, gates: int) -> Tensor:
    """Returns two biases `(gates * half,)` as one `(gates * 2 * half,)`, interleaved gate by gate."""
    # twice (gates, half) -> (gates, 2 * half) -> (gates * 2 * half,)
    return torch.cat([first.view(gates, -1), second.view(gates, -1)], dim=1).flatten()


def _reversed(rows: Tensor, indices: Tensor | None) -> Tensor:
    return rows.flip(1) if indices is None else gather_rows(rows, indices)


def gather_rows(rows: Tensor, indices: Tensor) -> Tensor:
    """Returns `rows[b, indices[b, t]]` for rows `(batch, length, width)` and indices `(batch, n)`."""
    # indices (batch, n) -> (batch, n, 1) -> (batch, n, width), the shape of the result
    return rows.gather(1, indices.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))


class SourceAttention(nn.Module):
    """The attention of the decoder's states (queries) to the encoder's states (keys and values)."""

    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        hidden = config.hidden_size
        self.additive = AdditiveAttention(hidden, hidden, hidden) if config.attention == "additive" else None
        if self.additive is None:
            self.q_proj = nn.Linear(hidden, hidden, bias=False)
            self.k_proj = nn.Linear(hidden, hidden, bias=False)
            self.v_proj = nn.Linear(hidden, hidden)

    def keys_and_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Maps `(batch, source, hidden)` to keys and values `(batch, 1, source, hidden)` of a single head."""
        if self.additive is not None:
            return self.additive.k_proj(source).unsqueeze(1), source.unsqueeze(1)
        return self.k_proj(source).unsqueeze(1), self.v_proj(source).unsqueeze(1)

    def forward(
        self, states: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Lets the decoder's states look at the source.

        Args:
            states: `(batch, target, hidden)`.
            keys, values: `(batch, 1, source, hidden)`.
            mask: `(batch, source)`, 0 for padding.

        Returns:
            The context `(batch, target, hidden)` and the weights `(batch, 1, target, source)`.
        """
        if self.additive is not None:
            source = values.squeeze(1)  # (batch, source, hidden)
            context, weights = self.additive(states, source, source, mask, projected_key=keys.squeeze(1))
            return context, weights.unsqueeze(1)
        allowed = mask[:, None, None].bool() if mask is not None else None  # (batch, 1, 1, source)
        query = self.q_proj(states).unsqueeze(1)  # (batch, 1, target, hidden)
        context, weights = scaled_dot_product_attention(query, keys, values, allowed)
        return context.squeeze(1), weights  # (batch, 1, target, hidden) -> (batch, target, hidden)
