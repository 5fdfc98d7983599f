"""The small network whose gradients the lesson works out by hand: two inputs, two tanh units, one output,
squared error.

python -m hf_llmpath.stages.s02_backpropagation.example
"""

import numpy as np

from ...scratch import Dense, MeanSquaredError, Network, Tanh
from .computation_graph import Value

NUMBERS = {
    "x1": 1.0,
    "x2": -1.0,
    "w11": 0.5,
    "w12": -0.3,
    "b1": 0.1,
    "w21": 0.8,
    "w22": 0.2,
    "b2": -0.2,
    "v1": 0.7,
    "v2": -0.4,
    "c": 0.05,
    "t": 1.0,
}
# Where each value stands on the picture: column, row.
PLACES = {
    "x1": (0, 2.0),
    "x2": (0, 3.6),
    "w11": (0, 0.0),
    "w12": (0, 1.0),
    "b1": (2, 0.0),
    "w21": (0, 4.6),
    "w22": (0, 5.6),
    "b2": (2, 5.6),
    "w11·x1": (1, 0.9),
    "w12·x2": (1, 2.2),
    "w21·x1": (1, 3.4),
    "w22·x2": (1, 4.7),
    "s1": (2, 1.4),
    "s2": (2, 4.2),
    "a1": (3, 1.4),
    "a2": (3, 4.2),
    "h1": (4, 1.4),
    "h2": (4, 4.2),
    "v1": (4, 0.2),
    "v2": (4, 5.4),
    "v1·h1": (5, 1.4),
    "v2·h2": (5, 4.2),
    "sum": (6, 2.8),
    "c": (6, 1.3),
    "y": (7, 2.8),
    "t": (7, 1.3),
    "e": (8, 2.8),
    "L": (9, 2.8),
}


def graph(numbers: dict[str, float] = NUMBERS) -> dict[str, Value]:
    """Every value of the example by name, with the gradient of the loss `L` with respect to it."""
    n = {name: Value(number, name) for name, number in numbers.items()}
    for unit in ("1", "2"):
        first, second = n[f"w{unit}1"] * n["x1"], n[f"w{unit}2"] * n["x2"]
        n |= {f"w{unit}1·x1": first, f"w{unit}2·x2": second, f"s{unit}": first + second}
        n[f"a{unit}"] = n[f"s{unit}"] + n[f"b{unit}"]
        n[f"h{unit}"] = n[f"a{unit}"].tanh()
        n[f"v{unit}·h{unit}"] = n[f"v{unit}"] * n[f"h{unit}"]
    n["sum"] = n["v1·h1"] + n["v2·h2"]
    n["y"] = n["sum"] + n["c"]
    n["e"] = n["y"] - n["t"]
    n["L"] = n["e"].square()
    n["L"].backward()
    return n


def network(numbers: dict[str, float] = NUMBERS) -> Network:
    """The same as layers; after it, `gradients()` of the layers are those of the graph."""
    n, rng = numbers, np.random.default_rng(0)
    first, second = Dense(2, 2, rng, dtype=np.float64), Dense(2, 1, rng, dtype=np.float64)
    first.params["weight"][...] = [[n["w11"], n["w12"]], [n["w21"], n["w22"]]]
    first.params["bias"][...] = [n["b1"], n["b2"]]
    second.params["weight"][...] = [[n["v1"], n["v2"]]]
    second.params["bias"][...] = [n["c"]]
    return Network([first, Tanh(), second])


def layer_gradients(numbers: dict[str, float] = NUMBERS) -> dict[str, float]:
    """Gradients of the parameters and inputs by the names of the graph, from the layers' backward pass."""
    n, layers, loss = numbers, network(numbers), MeanSquaredError()
    loss.forward(layers.forward(np.array([[n["x1"], n["x2"]]])), np.array([[n["t"]]]))
    (x1, x2), first, second = (
        layers.backward(loss.backward())[0],
        layers.layers[0].grads,
        layers.layers[2].grads,
    )
    (w11, w12), (w21, w22) = first["weight"]
    values = (x1, x2, w11, w12, *first["bias"], w21, w22, *second["weight"][0], *second["bias"])
    return dict(
        zip(
            ("x1", "x2", "w11", "w12", "b1", "b2", "w21", "w22", "v1", "v2", "c"),
            map(float, values),
            strict=True,
        )
    )


def drawing(values: dict[str, Value]) -> list[dict]:
    """The graph as `figures.network.computation_graph` takes it."""
    order = values["L"].order()
    place = {id(value): index for index, value in enumerate(order)}
    names = {id(value): name for name, value in values.items()}
    return [
        {
            "name": value.name if value.inputs and name != "L" else name,
            "symbol": name,
            "data": value.data,
            "grad": value.grad,
            "inputs": [place[id(before)] for before in value.inputs],
            "local": list(value.local),
            "column": PLACES[name][0],
            "row": PLACES[name][1],
        }
        for value in order
        for name in [names[id(value)]]
    ]


if __name__ == "__main__":
    for name, value in graph().items():
        print(f"{name:7} {value.data:8.4f}   gradient {value.grad:8.4f}")
