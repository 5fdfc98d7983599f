"""Checks every gradient, trains a network on two spirals, and compares learning rates until they diverge."""

from typing import Any

import numpy as np
import torch

from ...data.points import SHAPES, PointSets, load_points
from ...runs import Goal, Job, Run
from ...scratch import SGD, BinaryCrossEntropy, Loss, MeanSquaredError, fit
from ...training.numpy_loop import Examples, fit_numpy
from ...training.recipes.plane import (
    PointClassifier,
    accuracy,
    differences,
    linear_accuracy,
    save_classifier,
    surface,
)
from . import BackpropagationSettings, example
from .gradient_check import autograd_errors, gradient_errors, relative_error

LOSSES: dict[str, type[Loss]] = {"cross-entropy": BinaryCrossEntropy, "squared error": MeanSquaredError}
CHECKED_SEEDS = 3  # random networks per layer and loss


def train(settings: BackpropagationSettings, run: Run) -> None:
    """Trains the model and saves it in `run`, with its metrics and the data of the pictures."""
    columns = {name: getattr(settings, f"{name}_column") for name in ("x1", "x2", "label")}
    points = load_points(settings.dataset, settings.points, settings.noise, settings.seed, columns)
    name = settings.dataset if settings.dataset in SHAPES else "points"

    run.progress.say("checking gradients")
    checks = check_gradients_of_layers(settings.seed)
    example_error = check_example()

    classifier = PointClassifier(
        settings.hidden_sizes,
        settings.activation,
        settings.learning_rate,
        settings.epochs,
        settings.batch_size,
    )
    seeds = range(settings.seed, settings.seed + settings.seeds)
    trained = [classifier.train(points, run.job(f"{name}-{seed}"), seed) for seed in seeds]
    network, first = trained[0]
    folder = save_classifier(network, run)
    parity = differences(network, folder, points.test.x)
    scores = [result["accuracy"] for _, result in trained]
    sweep = compare_rates(settings, points, run)

    # The gradient of the squared error grows with the error, so the loss can overflow. With cross-entropy,
    # the gradient at the logit is at most 1, and the loss usually stays finite.
    diverged = [row for row in sweep["squared error"] if row["diverged_at"] is not None]
    finite = [row for row in sweep["cross-entropy"] if row["diverged_at"] is None]
    metrics: dict[str, Any] = {"accuracy": float(np.mean(scores))}
    if settings.seeds > 1:
        metrics |= {"accuracy_sd": float(np.std(scores, ddof=1)), "accuracy_seeds": scores}
    metrics |= {
        **{key: first[key] for key in ("loss", "train_loss", "train_accuracy", "parameters")},
        "training_seconds": sum(result["seconds"] for _, result in trained),
        "gradients/central_difference_error": max(row["central_difference"] for row in checks),
        "gradients/autograd_error": max(row["autograd"] for row in checks),
        "gradients/hand_example_error": example_error,
        "learning_rates/diverged": len(diverged),
        **({"learning_rates/best": min(finite, key=lambda row: row["loss"])["rate"]} if finite else {}),
        "largest_difference_float32": parity["float32"],
        "largest_difference_float64": parity["float64"],
    }
    linear = linear_accuracy(points)
    goals = [
        Goal("accuracy", 0.99 if name == "spirals" else linear, higher_is_better=True),
        Goal("gradients/central_difference_error", 1e-7, higher_is_better=False),
        Goal("gradients/autograd_error", 1e-10, higher_is_better=False),
        Goal("gradients/hand_example_error", 1e-10, higher_is_better=False),
        Goal("learning_rates/diverged", 1, higher_is_better=True),
        Goal("largest_difference_float32", 1e-6, higher_is_better=False),
        Goal("largest_difference_float64", 1e-12, higher_is_better=False),
    ]
    run.save_figure_data("gradient_checks", checks)
    run.save_figure_data("graph", example.nodes(example.graph()))
    run.save_figure_data("learning_rates", sweep)
    run.save_figure_data("on_the_way", surfaces_on_the_way(classifier, points, settings.seed))
    run.report(points.provenance, metrics, {"accuracy": linear}, goals, main="accuracy")


def check_gradients_of_layers(seed: int) -> list[dict[str, Any]]:
    """Returns the largest errors over several random networks, for each layer and loss."""
    tables = [gradient_errors(seed + index) for index in range(CHECKED_SEEDS)]
    return [
        {"layer": rows[0]["layer"], "loss": rows[0]["loss"]}
        | {kind: max(row[kind] for row in rows) for kind in ("central_difference", "autograd")}
        for rows in zip(*tables, strict=True)  # the rows of one layer and loss, one per seed
    ]


def check_example() -> float:
    """Returns the largest relative error of the lesson's gradients.

    The graph is compared with the layers, and the layers are compared with autograd.
    """
    values, numbers = example.graph(), example.NUMBERS
    graph_errors = [
        relative_error(np.array(values[name].grad), np.array(gradient))
        for name, gradient in example.layer_gradients().items()
    ]
    # (1, 2) and (1, 1)
    x, target = np.array([[numbers["x1"], numbers["x2"]]]), np.array([[numbers["t"]]])
    layer_errors = autograd_errors(example.network(), MeanSquaredError(), torch.nn.MSELoss(), x, target)
    return max(*graph_errors, *layer_errors.values())


def compare_rates(
    settings: BackpropagationSettings, points: PointSets, run: Run
) -> dict[str, list[dict[str, Any]]]:
    """Trains the same network with each learning rate and each loss.

    A training ends after the last epoch, or when the loss is no longer finite.

    Returns:
        By loss, one row per rate: `rate`, `curve` (the mean loss of each epoch), `loss` (that of the last
        epoch), `accuracy` on the test points, `steps`, and `diverged_at`, the step of the first loss that was
        not finite.
    """

    # `work` reads `name` and `rate` from the loops below, which call it at once.
    def work(job: Job) -> dict[str, Any]:
        design = PointClassifier(
            settings.hidden_sizes, settings.activation, rate, settings.sweep_epochs, settings.batch_size
        )
        # A loss that grows overflows later in float64 than in float32, so more of its growth is visible.
        network, optimized = design.network(settings.seed, "float64"), LOSSES[name]()
        training = fit_numpy(
            network,
            Examples(points.train.x, points.train.targets),
            optimized,
            SGD(network, rate),
            job,
            design.epochs,
            design.batch_size,
            settings.seed,
        )
        if training.diverged_at is not None:
            job.progress.say(f"{job.name}: {training.advice(rate)}")
        # The squared error trains the output to be 0 or 1; the cross-entropy takes it as a logit.
        threshold = 0.5 if name == "squared error" else 0.0
        return {
            "rate": rate,
            "curve": training.losses,
            "loss": training.losses[-1] if training.losses else None,
            "accuracy": accuracy(network, points.test, threshold),
            "steps": training.steps,
            "diverged_at": training.diverged_at,
        }

    # These jobs live inside the folder of one job, which keeps their losses out of the run's history.
    folder = run.job("learning-rates").folder
    sweep: dict[str, list[dict[str, Any]]] = {name: [] for name in LOSSES}
    for name in LOSSES:
        for rate in settings.rates:
            path = folder / f"{name.replace(' ', '-')}-{rate:g}"
            path.mkdir(parents=True, exist_ok=True)
            sweep[name].append(Job(path, f"{name}, rate {rate:g}", run.progress).once(work))
    return sweep


def surfaces_on_the_way(classifier: PointClassifier, points: PointSets, seed: int) -> list[dict[str, Any]]:
    """Returns the surface after 1, 10, 30, ... epochs, from a repetition of the first seed's training."""
    epochs = {min(classifier.epochs, epoch) for epoch in (1, 10, 30, 100, 200, classifier.epochs)}
    surfaces, network = [], classifier.network(seed)
    steps_per_epoch = -(-len(points.train.x) // classifier.batch_size)  # rounded up
    steps = fit(
        network,
        points.train.x,
        points.train.targets,
        BinaryCrossEntropy(),
        SGD(network, classifier.learning_rate),
        classifier.epochs,
        classifier.batch_size,
        np.random.default_rng(seed),  # the order of the examples is that of the first training
    )
    for step, _ in enumerate(steps, start=1):
        epoch, rest = divmod(step, steps_per_epoch)
        if rest == 0 and epoch in epochs:
            data = surface(network, points.test)
            surfaces.append(data | {"epoch": epoch, "accuracy": accuracy(network, points.test)})
    return surfaces
