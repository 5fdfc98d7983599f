"""Proves the optimizers equal to torch.optim, lets them race on surfaces and images, and keeps the
fastest's network.
"""

import json
import math
import statistics
from typing import Any

import numpy as np
from transformers import AutoModelForImageClassification

from ...convert.numpy_network import to_mlp
from ...data.images import Images, LabeledImages, load_images
from ...models.image_processing_mlp import LLMPathMLPImageProcessor
from ...runs import Goal, Run, add_mean, write_text
from ...scratch import Network, feed_forward
from . import OptimizersSettings
from .descent import OPTIMIZERS, best_rate, path, steps_to_target
from .parity import largest_difference
from .racing import attempt
from .surfaces import SURFACES, Surface

RACES = ("ravine", "tilted_ravine", "rosenbrock")  # the surfaces that are measured
SURFACE_RATES, IMAGE_RATES = (1e-4, 3.2), (3.2e-3, 3.2)  # lowest and highest
SHOWN = 150  # steps of a path in the picture
GOAL = 1e-10  # largest difference from torch.optim


def train(settings: OptimizersSettings, run: Run) -> None:
    """Fills `run` with the model, the table, and what the pictures are drawn from."""
    images = load_images(settings.dataset, settings.image_column, settings.label_column)
    metrics = parity(settings, run, images)
    table = {name: surface_race(settings, run, SURFACES[name]) for name in RACES}
    table["images"] = {name: image_race(settings, run, images, name) for name in OPTIMIZERS}
    for problem, found in table.items():
        for name, row in found.items():
            add_mean(metrics, f"{problem}/{name}/steps", row["steps"][row["best"]])
            metrics[f"{problem}/{name}/learning_rate"] = row["rates"][row["best"]]
    for name, row in table["images"].items():
        metrics[f"images/{name}/seconds"] = row["seconds_to_target"]
    run.save_figure_data("table", table)
    run.save_figure_data("paths", {name: paths(SURFACES[name], table[name]) for name in RACES})

    fastest = min(table["images"], key=lambda name: metrics[f"images/{name}/steps"])
    job = run.job(f"images-{fastest}")
    model = AutoModelForImageClassification.from_pretrained(job.model_dir)
    run.save_model(model, processor(images))
    metrics |= {name: job.result[name] for name in ("accuracy", "training_loss", "training_seconds")}
    metrics["parameters"] = model.num_parameters()

    baselines = {"accuracy": logistic_regression(images)}
    for problem in table:
        for name in OPTIMIZERS:
            if name != "sgd":
                baselines[f"{problem}/{name}/steps"] = metrics[f"{problem}/sgd/steps"]
    run.report(images.provenance, metrics, baselines, goals(metrics), main="ravine/momentum/steps")


def goals(metrics: dict[str, Any]) -> list[Goal]:
    """What the stage promises: equality with torch.optim, and fewer steps than plain gradient descent."""
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


def parity(settings: OptimizersSettings, run: Run, images: Images) -> dict[str, Any]:
    """Largest differences from torch.optim, over all rules and for each."""
    job = run.job("parity")
    if not job.done:
        run.progress.say("comparing with torch.optim")
        x, labels = rows(images.train)
        job.finish({name: largest_difference(name, x, labels, settings.seed) for name in OPTIMIZERS})
    found = job.result
    return {
        f"difference_{kind}": max(of_one[kind] for of_one in found.values()) for kind in ("numpy", "torch")
    }


def grid(limits: tuple[float, float], per_decade: int) -> list[float]:
    """Learning rates from the lowest to the highest, evenly on a logarithmic scale, rounded to two digits."""
    low, high = limits
    count = round(math.log10(high / low) * per_decade)
    return [float(f"{low * 10 ** (step / per_decade):.2g}") for step in range(count + 1)]


def surface_race(settings: OptimizersSettings, run: Run, surface: Surface) -> dict[str, Any]:
    """For each optimizer: `rates`, `steps` and `reached` by rate and seed, and the index of the `best` rate."""
    job = run.job(surface.name)
    if job.done:
        return job.result
    run.progress.say(f"racing on {surface.title}")
    rates = grid(SURFACE_RATES, settings.surface_rates_per_decade)
    starts, found = surface.starts(settings.seeds, settings.seed), {}
    for name in OPTIMIZERS:
        steps, reached = steps_to_target(surface, name, starts, rates, settings.surface_steps)
        best = best_rate(steps, reached)
        found[name] = {"rates": rates, "steps": steps.tolist(), "reached": reached.tolist(), "best": best}
    return job.finish(found)


def paths(surface: Surface, rows: dict[str, Any]) -> dict[str, Any]:
    """The first steps of each optimizer from the surface's own start, at its best rate."""
    return {
        name: np.round(path(surface, name, surface.start, row["rates"][row["best"]], SHOWN), 5).tolist()
        for name, row in rows.items()
    }


def image_race(settings: OptimizersSettings, run: Run, images: Images, name: str) -> dict[str, Any]:
    """The same on the images, and the whole course of the first seed at the best rate: its network is kept."""
    job = run.job(f"images-{name}")
    if job.done:
        return job.result
    rates = grid(IMAGE_RATES, settings.rates_per_decade)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    common = (*rows(images.train), settings.target_loss, settings.max_steps, settings.batch_size)
    steps, reached, seconds, done = [], [], [], 0
    with run.progress.task(job.name, len(rates) * len(seeds) * settings.max_steps) as task:
        for rate in rates:
            tries = []
            for seed in seeds:
                tell = lambda step, loss, done=done: task.update(done + step, loss=loss)  # noqa: E731
                tries.append(
                    attempt(new_network(images, settings, seed), name, rate, *common, seed, each_check=tell)
                )
                done += settings.max_steps
            steps.append([found.reached or settings.max_steps for found in tries])
            reached.append([found.reached is not None for found in tries])
            seconds.append(statistics.fmean(found.seconds[-1] if found.seconds else 0.0 for found in tries))
        best = best_rate(np.array(steps), np.array(reached))
        course = attempt(
            new_network(images, settings, settings.seed),
            name,
            rates[best],
            *common,
            settings.seed,
            to_the_end=True,
        )
    history = [{"step": step, "loss": loss} for step, loss in zip(course.steps, course.losses, strict=True)]
    write_text(job.folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in history))
    x, truth = rows(images.held_out)
    result = {
        "rates": rates,
        "steps": steps,
        "reached": reached,
        "best": best,
        "seconds_to_target": seconds[best],
        "course": {"step": course.steps, "loss": course.losses, "seconds": course.seconds},
        "accuracy": float((course.network.predict(x).argmax(axis=1) == truth).mean()),
        "training_loss": course.losses[-1],
        "training_seconds": course.seconds[-1],
    }
    names = dict(enumerate(images.classes))
    labels = {"id2label": names, "label2id": {name: label for label, name in names.items()}}
    return job.finish(result, to_mlp(course.network, image_size=images.size, **labels))


def rows(images: LabeledImages) -> tuple[np.ndarray, np.ndarray]:
    """The standardized pixels of each image as a row, and the labels."""
    return images[:]["pixel_values"].flatten(1).numpy(), images.labels


def new_network(images: Images, settings: OptimizersSettings, seed: int) -> Network:
    """One hidden layer of ReLU units; every optimizer starts from the same one."""
    return feed_forward(
        (images.size**2, settings.hidden_size, len(images.classes)), "relu", np.random.default_rng(seed)
    )


def processor(images: Images) -> LLMPathMLPImageProcessor:
    """From an image to the numbers that the network was trained on."""
    size = {"height": images.size, "width": images.size}
    return LLMPathMLPImageProcessor(size=size, image_mean=[images.train.mean], image_std=[images.train.std])


def logistic_regression(images: Images) -> float:
    """Accuracy of scikit-learn's linear classifier on the held-out images."""
    from sklearn.linear_model import LogisticRegression

    return float(LogisticRegression(max_iter=1000).fit(*rows(images.train)).score(*rows(images.held_out)))
