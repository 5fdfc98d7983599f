"""Trains a small network on a few digits while somebody watches, with a choice of regularizers."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from ...data.images import Images, load_images
from ...training.recipe import adamw
from .regularized import few_images, measure, with_switches, with_wrong_labels

HIDDEN = (256, 256)
LEARNING_RATE, BATCH = 2e-3, 32
STEPS = 700  # of a training without early stopping, at most
PICTURES = 40  # approximate number of measurements of both errors in a training
PATIENCE = 8  # measurements without a lower validation loss before early stopping stops
EARLY_STOPPING = "early stopping"
SWITCHES: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.5, "input_dropout": 0.2},
    "batch normalization": {"normalization": "batch"},
    "weight decay": {"weight_decay": 5.0},
    "max-norm": {"max_norm": 0.7},
    "label smoothing": {"label_smoothing": 0.1},
    "augmentation": {"augment": True},
    EARLY_STOPPING: {},
}


@dataclass
class Course:
    """A training so far; errors are shares of answers that differ from the label.

    Attributes:
        names: the switches that are on.
        per_class, wrong, seed: the number of images of each digit, the share of wrong labels, and the seed.
        steps, train, test: the step of each measurement, the error on the training images, and the error on
            test images with the same share of wrong labels.
        true: the errors on the test images by their true labels.
        kept: the step whose weights early stopping keeps, or None.
        done: whether the training is over.
    """

    names: tuple[str, ...]
    per_class: int
    wrong: float
    seed: int
    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    true: list[float] = field(default_factory=list)
    kept: int | None = None
    done: bool = False

    @property
    def name(self) -> str:
        return " + ".join(self.names) or "nothing"

    @property
    def conditions(self) -> tuple[int, float, int]:
        """The images and the seed; trainings with the same conditions can be compared."""
        return self.per_class, self.wrong, self.seed

    @property
    def last(self) -> tuple[float, float, float]:
        """The training error, test error, and true error of the weights that are kept, or the last ones."""
        index = self.steps.index(self.kept) if self.kept is not None else -1
        return self.train[index], self.test[index], self.true[index]


@cache
def digits() -> Images:
    """Returns the embedded digits, 8 x 8 pixels, loaded once."""
    return load_images("digits")


def learn(
    names: Sequence[str], per_class: int, wrong: float, seed: int, pause: float = 0.0
) -> Iterator[Course]:
    """Trains a network and yields the same `Course`, brought up to date, after every measurement.

    Args:
        names: the switches that are on, keys of `SWITCHES`.
        per_class: the number of training images of every digit.
        wrong: the share of these images that have a wrong label.
        seed: the seed of the sample, the initial weights, dropout, and distortions.
        pause: the shortest time between two measurements, in seconds.
    """
    images = digits()
    names = tuple(name for name in SWITCHES if name in names)  # in one order, whatever was clicked first
    sample, validation = few_images(images.train, per_class, wrong, seed)
    alike = with_wrong_labels(images.held_out, wrong, seed)
    chosen = with_switches(names, SWITCHES)
    # Dropout draws from the global generator, which the trainings of all open pages share. Each training
    # therefore restores its own state before it continues; `devices=[]` means the CPU alone.
    with torch.random.fork_rng(devices=[]):
        model = chosen.model(images, HIDDEN, seed).train()
        state = torch.get_rng_state()
    optimizer = adamw(model.parameters(), LEARNING_RATE, chosen.weight_decay)
    augment, constrain = chosen.augmentation(sample), chosen.constraint
    generator = torch.Generator().manual_seed(seed)
    course, best = Course(names, per_class, wrong, seed), float("inf")
    every = STEPS // PICTURES
    for step in range(0, STEPS + 1, every):
        began = time.perf_counter()
        if step:
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                for _ in range(every):
                    # `pixel_values` (batch, 1, 8, 8) and `labels` (batch,), drawn with replacement.
                    batch = sample[torch.randint(len(sample), (BATCH,))]
                    if augment is not None:
                        batch["pixel_values"] = augment(batch["pixel_values"], generator)
                    optimizer.zero_grad()
                    logits = model(batch["pixel_values"]).logits
                    cross_entropy(logits, batch["labels"], label_smoothing=chosen.label_smoothing).backward()
                    optimizer.step()
                    if constrain is not None:
                        constrain(model)
                state = torch.get_rng_state()
        course.steps.append(step)
        course.train.append(measure(model, sample)["error"])
        course.test.append(measure(model, alike)["error"])
        course.true.append(measure(model, images.held_out)["error"])
        if EARLY_STOPPING in names:
            loss = measure(model, validation)["loss"]
            if loss < best:
                best, course.kept = loss, step
            if step - course.kept >= PATIENCE * every:
                break
        yield course
        time.sleep(max(0.0, pause - (time.perf_counter() - began)))
    course.done = True
    yield course
