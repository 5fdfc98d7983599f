"""Checks every gradient, unrolls two spirals by gradient descent, and compares learning rates until they
diverge.
"""

from typing import Any

import numpy as np

from ...data.points import SHAPES, PointSets, load_points
from ...runs import Goal, Job, Run
from ...scratch import SGD, BinaryCrossEntropy, Loss, MeanSquaredError, fit
from .gradient_check import relative_error
from ...training.numpy_loop import Examples, fit_numpy
from ...training.recipes.plane import (
    Plan,
    accuracy,
    differences,
    linear_accuracy,
    save_classifier,
    surface,
    train_classifier,
)
from . import BackpropagationSettings, example
from .gradient_checks import autograd_errors, gradient_errors

LOSSES: dict[str, type[Loss]] = {"cross-entropy": BinaryCrossEntropy, "squared error": MeanSquaredError}
CHECKED_SEEDS = 3  # random networks per layer and loss


def train(settings: BackpropagationSettings, run: Run) -> None:
    """Fills `run` with the model, its numbers and what the pictures are drawn from."""
    columns = {name: getattr(settings, f"{name}_column") for name in ("x1", "x2", "label")}
    points = load_points(settings.dataset, settings.points, settings.noise, settings.seed, columns)
    checks = check_every_gradient(settings, run)
    by_hand = check_the_example()

    plan = Plan(
        settings.hidden_sizes,
        settings.activation,
        settings.learning_rate,
        settings.epochs,
        settings.batch_size,
    )
    name = settings.dataset if settings.dataset in SHAPES else "points"
    seeds = range(settings.seed, settings.seed + settings.seeds)
    trained = [
        train_classifier(points.train, points.test, plan, run, f"{name}-{seed}", seed) for seed in seeds
    ]
    network, first = trained[0]
    folder = save_classifier(network, run)
    equal = differences(network, folder, points.test.x)
    scores = [result["accuracy"] for _, result in trained]
    sweep = compare_rates(settings, points, run)

    stopped = [found for found in sweep["squared error"] if found["diverged_at"] is not None]
    finite = [found for found in sweep["cross-entropy"] if found["diverged_at"] is None]
    metrics: dict[str, Any] = {"accuracy": float(np.mean(scores))}
    if settings.seeds > 1:
        metrics |= {"accuracy_sd": float(np.std(scores, ddof=1)), "accuracy_seeds": scores}
    metrics |= {
        **{key: first[key] for key in ("loss", "train_loss", "train_accuracy", "parameters")},
        "training_seconds": sum(result["seconds"] for _, result in trained),
        "gradients/central_difference_error": max(row["central_difference"] for row in checks),
        "gradients/autograd_error": max(row["autograd"] for row in checks),
        "gradients/hand_example_error": by_hand,
        "learning_rates/diverged": len(stopped),
        **({"learning_rates/best": min(finite, key=lambda found: found["loss"])["rate"]} if finite else {}),
        "largest_difference_float32": equal["float32"],
        "largest_difference_float64": equal["float64"],
    }
    linear = linear_accuracy(points.train, points.test)
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
    run.save_figure_data("graph", example.drawing(example.graph()))
    run.save_figure_data("learning_rates", sweep)
    run.save_figure_data("on_the_way", on_the_way(plan, points, settings.seed))
    run.report(points.provenance, metrics, {"accuracy": linear}, goals, main="accuracy")


def check_every_gradient(settings: BackpropagationSettings, run: Run) -> list[dict[str, Any]]:
    """The largest errors of several random networks, for each layer and loss."""
    run.progress.say("checking gradients")
    tables = [gradient_errors(settings.seed + place) for place in range(CHECKED_SEEDS)]
    return [
        {"layer": rows[0]["layer"], "loss": rows[0]["loss"]}
        | {kind: max(row[kind] for row in rows) for kind in ("central_difference", "autograd")}
        for rows in zip(*tables, strict=True)
    ]


def check_the_example() -> float:
    """Largest relative error of the lesson's gradients: scalar graph against layers, and layers against
    autograd.
    """
    import torch

    values, layers = example.graph(), example.layer_gradients()
    of_graph = max(
        relative_error(np.array(values[name].grad), np.array(found)) for name, found in layers.items()
    )
    n = example.NUMBERS
    x, target = np.array([[n["x1"], n["x2"]]]), np.array([[n["t"]]])
    of_layers = autograd_errors(example.network(), MeanSquaredError(), torch.nn.MSELoss(), x, target)
    return max(of_graph, *of_layers.values())


def compare_rates(
    settings: BackpropagationSettings, points: PointSets, run: Run
) -> dict[str, list[dict[str, Any]]]:
    """The same network, trained with each learning rate and each loss, until the epochs are over or the
    loss is not finite.

    Returns:
        By loss, a list with, for each rate: `rate`, `curve` (mean loss of each epoch), `loss` (the last
        of them), `accuracy` on the test points, `steps`, and `diverged_at`, the step of the first loss
        that was not finite.
    """
    sweep: dict[str, list[dict[str, Any]]] = {}
    whole = run.job("learning-rates")
    for name, make in LOSSES.items():
        for rate in settings.rates:
            job = Job(
                whole.folder / f"{name.replace(chr(32), chr(45))}-{rate:g}",
                f"{name}, rate {rate:g}",
                run.progress,
            )
            job.folder.mkdir(parents=True, exist_ok=True)
            found = job.result if job.done else try_rate(settings, points, make(), rate, job)
            sweep.setdefault(name, []).append(found)
    return sweep


def try_rate(
    settings: BackpropagationSettings, points: PointSets, loss: Loss, rate: float, job: Job
) -> dict[str, Any]:
    """One training of the comparison."""
    plan = Plan(settings.hidden_sizes, settings.activation, rate, settings.sweep_epochs, settings.batch_size)
    network = plan.network(settings.seed, "float64")
    examples = Examples(points.train.x, points.train.targets)
    optimizer = SGD(network, rate)
    done = fit_numpy(network, examples, loss, optimizer, job, plan.epochs, plan.batch_size, settings.seed)
    if done.diverged_at is not None:
        job.progress.say(f"{job.name}: {done.advice(rate)}")
    threshold = 0.5 if isinstance(loss, MeanSquaredError) else 0.0
    return job.finish(
        {
            "rate": rate,
            "curve": done.losses,
            "loss": done.losses[-1] if done.losses else None,
            "accuracy": accuracy(network, points.test, threshold),
            "steps": done.steps,
            "diverged_at": done.diverged_at,
        }
    )


def on_the_way(plan: Plan, points: PointSets, seed: int) -> list[dict[str, Any]]:
    """The surface after 1, 10, 30, ... epochs: the training of the first seed once more, watched."""
    shown = sorted({min(plan.epochs, epochs) for epochs in (1, 10, 30, 100, 200, plan.epochs)})
    found, network = [], plan.network(seed)
    per_epoch = -(-len(points.train.x) // plan.batch_size)
    steps = fit(
        network,
        points.train.x,
        points.train.targets,
        BinaryCrossEntropy(),
        SGD(network, plan.learning_rate),
        plan.epochs,
        plan.batch_size,
        np.random.default_rng(seed),
    )
    for step, _ in enumerate(steps, start=1):
        if step % per_epoch == 0 and step // per_epoch in shown:
            seen = {"epoch": step // per_epoch, "accuracy": accuracy(network, points.test)}
            found.append(surface(network, points.test) | seen)
    return found
