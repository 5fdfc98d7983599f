"""Backpropagation one number at a time: the computation graph that the layers hide inside their matrix
products.

    w, x, b = Value(0.5, "w"), Value(2.0, "x"), Value(-0.3, "b")
    y = (w * x + b).tanh()
    y.backward()
    print(w.grad)  # dy/dw

Every operation notes its inputs and the local derivative with respect to each: how much the output moves
when that input does and all others stay. The backward pass gives each input the upstream gradient times the
local derivative, and sums what arrives over several paths. `scratch/layers.py` does the same for whole
matrices.
"""

import math
from collections.abc import Iterator


class Value:
    """A number in a computation graph.

    Attributes:
        data: the number.
        name: what it is called; for a result, the operation that computed it.
        inputs: the values that it was computed from.
        local: the derivative of this value with respect to each of `inputs`.
        grad: the derivative, with respect to this value, of the one that `backward()` was called on.
    """

    def __init__(
        self, data: float, name: str, inputs: tuple["Value", ...] = (), local: tuple[float, ...] = ()
    ):
        self.data, self.name, self.inputs, self.local = data, name, inputs, local
        self.grad = 0.0

    def __add__(self, other: "Value") -> "Value":
        return Value(self.data + other.data, "+", (self, other), (1.0, 1.0))

    def __sub__(self, other: "Value") -> "Value":
        return Value(self.data - other.data, "−", (self, other), (1.0, -1.0))

    def __mul__(self, other: "Value") -> "Value":
        return Value(self.data * other.data, "×", (self, other), (other.data, self.data))

    def tanh(self) -> "Value":
        y = math.tanh(self.data)
        return Value(y, "tanh", (self,), (1 - y * y,))

    def square(self) -> "Value":
        return Value(self.data * self.data, "square", (self,), (2 * self.data,))

    def order(self) -> list["Value"]:
        """This value and all that it depends on, inputs before the results computed from them."""
        seen: set[int] = set()
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
        """Applies the chain rule from this value back to fill `grad` of everything that it depends on."""
        order = self.order()
        for value in order:
            value.grad = 0.0
        self.grad = 1.0
        for value in reversed(order):
            for source, local in zip(value.inputs, value.local, strict=True):
                source.grad += value.grad * local  # upstream × local, summed over all paths

    def named(self) -> Iterator[tuple[str, "Value"]]:
        """`(name, value)` of everything that the graph starts from: inputs, weights, and targets."""
        return ((value.name, value) for value in self.order() if not value.inputs)
