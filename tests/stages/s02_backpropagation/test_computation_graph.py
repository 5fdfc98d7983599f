"""The scalar graph: local derivatives, paths that meet, and the same gradients as the layers."""

import math

import pytest

from hf_llmpath.stages.s02_backpropagation.computation_graph import Value
from hf_llmpath.stages.s02_backpropagation.example import NUMBERS, graph, layer_gradients

OPERATIONS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "tanh": lambda a, b: a.tanh(),
    "square": lambda a, b: a.square(),
    "met twice": lambda a, b: (a * a + b * a).tanh() * a,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_the_slopes_of_the_function(name):
    def result(a, b):
        return OPERATIONS[name](Value(a, "a"), Value(b, "b")).data

    a, b = Value(0.7, "a"), Value(-1.3, "b")
    OPERATIONS[name](a, b).backward()
    h = 1e-6
    assert a.grad == pytest.approx((result(0.7 + h, -1.3) - result(0.7 - h, -1.3)) / (2 * h), abs=1e-8)
    assert b.grad == pytest.approx((result(0.7, -1.3 + h) - result(0.7, -1.3 - h)) / (2 * h), abs=1e-8)


def test_a_second_backward_pass_starts_anew():
    a = Value(2.0, "a")
    y = a * a
    y.backward()
    y.backward()
    assert a.grad == 4.0


def test_the_graph_gives_the_gradients_of_the_layers():
    values = graph()
    for name, gradient in layer_gradients().items():
        assert values[name].grad == pytest.approx(gradient, abs=1e-15), name
    by_hand = (
        NUMBERS["v1"] * math.tanh(0.9) + NUMBERS["v2"] * math.tanh(0.4) + NUMBERS["c"] - NUMBERS["t"]
    ) ** 2
    assert values["L"].data == pytest.approx(by_hand, abs=1e-15)


def test_inputs_come_before_the_results_computed_from_them():
    order = graph()["L"].order()
    index = {id(value): i for i, value in enumerate(order)}
    assert all(index[id(source)] < index[id(value)] for value in order for source in value.inputs)
    assert {name for name, _ in graph()["L"].named()} == set(NUMBERS)
