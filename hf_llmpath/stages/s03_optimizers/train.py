"""Compares the optimizers with torch.optim, and races them on surfaces and images.

The network of the optimizer that is fastest on images becomes the model of the stage.
"""

import json
import math
import statistics
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForImageClassification

from ...convert.numpy_network import to_mlp
from ...data.images import Images, LabeledImages, load_images
from ...models.image_processing_mlp import LLMPathMLPImageProcessor
from ...runs import Goal, Job, Run, add_mean, write_text
from ...scratch import Network, feed_forward
from . import OptimizersSettings
from .descent import OPTIMIZERS, best_rate, path, steps_to_target
from .image_race import ImageRace
from .parity import largest_difference
from .surfaces import SURFACES, Surface

RACES = ("ravine", "tilted_ravine", "rosenbrock")  # the surfaces on which steps are counted
SURFACE_RATES, IMAGE_RATES = (1e-4, 3.2), (3.2e-3, 3.2)  # lowest and highest learning rate
SHOWN = 150  # steps of a path in the picture
GOAL = 1e-10  # largest difference from torch.optim that is allowed


def train(settings: OptimizersSettings, run: Run) -> None:
    """Trains the model and saves it in `run`, with the table of the races and the data of the pictures."""
    images = load_images(settings.dataset, settings.image_column, settings.label_column)
    x, labels = rows(images.train)

    def parity(job: Job) -> dict[str, Any]:
        job.progress.say("comparing with torch.optim")
        return {name: largest_difference(name, x, labels, settings.seed) for name in OPTIMIZERS}

    differences = run.once("parity", parity)
    metrics: dict[str, Any] = {
        f"difference_{kind}": max(row[kind] for row in differences.values()) for kind in ("numpy", "torch")
    }
    table = {
        name: run.once(name, lambda job, name=name: race_on_surface(settings, SURFACES[name], job))
        for name in RACES
    }
    table["images"] = {
        name: run.once(f"images-{name}", lambda job, name=name: race_on_images(settings, images, name, job))
        for name in OPTIMIZERS
    }
    for problem, results in table.items():
        for name, row in results.items():
            add_mean(metrics, f"{problem}/{name}/steps", row["steps"][row["best"]])
            metrics[f"{problem}/{name}/learning_rate"] = row["rates"][row["best"]]
    for name, row in table["images"].items():
        metrics[f"images/{name}/seconds"] = row["seconds_to_target"]
    run.save_figure_data("table", table)
    run.save_figure_data("paths", {name: paths(SURFACES[name], table[name]) for name in RACES})

    fastest = min(table["images"], key=lambda name: metrics[f"images/{name}/steps"])
    job = run.job(f"images-{fastest}")
    model = AutoModelForImageClassification.from_pretrained(job.model_dir)
    size = {"height": images.size, "width": images.size}
    mean, deviation = [images.train.mean], [images.train.std]
    run.save_model(model, LLMPathMLPImageProcessor(size=size, image_mean=mean, image_std=deviation))
    metrics |= {name: job.result[name] for name in ("accuracy", "training_loss", "training_seconds")}
    metrics["parameters"] = model.num_parameters()

    linear = LogisticRegression(max_iter=1000).fit(x, labels)
    baselines = {"accuracy": float(linear.score(*rows(images.held_out)))}
    baselines |= {
        f"{problem}/{name}/steps": metrics[f"{problem}/sgd/steps"]
        for problem in table
        for name in OPTIMIZERS
        if name != "sgd"
    }
    run.report(images.provenance, metrics, baselines, goals(metrics), main="ravine/momentum/steps")


def goals(metrics: dict[str, Any]) -> list[Goal]:
    """Returns the goals of the stage: parity with torch.optim, and fewer steps than gradient descent."""
    sgd = {problem: metrics[f"{problem}/sgd/steps"] for problem in (*RACES, "images")}
    return [
        Goal("difference_numpy", GOAL, higher_is_better=False),
        Goal("difference_torch", GOAL, higher_is_better=False),
        Goal("ravine/momentum/steps", sgd["ravine"] / 2.5, higher_is_better=False),
        Goal("ravine/adam/steps", sgd["ravine"] / 2, higher_is_better=False),
        Goal("rosenbrock/momentum/steps", sgd["rosenbrock"] / 3, higher_is_better=False),
        Goal("rosenbrock/adam/steps", sgd["rosenbrock"] / 3, higher_is_better=False),
        Goal("images/nesterov/steps", sgd["images"], higher_is_better=False),
        Goal("images/adam/steps", sgd["images"], higher_is_better=False),
    ]


def grid(limits: tuple[float, float], per_decade: int) -> list[float]:
    """Returns learning rates, spaced evenly on a logarithmic scale and rounded to two significant digits."""
    low, high = limits
    count = round(math.log10(high / low) * per_decade)
    return [float(f"{low * 10 ** (step / per_decade):.2g}") for step in range(count + 1)]


def race_on_surface(settings: OptimizersSettings, surface: Surface, job: Job) -> dict[str, Any]:
    """Races all optimizers on a surface.

    Returns:
        For each optimizer `rates`, `steps` and `reached` (both by rate and seed), and `best`, the index of
        the best rate.
    """
    job.progress.say(f"racing on {surface.title}")
    rates = grid(SURFACE_RATES, settings.surface_rates_per_decade)
    starts, results = surface.starts(settings.seeds, settings.seed), {}
    for name in OPTIMIZERS:
        steps, reached = steps_to_target(surface, name, starts, rates, settings.surface_steps)
        best = best_rate(steps, reached)
        results[name] = {"rates": rates, "steps": steps.tolist(), "reached": reached.tolist(), "best": best}
    return results


def paths(surface: Surface, results: dict[str, Any]) -> dict[str, Any]:
    """Returns the first steps of each optimizer from the start of the surface, at its best rate."""
    return {
        name: np.round(path(surface, name, surface.start, row["rates"][row["best"]], SHOWN), 5).tolist()
        for name, row in results.items()
    }


def race_on_images(settings: OptimizersSettings, images: Images, name: str, job: Job) -> dict[str, Any]:
    """Races one optimizer on the images, and saves the network of the first seed at the best rate.

    That network trains for all steps, whether or not it reaches the target earlier.

    Returns:
        `rates`, `steps`, `reached`, and `best` as in `race_on_surface`; the time to the target; and the
        course and the measurements of the saved network.
    """
    race = ImageRace(*rows(images.train), settings.target_loss, settings.max_steps, settings.batch_size)
    rates = grid(IMAGE_RATES, settings.rates_per_decade)
    seeds = range(settings.seed, settings.seed + settings.seeds)

    def network(seed: int) -> Network:  # every optimizer starts from the same weights
        sizes = (images.size**2, settings.hidden_size, len(images.classes))
        return feed_forward(sizes, "relu", np.random.default_rng(seed))

    steps, reached, seconds, done = [], [], [], 0
    with job.progress.task(job.name, len(rates) * len(seeds) * settings.max_steps) as task:
        for rate in rates:
            attempts = []
            for seed in seeds:
                tell = lambda step, loss, done=done: task.update(done + step, loss=loss)  # noqa: E731
                attempts.append(race.attempt(network(seed), name, rate, seed, each_check=tell))
                done += settings.max_steps
            # An attempt that did not reach the target counts with all its steps.
            steps.append([attempt.reached or settings.max_steps for attempt in attempts])
            reached.append([attempt.reached is not None for attempt in attempts])
            seconds.append(statistics.fmean(a.seconds[-1] if a.seconds else 0.0 for a in attempts))
        best = best_rate(np.array(steps), np.array(reached))
        course = race.attempt(network(settings.seed), name, rates[best], settings.seed, to_the_end=True)
    history = [{"step": step, "loss": loss} for step, loss in zip(course.steps, course.losses, strict=True)]
    write_text(job.folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in history))
    classes = dict(enumerate(images.classes))
    label2id = {label: index for index, label in classes.items()}
    job.save_model(to_mlp(course.network, image_size=images.size, id2label=classes, label2id=label2id))
    x, truth = rows(images.held_out)
    return {
        "rates": rates,
        "steps": steps,
        "reached": reached,
        "best": best,
        "seconds_to_target": seconds[best],
        "course": {"step": course.steps, "loss": course.losses, "seconds": course.seconds},
        # (images, classes) -> (images,)
        "accuracy": float((course.network.predict(x).argmax(axis=1) == truth).mean()),
        "training_loss": course.losses[-1],
        "training_seconds": course.seconds[-1],
    }


def rows(images: LabeledImages) -> tuple[np.ndarray, np.ndarray]:
    """Returns the standardized pixels with an image per row, `(images, pixels)`, and labels `(images,)`."""
    # (images, 1, height, width) -> (images, pixels)
    return images[:]["pixel_values"].flatten(1).numpy(), images.labels
