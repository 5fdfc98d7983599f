"""Implements backpropagation one number at a time, on the graph that layers hide in matrix products.

    w, x, b = Value(0.5, "w"), Value(2.0, "x"), Value(-0.3, "b")
    y = (w * x + b).tanh()
    y.backward()
    print(w.grad)  # dy/dw

Every operation records its inputs and the local derivative with respect to each of them: how fast the output
changes with that input while the others are fixed. The backward pass sends each input the upstream gradient
times the local derivative, and an input sums the gradients that arrive over several paths.
`scratch/layers.py` does the same for whole matrices.
"""

import math
from collections.abc import Iterator


class Value:
    """A number in a computation graph.

    Attributes:
        data: the number.
        name: the name of an input or weight; for a result, the operation that computed it.
        inputs: the values from which this value was computed.
        local: the derivative of this value with respect to each of `inputs`.
        grad: the derivative dL/dv with respect to this value v, where L is the value whose `backward()` was
            called.
    """

    def __init__(
        self, data: float, name: str, inputs: tuple["Value", ...] = (), local: tuple[float, ...] = ()
    ):
        self.data, self.name, self.inputs, self.local = data, name, inputs, local
        self.grad = 0.0

    def __add__(self, other: "Value") -> "Value":
        return Value(self.data + other.data, "+", (self, other), (1.0, 1.0))

    def __sub__(self, other: "Value") -> "Value":
        return Value(self.data - other.data, "−", (self, other), (1.0, -1.0))  # d(a − b)/db = −1

    def __mul__(self, other: "Value") -> "Value":
        # d(a b)/da = b and d(a b)/db = a
        return Value(self.data * other.data, "×", (self, other), (other.data, self.data))

    def tanh(self) -> "Value":
        y = math.tanh(self.data)
        return Value(y, "tanh", (self,), (1 - y * y,))  # d tanh(a)/da = 1 − tanh²(a)

    def square(self) -> "Value":
        return Value(self.data * self.data, "square", (self,), (2 * self.data,))  # d(a²)/da = 2a

    def order(self) -> list["Value"]:
        """Returns this value and all values that it depends on, inputs before results (topological order)."""
        seen: set[int] = set()  # by identity: equal numbers may be different values
        ordered: list[Value] = []

        def visit(value: Value) -> None:
            if id(value) not in seen:
                seen.add(id(value))
                for source in value.inputs:
                    visit(source)
                ordered.append(value)

        visit(self)
        return ordered

    def backward(self) -> None:
        """Applies the chain rule backward from this value, to fill `grad` of all values it depends on."""
        order = self.order()
        for value in order:
            value.grad = 0.0  # a previous call may have left gradients
        self.grad = 1.0  # dL/dL
        # In reverse order, the gradient of a value is complete before the value passes it on.
        for value in reversed(order):
            for source, local in zip(value.inputs, value.local, strict=True):
                source.grad += value.grad * local  # upstream × local, summed over all paths

    def named(self) -> Iterator[tuple[str, "Value"]]:
        """Yields `(name, value)` for every value that the graph starts from: inputs, weights, and targets."""
        return ((value.name, value) for value in self.order() if not value.inputs)
