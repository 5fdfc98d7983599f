"""Lets a single layer and a hidden layer try XOR, trains a network on each shape, and proves LLMPathMLP
equal to it.
"""

import time
from typing import Any

import numpy as np

from ...data.points import SHAPES, XOR_INPUTS, XOR_LABELS, PointSets, load_points
from ...runs import Goal, Run, add_mean
from ...scratch import SGD, BinaryCrossEntropy, Network, fit
from ...training.recipes.plane import (
    Plan,
    differences,
    linear_accuracy,
    save_classifier,
    surface,
    train_classifier,
)
from . import NeuralNetworkSettings

XOR_RATE = 1.0
FEW_UNITS = (1, 2, 3, 4)  # hidden units that are tried on XOR besides the chosen number
SHOWN_UNITS = {"xor": 12, "spirals": 24}  # hidden units that the pictures show
ACTIVATIONS = ("sigmoid", "tanh", "relu", "gelu")


def train(settings: NeuralNetworkSettings, run: Run) -> None:
    """Fills `run` with the models, their numbers and what the pictures are drawn from."""
    columns = {name: getattr(settings, f"{name}_column") for name in ("x1", "x2", "label")}
    main = load_points(settings.dataset, settings.points, settings.noise, settings.seed, columns)
    sets = {shape: load_points(shape, settings.points, settings.noise, settings.seed) for shape in SHAPES}
    main_name = settings.dataset if settings.dataset in SHAPES else "points"
    sets = {main_name: main} | {name: found for name, found in sets.items() if name != main_name}

    xor = try_xor(settings, run)
    metrics: dict[str, Any] = {}
    baselines: dict[str, float] = {}
    equal: list[dict[str, float]] = []
    surfaces: dict[str, Any] = {}
    for name, points in sets.items():
        run.progress.say(f"training on {name}")
        network, result = train_classifier(
            points.train, points.test, plan_for(settings, name), run, name, settings.seed
        )
        folder = save_classifier(network, run, None if name == main_name else name)
        equal.append(differences(network, folder, points.test.x))
        units = SHOWN_UNITS.get(name, 0)
        surfaces[name] = surface(network, points.test, units) | {"accuracy": result["accuracy"]}
        linear = linear_accuracy(points.train, points.test)
        kept = ("accuracy", "loss", "train_accuracy", "parameters")
        if name == main_name:
            metrics |= {key: result[key] for key in kept} | {"training_seconds": result["seconds"]}
            baselines["accuracy"] = linear
        else:
            metrics[f"{name}/accuracy"], baselines[f"{name}/accuracy"] = result["accuracy"], linear

    metrics |= {
        "xor/solved": count_solved(xor, settings.xor_hidden_size),
        "xor/single_layer_points": max(xor["right"]["0"]),
        "xor/seconds": xor["seconds"][str(settings.xor_hidden_size)],
        **{
            f"xor/solved_by_units_{units}": count_solved(xor, units)
            for units in tried_units(settings)
            if units
        },
        **{
            f"largest_difference_{kind}": max(found[kind] for found in equal)
            for kind in ("float32", "float64")
        },
    }
    if settings.seeds > 1:
        metrics |= compare_activations(settings, sets, run)

    run.save_figure_data("surfaces", surfaces)
    shown = {kind: xor[kind] for kind in ("right", "curve")}
    run.save_figure_data("xor", shown | {"single_layer": single_layer_surface(settings)})
    goals = [
        Goal("accuracy", baselines["accuracy"], higher_is_better=True),
        Goal("xor/solved", settings.xor_seeds, higher_is_better=True),
        Goal("xor/single_layer_points", 3, higher_is_better=False),
        Goal("xor/seconds", 2.0, higher_is_better=False),
        Goal("largest_difference_float32", 1e-6, higher_is_better=False),
        Goal("largest_difference_float64", 1e-12, higher_is_better=False),
        *(
            Goal(name, value, higher_is_better=True)
            for name, value in baselines.items()
            if name != "accuracy"
        ),
    ]
    run.report(main.provenance, metrics, baselines, goals, main="accuracy")


def plan_for(settings: NeuralNetworkSettings, name: str, activation: str | None = None) -> Plan:
    """The network and the training for a shape: XOR has four points, seen all at once in every step."""
    if name == "xor":
        return xor_plan(settings, settings.xor_hidden_size)
    return Plan(
        (settings.hidden_size,),
        activation or settings.activation,
        settings.learning_rate,
        settings.epochs,
        settings.batch_size,
    )


def xor_plan(settings: NeuralNetworkSettings, units: int) -> Plan:
    """A network for XOR with `units` hidden units; none is a single layer."""
    return Plan((units,) if units else (), "tanh", XOR_RATE, settings.xor_epochs, len(XOR_INPUTS))


def tried_units(settings: NeuralNetworkSettings) -> list[int]:
    return sorted({0, *FEW_UNITS, settings.xor_hidden_size})


def count_solved(xor: dict[str, Any], units: int) -> int:
    """How many of the networks got all four points."""
    return sum(right == 4 for right in xor["right"][str(units)])


def try_xor(settings: NeuralNetworkSettings, run: Run) -> dict[str, Any]:
    """Networks of no, few and the chosen number of hidden units try XOR, each from several seeds.

    Returns:
        By number of hidden units: `right`, the points that each seed's network got; `seconds` for all
        seeds; `curve`, the loss of the first seed at every step.
    """
    job = run.job("xor-seeds")
    if job.done:
        return job.result
    right: dict[str, list[int]] = {}
    seconds: dict[str, float] = {}
    curve: dict[str, list[float]] = {}
    sizes = tried_units(settings)
    with run.progress.task("XOR", len(sizes) * settings.xor_seeds) as progress:
        for row, units in enumerate(sizes):
            began, found = time.perf_counter(), []
            for place in range(settings.xor_seeds):
                network, losses = learn_xor(xor_plan(settings, units), settings.seed + place)
                answers = network.predict(XOR_INPUTS)[:, 0] > 0
                found.append(int(np.sum(answers == XOR_LABELS)))
                progress.update(row * settings.xor_seeds + place + 1, loss=losses[-1])
                curve.setdefault(str(units), [round(loss, 5) for loss in losses])
            right[str(units)], seconds[str(units)] = found, time.perf_counter() - began
    return job.finish({"right": right, "seconds": seconds, "curve": curve})


def learn_xor(plan: Plan, seed: int) -> tuple[Network, list[float]]:
    """A network trained on the four points, and its loss at every step."""
    network, targets = plan.network(seed), XOR_LABELS[:, None].astype(np.float32)
    optimizer, rng = SGD(network, plan.learning_rate), np.random.default_rng(seed)
    steps = fit(
        network, XOR_INPUTS, targets, BinaryCrossEntropy(), optimizer, plan.epochs, plan.batch_size, rng
    )
    return network, list(steps)


def single_layer_surface(settings: NeuralNetworkSettings) -> dict[str, Any]:
    """The surface of the first single layer on XOR."""
    network, _ = learn_xor(xor_plan(settings, 0), settings.seed)
    return surface(network, load_points("xor", 4, 0.0, 0).train)


def compare_activations(
    settings: NeuralNetworkSettings, sets: dict[str, PointSets], run: Run
) -> dict[str, Any]:
    """Accuracy of each activation on each shape, with the same settings: mean, standard deviation and
    single seeds.
    """
    metrics: dict[str, Any] = {}
    for shape in SHAPES[1:]:
        for activation in ACTIVATIONS:
            plan, points = plan_for(settings, shape, activation), sets[shape]
            scores = [
                train_classifier(points.train, points.test, plan, run, f"{shape}-{activation}-{seed}", seed)[
                    1
                ]["accuracy"]
                for seed in range(settings.seed, settings.seed + settings.seeds)
            ]
            add_mean(metrics, f"{shape}/{activation}_accuracy", scores)
    return metrics
