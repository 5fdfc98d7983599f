"""Back-propagation through time, by hand, for the three recurrent cells.

Each class below runs a whole sequence through one layer: `forward` is the recurrence, `backward` the chain rule walked
from the last step to the first. Two habits make them as fast as the library's kernels although the loop is Python:

* whatever does not depend on the previous step leaves the loop: the input products (done by the caller for all steps at
  once), every derivative that needs stored activations only, and the weight gradients (one product over all steps);
* inside the loop each operation writes into a buffer that exists already.

Shapes: `length` steps, `batch` rows, `hidden` units. Everything is time-major, `(length, batch, ...)`.

Source: Werbos, "Backpropagation through time: what it does and how to do it", 1990; the gate equations are those of
Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000), and of Cho et al. 2014 in the variant of
`torch.nn.GRU` (the reset gate multiplies the recurrent product).
"""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .products import Matrix, weight_gradient

sigmoid_backward = torch.ops.aten.sigmoid_backward  # (u, y) -> u y (1 - y), in one pass
tanh_backward = torch.ops.aten.tanh_backward  # (u, y) -> u (1 - y^2)


class RNNThroughTime(Function):
    r"""`h_t = tanh(a_t + W_hh h_{t-1})`, where `a_t` holds the input product and both biases.

    Backward, with \(\delta_t\) the gradient at the pre-activation:
    \(\delta_t = (\partial L / \partial h_t + W_{hh}^T \delta_{t+1}) \odot (1 - h_t^2)\).
    """

    @staticmethod
    def forward(ctx, inputs, weight_hh, initial_state):
        """inputs `(length, batch, hidden)`, weight_hh `(hidden, hidden)`, initial_state `(batch, hidden)`.

        Returns the states `(length, batch, hidden)`.
        """
        states = torch.empty_like(inputs, memory_format=torch.contiguous_format)
        weight = Matrix(weight_hh, rows=inputs.shape[1])
        previous = initial_state
        for a, state in zip(inputs.unbind(0), states.unbind(0), strict=True):
            previous = torch.tanh(weight.times(previous, plus=a), out=state)
        ctx.save_for_backward(states, weight_hh, initial_state)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_states):
        grad_states = grad_states.contiguous()
        states, weight_hh, initial_state = ctx.saved_tensors
        delta = 1 - states.square()  # tanh' for every step
        steps, grads = delta.unbind(0), grad_states.unbind(0)
        steps[-1].mul_(grads[-1])
        weight = Matrix(weight_hh.t(), rows=initial_state.shape[0])
        for t in range(len(steps) - 2, -1, -1):
            steps[t].mul_(weight.times(steps[t + 1], plus=grads[t]))
        before = torch.cat([initial_state.unsqueeze(0), states[:-1]])  # h_{t-1}
        grad_weight = weight_gradient(delta.flatten(0, 1), before.flatten(0, 1))
        return delta, grad_weight, weight.times(steps[0])


class LSTMThroughTime(Function):
    r"""Gates \(i, f, g, o\) in that order along the last axis, as in `torch.nn.LSTM`.

    \(c_t = f_t \odot c_{t-1} + i_t \odot g_t\) and \(h_t = o_t \odot \tanh c_t\).

    Backward: the cell state carries the gradient from step to step through \(f_t\) alone,
    \(\partial L / \partial c_{t-1} = f_t \odot \partial L / \partial c_t\): the reason why it does not vanish.
    """

    @staticmethod
    def forward(ctx, inputs, weight_hh, initial_state, initial_cell):
        """inputs `(length, batch, 4 * hidden)`, weight_hh `(4 * hidden, hidden)`, both states `(batch, hidden)`.

        Returns the states `(length, batch, hidden)` and the last cell state `(batch, hidden)`.
        """
        length, batch, width = inputs.shape
        hidden = width // 4
        gates = torch.empty_like(inputs, memory_format=torch.contiguous_format)
        states = inputs.new_empty(length, batch, hidden)
        cells = inputs.new_empty(length + 1, batch, hidden)
        squashed = torch.empty_like(states)  # tanh(c_t)
        cells[0] = initial_cell
        weight = Matrix(weight_hh, rows=batch)
        previous, cell = initial_state, cells[0]
        input_forget = gates[..., : 2 * hidden].unbind(0)
        i, f, g, o = (part.unbind(0) for part in gates.split(hidden, dim=-1))
        buffers = (states.unbind(0), cells[1:].unbind(0), squashed.unbind(0))
        for a, i_f, i_t, f_t, g_t, o_t, state, new_cell, tanh_cell in zip(
            inputs.unbind(0), input_forget, i, f, g, o, *buffers, strict=True
        ):
            a_if, a_g, a_o = weight.times(previous, plus=a).split((2 * hidden, hidden, hidden), dim=-1)
            torch.sigmoid(a_if, out=i_f)
            torch.tanh(a_g, out=g_t)
            torch.sigmoid(a_o, out=o_t)
            cell = torch.mul(f_t, cell, out=new_cell).addcmul_(i_t, g_t)
            previous = torch.mul(o_t, torch.tanh(cell, out=tanh_cell), out=state)
        ctx.save_for_backward(gates, states, cells, squashed, weight_hh, initial_state)
        return states, cell.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_states, grad_last_cell):
        grad_states = grad_states.contiguous()
        gates, states, cells, squashed, weight_hh, initial_state = ctx.saved_tensors
        length, batch, hidden = states.shape
        i, f, g, o = gates.split(hidden, dim=-1)
        # Every factor that needs no gradient, for all steps at once: d gate / d pre-activation times its partner.
        delta = torch.empty_like(gates).view(length, batch, 4, hidden)
        sigmoid_backward(g, i, grad_input=delta[:, :, 0])
        sigmoid_backward(cells[:-1], f, grad_input=delta[:, :, 1])
        tanh_backward(i, g, grad_input=delta[:, :, 2])
        sigmoid_backward(squashed, o, grad_input=delta[:, :, 3])
        through_cell = tanh_backward(o, squashed)  # d h_t / d c_t = o (1 - tanh(c)^2)
        grad_state = grad_states[-1]
        grad_cell = torch.zeros_like(initial_state) if grad_last_cell is None else grad_last_cell.clone()
        grads, factors, forget = grad_states.unbind(0), through_cell.unbind(0), f.unbind(0)
        flat = delta.flatten(2).unbind(0)
        cell_gates, output_gate = delta[:, :, :3].unbind(0), delta[:, :, 3].unbind(0)
        weight = Matrix(weight_hh.t(), rows=batch)
        wide_cell = grad_cell.unsqueeze(1)
        for t in range(length - 1, -1, -1):
            grad_cell.addcmul_(grad_state, factors[t])
            cell_gates[t].mul_(wide_cell)
            output_gate[t].mul_(grad_state)
            grad_cell.mul_(forget[t])
            if t:
                grad_state = weight.times(flat[t], plus=grads[t - 1])
        delta = delta.flatten(2)
        before = torch.cat([initial_state.unsqueeze(0), states[:-1]])  # h_{t-1}
        grad_weight = weight_gradient(delta.flatten(0, 1), before.flatten(0, 1))
        return delta, grad_weight, weight.times(flat[0]), grad_cell


class GRUThroughTime(Function):
    r"""Gates \(r, z, n\) in that order along the last axis, as in `torch.nn.GRU`.

    \(n_t = \tanh(a^n_t + r_t \odot (W_{hn} h_{t-1} + b_{hn}))\) and
    \(h_t = (1 - z_t) \odot n_t + z_t \odot h_{t-1}\): the update gate \(z\) is the road past the nonlinearity.
    """

    @staticmethod
    def forward(ctx, inputs, weight_hh, bias_hh, initial_state):
        """inputs `(length, batch, 3 * hidden)`, weight_hh `(3 * hidden, hidden)`, initial_state `(batch, hidden)`.

        Returns the states `(length, batch, hidden)`.
        """
        length, batch, width = inputs.shape
        hidden = width // 3
        gates = torch.empty_like(inputs, memory_format=torch.contiguous_format)
        states = inputs.new_empty(length, batch, hidden)
        candidate = torch.empty_like(states)  # W_hn h_{t-1} + b_hn
        weight, bias = Matrix(weight_hh, rows=batch), bias_hh.expand(batch, -1).contiguous()
        previous = initial_state
        reset_update = gates[..., : 2 * hidden].unbind(0)
        r, z, n = (part.unbind(0) for part in gates.split(hidden, dim=-1))
        for a, ru, r_t, z_t, n_t, q, state in zip(
            inputs.unbind(0), reset_update, r, z, n, candidate.unbind(0), states.unbind(0), strict=True
        ):
            recurrent = weight.times(previous, plus=bias)
            torch.add(a[:, : 2 * hidden], recurrent[:, : 2 * hidden], out=ru).sigmoid_()
            q.copy_(recurrent[:, 2 * hidden :])
            torch.addcmul(a[:, 2 * hidden :], r_t, q, out=n_t).tanh_()
            previous = torch.lerp(n_t, previous, z_t, out=state)
        ctx.save_for_backward(gates, candidate, states, weight_hh, initial_state)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_states):
        grad_states = grad_states.contiguous()
        gates, candidate, states, weight_hh, initial_state = ctx.saved_tensors
        length, batch, hidden = states.shape
        r, z, n = gates.split(hidden, dim=-1)
        before = torch.cat([initial_state.unsqueeze(0), states[:-1]])  # h_{t-1}
        # Columns: reset, update, recurrent part of the candidate, input part of the candidate.
        delta = states.new_empty(length, batch, 4, hidden)
        tanh_backward(1 - z, n, grad_input=delta[:, :, 3])
        torch.mul(delta[:, :, 3], r, out=delta[:, :, 2])
        sigmoid_backward(delta[:, :, 3] * candidate, r, grad_input=delta[:, :, 0])
        sigmoid_backward(before - n, z, grad_input=delta[:, :, 1])
        steps, grads, keep = delta.unbind(0), grad_states.unbind(0), z.unbind(0)
        recurrent_steps = delta.flatten(2)[..., : 3 * hidden].unbind(0)
        weight = Matrix(weight_hh.t(), rows=batch)
        grad_state = grad_states[-1]
        for t in range(length - 1, -1, -1):
            steps[t].mul_(grad_state.unsqueeze(1))
            kept = grad_state * keep[t]
            if t:
                kept += grads[t - 1]
            grad_state = weight.times(recurrent_steps[t].contiguous(), plus=kept)
        grad_recurrent = delta.flatten(2)[..., : 3 * hidden]
        flat = grad_recurrent.reshape(-1, 3 * hidden)
        grad_inputs = torch.cat([delta[:, :, :2].flatten(2), delta[:, :, 3]], dim=-1)
        return grad_inputs, weight_gradient(flat, before.flatten(0, 1)), flat.sum(0), grad_state
