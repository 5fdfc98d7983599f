"""Stage 2: every number of the lesson's hand-worked gradients, and learning rates that diverge."""

import json
import re

import numpy as np
import pytest

from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s02_backpropagation.example import NUMBERS, PLACES, graph, nodes

LESSON = get_stage("backpropagation").lesson
TABLES = [
    dict(re.findall(r"^\| (\w+) \| .* \| (−?\d\.\d{4}) \|$", text, re.MULTILINE))
    for text in LESSON.partition("*Back*, from the loss")[::2]
]


def number(text):
    return float(text.replace("−", "-"))


def test_the_lesson_has_a_row_for_every_value_and_every_gradient():
    assert set(TABLES[0]) == {"a1", "a2", "h1", "h2", "y", "e", "L"}
    of_parameters_and_inputs = set(NUMBERS) - {"t"}
    assert set(TABLES[1]) == of_parameters_and_inputs | {"a1", "a2", "h1", "h2", "y", "e"}


@pytest.mark.parametrize("name", TABLES[0])
def test_values_of_the_lesson(name):
    assert number(TABLES[0][name]) == pytest.approx(graph()[name].data, abs=5.1e-5)


@pytest.mark.parametrize("name", TABLES[1])
def test_gradients_of_the_lesson_are_slopes_of_the_loss(name):
    """By the definition of the derivative for inputs and weights, by the graph for what lies between."""
    if name in NUMBERS:
        h = 1e-5
        above, below = (graph(NUMBERS | {name: NUMBERS[name] + step})["L"].data for step in (h, -h))
        assert number(TABLES[1][name]) == pytest.approx((above - below) / (2 * h), abs=5.1e-5)
    assert number(TABLES[1][name]) == pytest.approx(graph()[name].grad, abs=5.1e-5)


def test_the_lesson_states_the_numbers_that_the_example_has():
    (stated,) = re.findall(r"^with x = .*?\n\n", LESSON, re.MULTILINE | re.DOTALL)
    stated_numbers = [
        number(text) for text in re.findall(r"−?\d+(?:\.\d+)?", re.sub(r"\b[a-z]\d\b", "", stated))
    ]
    order = ("x1", "x2", "t", "w11", "w12", "b1", "w21", "w22", "b2", "v1", "v2", "c")
    assert stated_numbers == [NUMBERS[name] for name in order]


def test_on_the_drawing_each_gradient_is_the_sum_of_upstream_times_local():
    drawn = nodes(graph())
    assert {node["symbol"] for node in drawn} == set(PLACES)
    assert len({(node["column"], node["row"]) for node in drawn}) == len(drawn)
    for index, node in enumerate(drawn[:-1]):
        flows = [
            after["grad"] * local
            for after in drawn
            for source, local in zip(after["inputs"], after["local"], strict=True)
            if source == index
        ]
        assert sum(flows) == pytest.approx(node["grad"], abs=1e-15), node["symbol"]


def test_a_learning_rate_that_is_too_large_is_shown_to_diverge(tiny_run):
    sweep = tiny_run("backpropagation").figure_data("learning_rates")
    small, large = sweep["squared error"]
    assert small["diverged_at"] is None and small["loss"] == small["curve"][-1]
    assert large["rate"] == 1e12 and large["diverged_at"] == large["steps"] + 1
    metrics = tiny_run("backpropagation").metrics
    assert metrics["learning_rates/diverged"] == 1


def test_a_main_training_that_diverges_is_an_error_with_advice(tmp_path):
    from hf_llmpath.errors import UserError
    from hf_llmpath.stages.runner import run_stage
    from tests.support.small import TINY

    table = tmp_path / "far.csv"
    rng = np.random.default_rng(0)
    rows = [f"{x:.1f},{y:.1f},{int(x * y > 0)}" for x, y in rng.normal(0, 1e200, (40, 2))]
    table.write_text("x1,x2,label\n" + "\n".join(rows) + "\n")
    overrides = TINY["backpropagation"] | {"dataset": str(table)}
    with pytest.raises(UserError, match=r"the loss is not finite at step \d+; try a lower learning rate"):
        run_stage("backpropagation", overrides=overrides, output_dir=tmp_path)


def test_the_history_is_of_the_classifier_alone(tiny_run):
    folder = tiny_run("backpropagation")
    assert {row["part"] for row in folder.history} == {"spirals-0"}
    assert json.dumps(folder.report["settings"]["rates"]) == "[0.1, 1000000000000.0]"
