"""Trains networks on XOR with and without a hidden layer and one network on each shape, and measures that
LLMPathMLP equals them.
"""

import time
from typing import Any

import numpy as np

from ...data.points import SHAPES, XOR_INPUTS, XOR_LABELS, PointSets, load_points
from ...runs import Goal, Job, Run, add_mean
from ...scratch import SGD, BinaryCrossEntropy, Network, fit
from ...training.recipes.plane import PointClassifier, differences, linear_accuracy, save_classifier, surface
from . import NeuralNetworkSettings

XOR_RATE = 1.0
FEW_UNITS = (1, 2, 3, 4)  # numbers of hidden units that try XOR, besides the chosen number
SHOWN_UNITS = {"xor": 12, "spirals": 24}  # hidden units in the pictures
ACTIVATIONS = ("sigmoid", "tanh", "relu", "gelu")


def train(settings: NeuralNetworkSettings, run: Run) -> None:
    """Fills `run` with the models, their numbers, and the data of the pictures."""
    columns = {name: getattr(settings, f"{name}_column") for name in ("x1", "x2", "label")}
    main = load_points(settings.dataset, settings.points, settings.noise, settings.seed, columns)
    main_name = settings.dataset if settings.dataset in SHAPES else "points"
    shapes = {name: load_points(name, settings.points, settings.noise, settings.seed) for name in SHAPES}
    sets = {main_name: main} | {name: points for name, points in shapes.items() if name != main_name}

    sizes = sorted({0, *FEW_UNITS, settings.xor_hidden_size})
    xor = run.once("xor-seeds", lambda job: try_xor(settings, sizes, job))
    metrics: dict[str, Any] = {}
    baselines: dict[str, float] = {}
    parity: list[dict[str, float]] = []
    surfaces: dict[str, Any] = {}
    for name, points in sets.items():
        run.progress.say(f"training on {name}")
        network, result = classifier(settings, name).train(points, run.job(name), settings.seed)
        folder = save_classifier(network, run, None if name == main_name else name)
        parity.append(differences(network, folder, points.test.x))
        units = SHOWN_UNITS.get(name, 0)
        surfaces[name] = surface(network, points.test, units) | {"accuracy": result["accuracy"]}
        if name == main_name:
            metrics |= {key: result[key] for key in ("accuracy", "loss", "train_accuracy", "parameters")}
            metrics["training_seconds"] = result["seconds"]
            baselines["accuracy"] = linear_accuracy(points)
        else:
            metrics[f"{name}/accuracy"] = result["accuracy"]
            baselines[f"{name}/accuracy"] = linear_accuracy(points)

    solved = {units: sum(right == 4 for right in xor["right"][str(units)]) for units in sizes}
    metrics |= {
        "xor/solved": solved[settings.xor_hidden_size],
        "xor/single_layer_points": max(xor["right"]["0"]),
        "xor/seconds": xor["seconds"][str(settings.xor_hidden_size)],
        **{f"xor/solved_by_units_{units}": solved[units] for units in sizes if units},
        **{f"largest_difference_{kind}": max(row[kind] for row in parity) for kind in ("float32", "float64")},
    }
    if settings.seeds > 1:
        metrics |= compare_activations(settings, sets, run)

    run.save_figure_data("surfaces", surfaces)
    single, _ = learn_xor(xor_classifier(settings, 0), settings.seed)
    single_layer = surface(single, load_points("xor", 4, 0.0, 0).train)
    run.save_figure_data("xor", {"right": xor["right"], "curve": xor["curve"], "single_layer": single_layer})
    goals = [
        Goal("accuracy", baselines["accuracy"], higher_is_better=True),
        Goal("xor/solved", settings.xor_seeds, higher_is_better=True),
        Goal("xor/single_layer_points", 3, higher_is_better=False),
        Goal("xor/seconds", 2.0, higher_is_better=False),
        Goal("largest_difference_float32", 1e-6, higher_is_better=False),
        Goal("largest_difference_float64", 1e-12, higher_is_better=False),
    ]
    goals += [
        Goal(name, value, higher_is_better=True) for name, value in baselines.items() if name != "accuracy"
    ]
    run.report(main.provenance, metrics, baselines, goals, main="accuracy")


def classifier(settings: NeuralNetworkSettings, shape: str, activation: str | None = None) -> PointClassifier:
    """The network for a shape and its training."""
    if shape == "xor":
        return xor_classifier(settings, settings.xor_hidden_size)
    return PointClassifier(
        (settings.hidden_size,),
        activation or settings.activation,
        settings.learning_rate,
        settings.epochs,
        settings.batch_size,
    )


def xor_classifier(settings: NeuralNetworkSettings, units: int) -> PointClassifier:
    """A network for XOR with `units` hidden units, or a single layer. Every step sees all four points."""
    return PointClassifier((units,) if units else (), "tanh", XOR_RATE, settings.xor_epochs, len(XOR_INPUTS))


def try_xor(settings: NeuralNetworkSettings, sizes: list[int], job: Job) -> dict[str, Any]:
    """Trains networks of each number of hidden units in `sizes` on XOR, from several seeds.

    Returns:
        By number of hidden units: `right`, the points that each seed's network answers correctly; `seconds`
        for all seeds; `curve`, the loss of the first seed at every step.
    """
    right: dict[str, list[int]] = {}
    seconds: dict[str, float] = {}
    curve: dict[str, list[float]] = {}
    with job.progress.task("XOR", len(sizes) * settings.xor_seeds) as progress:
        for row, units in enumerate(sizes):
            began, correct = time.perf_counter(), []
            for index in range(settings.xor_seeds):
                network, losses = learn_xor(xor_classifier(settings, units), settings.seed + index)
                answers = network.predict(XOR_INPUTS)[:, 0] > 0
                correct.append(int(np.sum(answers == XOR_LABELS)))
                progress.update(row * settings.xor_seeds + index + 1, loss=losses[-1])
                curve.setdefault(str(units), [round(loss, 5) for loss in losses])
            right[str(units)], seconds[str(units)] = correct, time.perf_counter() - began
    return {"right": right, "seconds": seconds, "curve": curve}


def learn_xor(design: PointClassifier, seed: int) -> tuple[Network, list[float]]:
    """A network trained on the four points, and its loss at every step."""
    network, targets = design.network(seed), XOR_LABELS[:, None].astype(np.float32)  # (4, 1)
    optimizer, rng = SGD(network, design.learning_rate), np.random.default_rng(seed)
    steps = fit(
        network, XOR_INPUTS, targets, BinaryCrossEntropy(), optimizer, design.epochs, design.batch_size, rng
    )
    return network, list(steps)


def compare_activations(
    settings: NeuralNetworkSettings, sets: dict[str, PointSets], run: Run
) -> dict[str, Any]:
    """Accuracy of each activation on each shape with the same settings: mean, deviation, and single seeds."""
    metrics: dict[str, Any] = {}
    for shape in SHAPES[1:]:
        for activation in ACTIVATIONS:
            design, scores = classifier(settings, shape, activation), []
            for seed in range(settings.seed, settings.seed + settings.seeds):
                _, result = design.train(sets[shape], run.job(f"{shape}-{activation}-{seed}"), seed)
                scores.append(result["accuracy"])
            add_mean(metrics, f"{shape}/{activation}_accuracy", scores)
    return metrics
