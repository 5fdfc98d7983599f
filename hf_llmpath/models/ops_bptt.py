"""Implements backpropagation through time by hand, for the three recurrent cells.

The plain form of each cell, one step with autograd, is `rnn_step`, `lstm_step`, or `gru_step` in
layers_recurrence.py. Each class below runs a whole sequence through one layer: `forward` is the recurrence,
and `backward` is the chain rule from the last step to the first. Two techniques make the classes as fast as
the library's kernels although the loop is in Python:

* Everything that does not depend on the previous step is computed outside the loop: the input products of
  all steps, each derivative that needs only stored activations, and the weight gradients (one product over
  all steps).
* Inside the loop, each operation works in place: the gates overwrite the buffer of the input products.

Shapes: `length` steps, `batch` rows, `hidden` units. All sequences are time-major, `(length, batch, ...)`.

Sources: Werbos, "Backpropagation through time: what it does and how to do it", 1990. The LSTM follows
Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000). The GRU follows Cho et al. 2014 in the
variant of `torch.nn.GRU`, where the reset gate multiplies the recurrent product.
"""

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .ops_products import Matrix, affine, weight_gradient

sigmoid_backward = torch.ops.aten.sigmoid_backward  # (u, y) -> u y (1 - y), in one pass
tanh_backward = torch.ops.aten.tanh_backward  # (u, y) -> u (1 - y^2)


def _back_to_inputs(
    ctx, delta: Tensor, inputs: Tensor, weight_ih: Tensor
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns the gradients of inputs, weight_ih, and bias.

    delta `(length, batch, gates * hidden)` is the gradient of the input products W_ih x + b.
    """
    flat = delta.flatten(0, 1)  # (length * batch, gates * hidden)
    grad_inputs = None
    if ctx.needs_input_grad[0]:  # dx = δ W_ih, dW_ih = δᵀ x, db = Σ δ over steps and batch
        grad_inputs = Matrix(weight_ih.t(), rows=len(flat)).times(flat).view_as(inputs)
    return grad_inputs, weight_gradient(flat, inputs.flatten(0, 1)), flat.sum(0)


def _states_before(states: Tensor, initial_state: Tensor) -> Tensor:
    """Returns h_{t-1} for every step, as rows `(length * batch, hidden)`."""
    # (1, batch, hidden) and (length - 1, batch, hidden) -> (length, batch, hidden) -> rows
    return torch.cat([initial_state.unsqueeze(0), states[:-1]]).flatten(0, 1)


class RNNThroughTime(Function):
    """Runs h_t = tanh(W_ih x_t + b + W_hh h_{t-1}) over a sequence.

    Backward, with δ_t the gradient at the pre-activation: δ_t = (∂L/∂h_t + W_hhᵀ δ_{t+1}) ⊙ (1 - h_t²).
    """

    @staticmethod
    def forward(ctx, inputs, weight_ih, bias, weight_hh, initial_state):
        """Returns the states `(length, batch, hidden)`.

        inputs `(length, batch, input)`, weight_ih `(hidden, input)`, bias `(hidden,)` (the sum of both),
        weight_hh `(hidden, hidden)`, initial_state `(batch, hidden)`.
        """
        states = affine(inputs, weight_ih, bias)  # (length, batch, hidden), the products of all steps
        weight = Matrix(weight_hh, rows=inputs.shape[1])
        previous = initial_state
        for state in states.unbind(0):
            previous = weight.add_product(previous, to=state).tanh_()  # in place: h_t, (batch, hidden)
        ctx.save_for_backward(inputs, weight_ih, states, weight_hh, initial_state)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_states):
        inputs, weight_ih, states, weight_hh, initial_state = ctx.saved_tensors
        delta = 1 - states.square()  # tanh' of every step, (length, batch, hidden)
        steps, grads = delta.unbind(0), grad_states.unbind(0)  # views (batch, hidden), one per step
        steps[-1].mul_(grads[-1])  # nothing follows the last step
        weight = Matrix(weight_hh.t(), rows=initial_state.shape[0])
        for t in range(len(steps) - 2, -1, -1):
            # δ_t = (∂L/∂h_t + W_hhᵀ δ_{t+1}) ⊙ (1 - h_t²), written into delta
            steps[t].mul_(weight.times(steps[t + 1], plus=grads[t]))
        grad_weight = weight_gradient(delta.flatten(0, 1), _states_before(states, initial_state))
        return *_back_to_inputs(ctx, delta, inputs, weight_ih), grad_weight, weight.times(steps[0])


class LSTMThroughTime(Function):
    """Runs c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t and h_t = o_t ⊙ tanh(c_t) over a sequence.

    The gates i, f, g, o lie in that order along the last axis, as in `torch.nn.LSTM`.

    Backward: along the cell state, the only factor from step to step is the forget gate, ∂L/∂c_{t-1} =
    f_t ⊙ ∂L/∂c_t. That is why the gradient does not vanish while f_t is near 1.
    """

    @staticmethod
    def forward(ctx, inputs, weight_ih, bias, weight_hh, initial_state, initial_cell):
        """Returns the states `(length, batch, hidden)` and the last cell state `(batch, hidden)`.

        inputs `(length, batch, input)`, weight_ih `(4 * hidden, input)`, bias `(4 * hidden,)` (the sum of
        both), weight_hh `(4 * hidden, hidden)`, both states `(batch, hidden)`.
        """
        length, batch, _ = inputs.shape
        hidden = weight_hh.shape[1]
        # Because tanh(a) = 2 sigmoid(2 a) - 1, doubling the rows of the candidate g lets one call of sigmoid
        # squash all four gates of a step.
        doubled = torch.ones_like(bias)  # (4 * hidden,)
        doubled[2 * hidden : 3 * hidden] = 2
        # (length, batch, 4 * hidden): the input products of all steps; the gates will overwrite them
        gates = affine(inputs, weight_ih * doubled.unsqueeze(1), bias * doubled)
        weight = Matrix(weight_hh * doubled.unsqueeze(1), rows=batch)
        states = inputs.new_empty(length, batch, hidden)
        squashed = torch.empty_like(states)  # tanh(c_t)
        cells = inputs.new_empty(length + 1, batch, hidden)  # c_0 to c_length, so cells[:-1] are the c_{t-1}
        cells[0] = initial_cell
        previous, cell = initial_state, cells[0]
        # Views into the gates, one per step, each (batch, hidden); g = 2 half - 1.
        i, f, half, o = (gate.unbind(0) for gate in gates.split(hidden, dim=-1))
        buffers = (states.unbind(0), cells[1:].unbind(0), squashed.unbind(0))
        for all_gates, i_t, f_t, half_t, o_t, state, new_cell, tanh_cell in zip(
            gates.unbind(0), i, f, half, o, *buffers, strict=True
        ):
            weight.add_product(previous, to=all_gates).sigmoid_()  # (batch, 4 * hidden)
            # c_t = f c_{t-1} + i g = f c_{t-1} + 2 i half - i
            cell = torch.mul(f_t, cell, out=new_cell).addcmul_(i_t, half_t, value=2).sub_(i_t)
            previous = torch.mul(o_t, torch.tanh(cell, out=tanh_cell), out=state)  # h_t = o tanh(c_t)
        gates[..., 2 * hidden : 3 * hidden].mul_(2).sub_(1)  # from half to g, for the backward pass
        ctx.save_for_backward(inputs, weight_ih, gates, states, cells, squashed, weight_hh, initial_state)
        return states, cell.clone()  # a copy, because `cell` is a view into a saved tensor

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_states, grad_last_cell):
        inputs, weight_ih, gates, states, cells, squashed, weight_hh, initial_state = ctx.saved_tensors
        length, batch, hidden = states.shape
        i, f, g, o = gates.split(hidden, dim=-1)  # each (length, batch, hidden)
        # Compute all factors that need no gradient for all steps at once: the derivative of each gate with
        # respect to its pre-activation, times the gate's partner in the product.
        delta = torch.empty_like(gates)
        i_gate, f_gate, g_gate, o_gate = delta.split(hidden, dim=-1)
        sigmoid_backward(g, i, grad_input=i_gate)
        sigmoid_backward(cells[:-1], f, grad_input=f_gate)
        tanh_backward(i, g, grad_input=g_gate)
        sigmoid_backward(squashed, o, grad_input=o_gate)
        through_cell = tanh_backward(o, squashed)  # d h_t / d c_t = o (1 - tanh(c)^2)
        grad_state = grad_states[-1]
        grad_cell = torch.zeros_like(initial_state) if grad_last_cell is None else grad_last_cell.clone()
        weight = Matrix(weight_hh.t(), rows=batch)
        tensors = (through_cell, i_gate, f_gate, g_gate, o_gate, f, delta)
        steps = zip(*(tensor.unbind(0) for tensor in tensors), strict=True)
        grads = [None, *grad_states.unbind(0)[:-1]]  # the gradient of h_{t-1} from outside the recurrence
        for outside, (factor, i_t, f_t, g_t, o_t, forget, all_gates) in zip(
            reversed(grads), reversed(list(steps)), strict=True
        ):
            grad_cell.addcmul_(grad_state, factor)  # ∂L/∂c_t += ∂L/∂h_t ⊙ o (1 - tanh(c_t)²)
            # One product per gate: a single broadcast one over (batch, 3, hidden) takes ten times as long.
            i_t.mul_(grad_cell)
            f_t.mul_(grad_cell)
            g_t.mul_(grad_cell)
            o_t.mul_(grad_state)
            grad_cell.mul_(forget)  # ∂L/∂c_{t-1} = f_t ⊙ ∂L/∂c_t
            grad_state = weight.times(all_gates, plus=outside)  # ∂L/∂h_{t-1}, (batch, hidden)
        grad_weight = weight_gradient(delta.flatten(0, 1), _states_before(states, initial_state))
        return *_back_to_inputs(ctx, delta, inputs, weight_ih), grad_weight, grad_state, grad_cell


class GRUThroughTime(Function):
    """Runs h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1} with n_t = tanh(a_t + r_t ⊙ (W_hn h_{t-1} + b_hn)).

    a_t is the candidate's part of W_ih x_t + b_ih. The gates r, z, n lie in that order along the last axis,
    as in `torch.nn.GRU`.

    Backward: the update gate carries the gradient past the nonlinearity, ∂L/∂h_{t-1} = z_t ⊙ ∂L/∂h_t + ...
    """

    @staticmethod
    def forward(ctx, inputs, weight_ih, bias_ih, weight_hh, bias_hh, initial_state):
        """Returns the states `(length, batch, hidden)`.

        inputs `(length, batch, input)`, weight_ih `(3 * hidden, input)`, weight_hh `(3 * hidden, hidden)`,
        both biases `(3 * hidden,)`, initial_state `(batch, hidden)`.
        """
        length, batch, _ = inputs.shape
        hidden = weight_hh.shape[1]
        gates = affine(inputs, weight_ih, bias_ih)  # (length, batch, 3 * hidden)
        states = inputs.new_empty(length, batch, hidden)
        candidate = torch.empty_like(states)  # W_hn h_{t-1} + b_hn, which the backward pass needs
        # (3 * hidden,) -> (batch, 3 * hidden)
        weight, bias = Matrix(weight_hh, rows=batch), bias_hh.expand(batch, -1).contiguous()
        previous = initial_state
        # Views into the gates, one per step: (batch, 2 * hidden), then three times (batch, hidden).
        reset_update = gates[..., : 2 * hidden].unbind(0)
        r, z, n = (gate.unbind(0) for gate in gates.split(hidden, dim=-1))
        for ru, r_t, z_t, n_t, q, state in zip(
            reset_update, r, z, n, candidate.unbind(0), states.unbind(0), strict=True
        ):
            recurrent = weight.times(previous, plus=bias)  # (batch, 3 * hidden)
            ru.add_(recurrent[:, : 2 * hidden]).sigmoid_()  # r_t and z_t, in place of their input products
            q.copy_(recurrent[:, 2 * hidden :])
            n_t.addcmul_(r_t, q).tanh_()  # n_t = tanh(a_t + r_t q)
            previous = torch.lerp(n_t, previous, z_t, out=state)  # h_t = n + z (h - n)
        ctx.save_for_backward(inputs, weight_ih, gates, candidate, states, weight_hh, initial_state)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_states):
        inputs, weight_ih, gates, candidate, states, weight_hh, initial_state = ctx.saved_tensors
        length, batch, hidden = states.shape
        r, z, n = gates.split(hidden, dim=-1)  # each (length, batch, hidden)
        before = _states_before(states, initial_state)  # (length * batch, hidden)
        # The gradients of the recurrent products of reset, update, and candidate, and of the candidate's
        # pre-activation. First compute all factors that need no gradient, for all steps at once.
        delta, to_candidate = torch.empty_like(gates), torch.empty_like(states)
        to_reset, to_update, to_recurrent = delta.split(hidden, dim=-1)
        tanh_backward(1 - z, n, grad_input=to_candidate)
        torch.mul(to_candidate, r, out=to_recurrent)
        sigmoid_backward(to_candidate * candidate, r, grad_input=to_reset)
        sigmoid_backward(before.view_as(n) - n, z, grad_input=to_update)
        factors = [tensor.unbind(0) for tensor in (to_reset, to_update, to_recurrent, to_candidate)]
        steps, grads, keep = delta.unbind(0), grad_states.unbind(0), z.unbind(0)
        weight = Matrix(weight_hh.t(), rows=batch)
        grad_state = grad_states[-1]
        for t in range(length - 1, -1, -1):
            for factor in factors:
                factor[t].mul_(grad_state)
            kept = grad_state * keep[t]  # z_t ⊙ ∂L/∂h_t
            if t:
                kept += grads[t - 1]  # the gradient of h_{t-1} from outside the recurrence
            grad_state = weight.times(steps[t], plus=kept)  # ∂L/∂h_{t-1}, (batch, hidden)
        flat = delta.flatten(0, 1)  # (length * batch, 3 * hidden)
        grad_weight, grad_bias = weight_gradient(flat, before), flat.sum(0)
        # r multiplies the recurrent product only, so without it, delta is the gradient of the input products.
        to_recurrent.copy_(to_candidate)
        return *_back_to_inputs(ctx, delta, inputs, weight_ih), grad_weight, grad_bias, grad_state
