"""Builds the small network whose gradients the lesson derives by hand.

It has two inputs, two tanh units, one output, and the squared error as its loss.

    python -m hf_llmpath.stages.s02_backpropagation.example
"""

from typing import Any

import numpy as np

from ...scratch import Dense, MeanSquaredError, Network, Tanh
from .computation_graph import Value

# fmt: off
NUMBERS = {
    "x1": 1.0, "x2": -1.0, "t": 1.0,
    "w11": 0.5, "w12": -0.3, "b1": 0.1, "w21": 0.8, "w22": 0.2, "b2": -0.2,
    "v1": 0.7, "v2": -0.4, "c": 0.05,
}
PLACES = {  # the column and row of each value in the picture
    "x1": (0, 2.0), "x2": (0, 3.6), "w11": (0, 0.0), "w12": (0, 1.0), "b1": (2, 0.0),
    "w21": (0, 4.6), "w22": (0, 5.6), "b2": (2, 5.6),
    "w11·x1": (1, 0.9), "w12·x2": (1, 2.2), "w21·x1": (1, 3.4), "w22·x2": (1, 4.7),
    "s1": (2, 1.4), "s2": (2, 4.2), "a1": (3, 1.4), "a2": (3, 4.2), "h1": (4, 1.4), "h2": (4, 4.2),
    "v1": (4, 0.2), "v2": (4, 5.4), "v1·h1": (5, 1.4), "v2·h2": (5, 4.2),
    "sum": (6, 2.8), "c": (6, 1.3), "y": (7, 2.8), "t": (7, 1.3), "e": (8, 2.8), "L": (9, 2.8),
}
# fmt: on


def graph(numbers: dict[str, float] = NUMBERS) -> dict[str, Value]:
    """Returns every value of the example by name, with the gradient of the loss `L` with respect to it."""
    n = {name: Value(number, name) for name, number in numbers.items()}
    for unit in ("1", "2"):
        # s = w₁ x₁ + w₂ x₂ and h = tanh(s + b)
        first, second = n[f"w{unit}1"] * n["x1"], n[f"w{unit}2"] * n["x2"]
        n |= {f"w{unit}1·x1": first, f"w{unit}2·x2": second, f"s{unit}": first + second}
        n[f"a{unit}"] = n[f"s{unit}"] + n[f"b{unit}"]
        n[f"h{unit}"] = n[f"a{unit}"].tanh()
        n[f"v{unit}·h{unit}"] = n[f"v{unit}"] * n[f"h{unit}"]
    # y = v₁ h₁ + v₂ h₂ + c and L = (y − t)²
    n["sum"] = n["v1·h1"] + n["v2·h2"]
    n["y"] = n["sum"] + n["c"]
    n["e"] = n["y"] - n["t"]
    n["L"] = n["e"].square()
    n["L"].backward()
    return n


def network(numbers: dict[str, float] = NUMBERS) -> Network:
    """Returns the same network as layers, whose gradients equal those of the graph."""
    n, rng = numbers, np.random.default_rng(0)  # the weights that `rng` draws are overwritten
    first, second = Dense(2, 2, rng, dtype=np.float64), Dense(2, 1, rng, dtype=np.float64)
    # A row of a weight matrix is one unit: (2, 2) and (1, 2).
    first.params["weight"][...] = [[n["w11"], n["w12"]], [n["w21"], n["w22"]]]
    first.params["bias"][...] = [n["b1"], n["b2"]]
    second.params["weight"][...] = [[n["v1"], n["v2"]]]
    second.params["bias"][...] = [n["c"]]
    return Network([first, Tanh(), second])


def layer_gradients(numbers: dict[str, float] = NUMBERS) -> dict[str, float]:
    """Returns the gradients of the parameters and inputs, computed by layers, by their names in the graph."""
    n, layers, loss = numbers, network(numbers), MeanSquaredError()
    # The input is (1, 2), the target (1, 1): a batch of one example.
    loss.forward(layers.forward(np.array([[n["x1"], n["x2"]]])), np.array([[n["t"]]]))
    x1, x2 = layers.backward(loss.backward())[0]  # (1, 2) -> (2,)
    first, second = layers.layers[0].grads, layers.layers[2].grads
    (w11, w12), (w21, w22) = first["weight"]  # (2, 2)
    (b1, b2), (v1, v2), (c,) = first["bias"], second["weight"][0], second["bias"]  # (2,), (2,), and (1,)
    names = ("x1", "x2", "w11", "w12", "b1", "b2", "w21", "w22", "v1", "v2", "c")
    return dict(zip(names, map(float, (x1, x2, w11, w12, b1, b2, w21, w22, v1, v2, c)), strict=True))


def nodes(values: dict[str, Value]) -> list[dict[str, Any]]:
    """Returns the graph as a list for `graph_picture.py`, inputs before the results computed from them.

    Each node has `symbol` (its name in the example), `name` (for a result, its operation), `data`, `grad`,
    `inputs` (indices into the list), `local` (the derivative with respect to each input), `column`, and
    `row`.
    """
    order = values["L"].order()
    # Values are told apart by identity, because two of them may hold equal numbers.
    index = {id(value): i for i, value in enumerate(order)}
    symbols = {id(value): symbol for symbol, value in values.items()}
    return [
        {
            "name": value.name if value.inputs and symbol != "L" else symbol,
            "symbol": symbol,
            "data": value.data,
            "grad": value.grad,
            "inputs": [index[id(source)] for source in value.inputs],
            "local": list(value.local),
            "column": PLACES[symbol][0],
            "row": PLACES[symbol][1],
        }
        for value in order
        for symbol in [symbols[id(value)]]
    ]


if __name__ == "__main__":
    for name, value in graph().items():
        print(f"{name:7} {value.data:8.4f}   gradient {value.grad:8.4f}")
