"""Implements recurrent layers from scratch: the plain RNN, the LSTM, the GRU, and a cache for their state.

`rnn_step`, `lstm_step`, and `gru_step` are the formulas, one time step each. `RecurrentLayer` runs them over
a sequence. It goes step by step if there is a mask, if the gates are to be returned, or if the sequence is a
single token. Otherwise it runs the same formulas with a hand-written backward pass (`ops_bptt.py`), which
makes training fast. Weights are laid out as in `torch.nn.RNN`, `torch.nn.LSTM`, and `torch.nn.GRU`, and can
be copied in both directions.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_layers import GradientCheckpointingLayer

from .ops_bptt import GRUThroughTime, LSTMThroughTime, RNNThroughTime

State = tuple[Tensor, ...]  # (h,) for RNN and GRU, (h, c) for LSTM; each (batch, hidden)
GATES = {"rnn": 1, "gru": 3, "lstm": 4}  # rows of a weight matrix, in multiples of hidden


def rnn_step(a: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor) -> tuple[State, dict[str, Tensor]]:
    """Computes h' = tanh(a + W_hh h + b_hh), where a = W_ih x + b_ih is `(batch, hidden)`. Elman 1990."""
    (h,) = state
    new_h = torch.tanh(a + nn.functional.linear(h, weight_hh, bias_hh))
    return (new_h,), {"hidden_state": new_h}


def lstm_step(a: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor) -> tuple[State, dict[str, Tensor]]:
    """Computes c' = f * c + i * g and h' = o * tanh(c'), where a = W_ih x + b_ih is `(batch, 4 * hidden)`.

    The input gate i lets new content in, the forget gate f keeps the old content, and the output gate o
    exposes the content to the outside. Hochreiter & Schmidhuber 1997; the forget gate is by Gers et al. 2000.
    """
    h, c = state
    # One product for all four gates: (batch, 4 * hidden) -> four times (batch, hidden).
    i, f, g, o = (a + nn.functional.linear(h, weight_hh, bias_hh)).chunk(4, dim=-1)
    # The candidate g is content, from -1 to 1; the gates i, f, o are factors, from 0 to 1.
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    new_c = f * c + i * g
    new_h = o * torch.tanh(new_c)
    gates = {"input_gate": i, "forget_gate": f, "cell_candidate": g, "output_gate": o, "cell_state": new_c}
    return (new_h, new_c), gates


def gru_step(a: Tensor, state: State, weight_hh: Tensor, bias_hh: Tensor) -> tuple[State, dict[str, Tensor]]:
    """Computes h' = (1 - z) * n + z * h with n = tanh(a_n + r * (W_hn h + b_hn)); a is `(batch, 3 * hidden)`.

    The reset gate r controls how much of the past the candidate n sees, and the update gate z controls how
    much of the past stays. Cho et al. 2014, in the variant of `torch.nn.GRU`.
    """
    (h,) = state
    a_r, a_z, a_n = a.chunk(3, dim=-1)  # each (batch, hidden)
    b_r, b_z, b_n = nn.functional.linear(h, weight_hh, bias_hh).chunk(3, dim=-1)
    r, z = torch.sigmoid(a_r + b_r), torch.sigmoid(a_z + b_z)
    n = torch.tanh(a_n + r * b_n)  # r multiplies the product with its bias, unlike in the original GRU
    new_h = (1 - z) * n + z * h
    return (new_h,), {"reset_gate": r, "update_gate": z, "candidate": n}


STEPS: dict[str, Callable] = {"rnn": rnn_step, "lstm": lstm_step, "gru": gru_step}


class RecurrentLayer(GradientCheckpointingLayer):
    """One recurrent layer, with a cell of any of the three kinds.

    Args:
        cell: `"rnn"`, `"lstm"` or `"gru"`.
        input_size: width of the input.
        hidden_size: number of units.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int):
        super().__init__()
        self.cell, self.hidden_size = cell, hidden_size
        gates = GATES[cell]
        # One matrix holds all gates, stacked along the rows, as in torch.nn.
        self.weight_ih = nn.Parameter(torch.empty(gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(gates * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(gates * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(gates * hidden_size))

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Returns a state of zeros with the dtype and device of `like`."""
        return tuple(like.new_zeros(batch, self.hidden_size) for _ in range(2 if self.cell == "lstm" else 1))

    def forward(
        self,
        hidden_states: Tensor,
        state: State | None = None,
        attention_mask: Tensor | None = None,
        output_gates: bool = False,
    ) -> tuple[Tensor, State, dict[str, Tensor] | None]:
        """Runs the recurrence over a sequence.

        Args:
            hidden_states: `(batch, length, input_size)`.
            state: the state to start from; zeros if not given.
            attention_mask: `(batch, length)`, 0 for padding, which leaves the state unchanged.
            output_gates: whether to return the values of the gates.

        Returns:
            The hidden state after each step `(batch, length, hidden_size)`, the last state, and the gates by
            name, each `(batch, length, hidden_size)`, or None.
        """
        batch, length, _ = hidden_states.shape
        if state is None:
            state = self.initial_state(batch, hidden_states)
        # A compiler can trace plain operations but not an autograd function.
        if attention_mask is not None or output_gates or length == 1 or torch.compiler.is_compiling():
            return self._step_by_step(hidden_states, state, attention_mask, output_gates)
        weights = (self.weight_ih, self.bias_ih, self.weight_hh, self.bias_hh)
        # The hand-written passes work in place, so all tensors must have one dtype.
        with torch.autocast(hidden_states.device.type, enabled=False):
            # (batch, length, input_size) -> (length, batch, input_size), which makes each step contiguous.
            inputs = hidden_states.to(self.weight_hh.dtype).transpose(0, 1).contiguous()
            states, state = run_recurrence(self.cell, inputs, *weights, state)
        return states.transpose(0, 1), state, None  # (batch, length, hidden_size)

    def _step_by_step(self, inputs: Tensor, state: State, mask: Tensor | None, output_gates: bool):
        step = STEPS[self.cell]
        outputs, traces = [], []
        # W_ih x_t + b_ih for all steps at once, (batch, length, gates * hidden).
        projected = nn.functional.linear(inputs, self.weight_ih, self.bias_ih)
        for t in range(inputs.shape[1]):
            new_state, gates = step(projected[:, t], state, self.weight_hh, self.bias_hh)
            if mask is not None:
                is_token = mask[:, t, None].bool()  # (batch, 1)
                new_state = tuple(
                    torch.where(is_token, new, old) for new, old in zip(new_state, state, strict=True)
                )
            state = new_state
            outputs.append(state[0])  # h, (batch, hidden)
            traces.append(gates)
        trace = None
        if output_gates:
            # length times (batch, hidden) -> (batch, length, hidden), for each gate
            trace = {name: torch.stack([gates[name] for gates in traces], dim=1) for name in traces[0]}
        return torch.stack(outputs, dim=1), state, trace  # (batch, length, hidden_size)


def run_recurrence(
    cell: str,
    inputs: Tensor,
    weight_ih: Tensor,
    bias_ih: Tensor,
    weight_hh: Tensor,
    bias_hh: Tensor,
    state: State,
) -> tuple[Tensor, State]:
    """Runs all steps of a recurrence, with a hand-written backward pass.

    Args:
        cell: `"rnn"`, `"lstm"` or `"gru"`.
        inputs: `(length, batch, input_size)`.
        weight_ih, bias_ih, weight_hh, bias_hh: the parameters of a `RecurrentLayer`.
        state: the state to start from.

    Returns:
        The hidden states `(length, batch, hidden)`, and the last state.
    """
    if cell == "gru":
        # (length, batch, hidden), as for the other cells
        states = GRUThroughTime.apply(inputs, weight_ih, bias_ih, weight_hh, bias_hh, state[0])
        return states, (states[-1],)
    bias = bias_ih + bias_hh  # only a GRU needs both biases, because its reset gate multiplies one of them
    if cell == "rnn":
        states = RNNThroughTime.apply(inputs, weight_ih, bias, weight_hh, state[0])
        return states, (states[-1],)
    states, last_cell = LSTMThroughTime.apply(inputs, weight_ih, bias, weight_hh, *state)
    return states, (states[-1], last_cell)


@torch.no_grad()
def initialize_recurrent(layer: RecurrentLayer, forget_bias: float) -> None:
    """Sets the initial weights: Xavier for the input, orthogonal recurrent blocks, and biases of 0.

    The bias of an LSTM's forget gate starts at `forget_bias`.
    """
    hidden = layer.hidden_size
    init.xavier_uniform_(layer.weight_ih)
    for block in layer.weight_hh.split(hidden):  # (gates * hidden, hidden) -> (hidden, hidden) per gate
        # Orthogonal blocks preserve the norm of a gradient that passes through them (Saxe et al. 2014).
        # Unlike the functions of `init`, those of torch would overwrite weights loaded from a checkpoint.
        if not getattr(layer.weight_hh, "_is_hf_initialized", False):
            nn.init.orthogonal_(block)
    init.zeros_(layer.bias_ih)
    init.zeros_(layer.bias_hh)
    if layer.cell == "lstm" and not getattr(layer.bias_ih, "_is_hf_initialized", False):
        layer.bias_ih[hidden : 2 * hidden] = forget_bias  # the gates lie in the order i, f, g, o


class RecurrentPreTrainedModel(PreTrainedModel):
    """The common base of the models with recurrent layers: sets initial weights and the kind of cache."""

    supports_gradient_checkpointing = True
    _is_stateful = True
    _skip_keys_device_placement = ["cache"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, RecurrentLayer):
            initialize_recurrent(module, self.config.forget_bias)
        elif isinstance(module, nn.Embedding):
            init.uniform_(module.weight, -self.config.initializer_range, self.config.initializer_range)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                module.weight[module.padding_idx] = 0
        else:
            super()._init_weights(module)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # otherwise generate() would create a cache for attention layers


class RecurrentCacheLayer(CacheLayerMixin):
    """The state of one recurrent layer, and the number of tokens that it has read."""

    is_compileable = False
    is_croppable = False
    supports_early_init = False

    def __init__(self):
        super().__init__()
        self.state: State | None = None
        self.cumulative_length = 0

    def lazy_initialization(self, key_states, value_states):
        raise TypeError("a recurrent state is set by the layer itself, not from keys and values")

    def update(self, state: State, num_new_tokens: int) -> State:  # type: ignore[override]
        """Stores the state after `num_new_tokens` more tokens."""
        self.state, self.is_initialized = state, True
        self.cumulative_length += num_new_tokens
        return state

    def get_seq_length(self) -> int:
        return self.cumulative_length

    def get_max_length(self) -> int:
        return -1  # no limit

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cumulative_length + query_length, 0

    def _map(self, change: Callable[[Tensor], Tensor]) -> None:
        if self.state is not None:
            self.state = tuple(change(tensor) for tensor in self.state)

    def reset(self) -> None:
        self.state, self.cumulative_length, self.is_initialized = None, 0, False

    def detach(self) -> None:
        """Detaches the state from the graph, as truncated backpropagation through time needs it."""
        self._map(Tensor.detach)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self._map(lambda tensor: tensor.index_select(0, beam_idx.to(tensor.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._map(lambda tensor: tensor.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: Tensor) -> None:
        self._map(lambda tensor: tensor[indices])

    def offload(self) -> None:
        self._map(lambda tensor: tensor.to("cpu", non_blocking=True))

    def prefetch(self) -> None:
        """Does nothing: the layer moves the state to its own device."""

    def crop(self, tokens_to_remove: int) -> None:
        if tokens_to_remove:
            raise ValueError("a recurrent state cannot be cropped: its tokens cannot be told apart")


class RecurrentCache(Cache):
    """The `cache` of a recurrent model, whose size does not depend on the length of the text."""

    layers: list[RecurrentCacheLayer]  # type: ignore[assignment]

    def __init__(self, num_hidden_layers: int):
        super().__init__(layers=[RecurrentCacheLayer() for _ in range(num_hidden_layers)])

    def detach(self) -> None:
        """Detaches the state of every layer from the graph."""
        for layer in self.layers:
            layer.detach()
