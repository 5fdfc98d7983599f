"""Trains networks on XOR, with and without a hidden layer, and one network on each shape.

It also measures how far the saved LLMPathMLP models differ from these networks.
"""

import time
from typing import Any

import numpy as np

from ...data.points import SHAPES, XOR_INPUTS, XOR_LABELS, PointSets, load_points
from ...runs import Goal, Job, Run, add_mean
from ...scratch import SGD, BinaryCrossEntropy, Network, fit
from ...training.recipes.plane import PointClassifier, differences, linear_accuracy, save_classifier, surface
from . import NeuralNetworkSettings

XOR_RATE = 1.0  # can be high: a batch is all four points, so its gradient has no noise
FEW_UNITS = (1, 2, 3, 4)  # numbers of hidden units that are tried on XOR, in addition to the setting
SHOWN_UNITS = {"xor": 12, "spirals": 24}  # largest number of hidden units in the pictures
ACTIVATIONS = ("sigmoid", "tanh", "relu", "gelu")


def train(settings: NeuralNetworkSettings, run: Run) -> None:
    """Trains the models and saves them in `run`, with their metrics and the data of the pictures."""
    columns = {name: getattr(settings, f"{name}_column") for name in ("x1", "x2", "label")}
    main = load_points(settings.dataset, settings.points, settings.noise, settings.seed, columns)
    main_name = settings.dataset if settings.dataset in SHAPES else "points"
    shapes = {name: load_points(name, settings.points, settings.noise, settings.seed) for name in SHAPES}
    sets = {main_name: main} | {name: points for name, points in shapes.items() if name != main_name}

    sizes = sorted({0, *FEW_UNITS, settings.xor_hidden_size})  # hidden units; 0 is a single layer
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
    # `try_xor` returns only numbers, so the single layer is trained again for its surface.
    single, _ = learn_xor(xor_classifier(settings, 0), settings.seed)
    single_layer = surface(single, load_points("xor", 4, 0.0, 0).train)
    run.save_figure_data("xor", {"right": xor["right"], "curve": xor["curve"], "single_layer": single_layer})
    goals = [
        Goal("accuracy", baselines["accuracy"], higher_is_better=True),
        Goal("xor/solved", settings.xor_seeds, higher_is_better=True),
        Goal("xor/single_layer_points", 3, higher_is_better=False),  # all that a straight line can separate
        Goal("xor/seconds", 2.0, higher_is_better=False),
        Goal("largest_difference_float32", 1e-6, higher_is_better=False),
        Goal("largest_difference_float64", 1e-12, higher_is_better=False),
    ]
    goals += [
        Goal(name, value, higher_is_better=True) for name, value in baselines.items() if name != "accuracy"
    ]
    run.report(main.provenance, metrics, baselines, goals, main="accuracy")


def classifier(settings: NeuralNetworkSettings, shape: str, activation: str | None = None) -> PointClassifier:
    """Returns the network for a shape, with the settings of its training."""
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
    """Returns a network for XOR with `units` hidden units, or a single layer if `units` is 0.

    Every step uses all four points.
    """
    return PointClassifier((units,) if units else (), "tanh", XOR_RATE, settings.xor_epochs, len(XOR_INPUTS))


def try_xor(settings: NeuralNetworkSettings, sizes: list[int], job: Job) -> dict[str, Any]:
    """Trains networks of each number of hidden units in `sizes` on XOR, from several seeds.

    Returns:
        Three dictionaries by number of hidden units (as a string): `right`, the number of points that each
        seed's network answers correctly; `seconds`, the time for all seeds; and `curve`, the loss of the
        first seed at every step.
    """
    right: dict[str, list[int]] = {}
    seconds: dict[str, float] = {}
    curve: dict[str, list[float]] = {}
    with job.progress.task("XOR", len(sizes) * settings.xor_seeds) as progress:
        for row, units in enumerate(sizes):
            began, correct = time.perf_counter(), []
            for index in range(settings.xor_seeds):
                network, losses = learn_xor(xor_classifier(settings, units), settings.seed + index)
                answers = network.predict(XOR_INPUTS)[:, 0] > 0  # logits: (4, 1) -> (4,)
                correct.append(int(np.sum(answers == XOR_LABELS)))
                progress.update(row * settings.xor_seeds + index + 1, loss=losses[-1])
                # `setdefault` keeps the losses of the first seed.
                curve.setdefault(str(units), [round(loss, 5) for loss in losses])
            right[str(units)], seconds[str(units)] = correct, time.perf_counter() - began
    return {"right": right, "seconds": seconds, "curve": curve}


def learn_xor(design: PointClassifier, seed: int) -> tuple[Network, list[float]]:
    """Returns a network trained on the four points of XOR, and its loss at every step."""
    network, targets = design.network(seed), XOR_LABELS[:, None].astype(np.float32)  # (4,) -> (4, 1)
    optimizer, rng = SGD(network, design.learning_rate), np.random.default_rng(seed)
    steps = fit(
        network, XOR_INPUTS, targets, BinaryCrossEntropy(), optimizer, design.epochs, design.batch_size, rng
    )
    return network, list(steps)


def compare_activations(
    settings: NeuralNetworkSettings, sets: dict[str, PointSets], run: Run
) -> dict[str, Any]:
    """Measures the accuracy of each activation on each shape, with the same settings.

    Returns:
        The mean over the seeds, its standard deviation, and the values of the seeds (see `add_mean`).
    """
    metrics: dict[str, Any] = {}
    for shape in SHAPES[1:]:  # all but XOR, whose four points have no test set of their own
        for activation in ACTIVATIONS:
            design, scores = classifier(settings, shape, activation), []
            for seed in range(settings.seed, settings.seed + settings.seeds):
                _, result = design.train(sets[shape], run.job(f"{shape}-{activation}-{seed}"), seed)
                scores.append(result["accuracy"])
            add_mean(metrics, f"{shape}/{activation}_accuracy", scores)
    return metrics
