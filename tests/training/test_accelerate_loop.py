"""The bare Accelerate loop and the training of image classifiers by it: it is the loop that one would write
by hand, however it is run.
"""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hf_llmpath.data.images import LabeledImages, load_images
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_mlp import LLMPathMLPConfig
from hf_llmpath.models.layers_regularization import max_norm_
from hf_llmpath.models.modeling_mlp import LLMPathMLPForImageClassification
from hf_llmpath.runs import Job
from hf_llmpath.training.accelerate_loop import PieceSampler
from hf_llmpath.training.recipe import EpochRecipe, Recipe, adamw, one_cycle
from hf_llmpath.training.recipes.image_classifier import ImageRegularizers, train_image_classifier
from tests.support.small import same, weights_of

ROOT = Path(__file__).parents[2]
RECIPE = EpochRecipe(3, 32, 3e-3).recipe(150, weight_decay=0.1, max_grad_norm=1.0)


def scores(logits, labels):
    return {
        "loss": F.cross_entropy(logits, labels).item(),
        "accuracy": (logits.argmax(1) == labels).float().mean().item(),
    }


def images(count=150):
    digits = load_images("digits")
    return digits.train.part(np.arange(count)), digits.held_out.part(np.arange(70))


def model_of(**changes):
    torch.manual_seed(0)
    return LLMPathMLPForImageClassification(
        LLMPathMLPConfig(image_size=8, hidden_sizes=[24, 24], num_labels=10, **changes)
    )


PLAIN = ImageRegularizers()


def fit(tmp_path, recipe=RECIPE, model=None, data=None, regularizers=PLAIN, metrics=scores):
    tmp_path.mkdir(exist_ok=True)
    model, job, (train, held_out) = model or model_of(), Job(tmp_path, "job"), data or images()
    return model, train_image_classifier(model, train, held_out, recipe, job, 3, metrics, regularizers)


def history_in(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def by_hand(recipe: Recipe, model, seed=3):
    """The same training without Accelerate."""
    train, _ = images()
    optimizer, losses = adamw(model.parameters(), recipe.learning_rate, recipe.weight_decay), []
    for step, rows in enumerate(PieceSampler(len(train), recipe, seed)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * one_cycle(step / recipe.steps)
        loss = model(**train[rows]).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_it_is_the_loop_by_hand(tmp_path):
    model, result = fit(tmp_path)
    reference = model_of()
    losses = by_hand(RECIPE, reference)
    assert same(weights_of(model), weights_of(reference))
    rows = [row for row in history_in(tmp_path) if "loss" in row]
    assert [row["loss"] for row in rows] == pytest.approx(losses)
    assert result.steps == len(losses) == 12
    assert all(row["grad_norm"] > 0 for row in rows)


def test_evaluation_counts_every_example_once(tmp_path):
    model, result = fit(tmp_path, replace(RECIPE, evaluations=3))
    _, held_out = images()
    batch = held_out[:]
    expected = scores(model(batch["pixel_values"]).logits, batch["labels"])
    assert [row["epoch"] for row in result.evaluations] == [1, 2, 3]
    assert result.evaluations[-1]["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert result.evaluations[-1]["accuracy"] == pytest.approx(expected["accuracy"])


def test_every_epoch_has_a_new_order_of_all_rows():
    recipe = Recipe(8, 10, 1e-3)
    order = PieceSampler(40, recipe, seed=1)
    pieces = list(order)
    first, second = pieces[:4], pieces[4:]
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(40))
    assert first != second
    order.first = 6
    assert list(order) == second[2:]
    assert list(PieceSampler(40, recipe))[:2] == [list(range(10)), list(range(10, 20))]


@pytest.mark.slow
def test_accumulated_pieces_are_one_batch(tmp_path):
    whole, one = fit(tmp_path / "whole")
    pieces, four = fit(tmp_path / "pieces", replace(RECIPE, accumulation=4))
    assert one.steps == four.steps
    for name, value in weights_of(whole).items():
        torch.testing.assert_close(weights_of(pieces)[name], value, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_mixed_precision_learns_the_same_within_its_rounding(tmp_path):
    _, exact = fit(tmp_path / "no")
    model, rounded = fit(tmp_path / "bf16", replace(RECIPE, bf16=True))
    assert model.dtype is torch.float32
    assert rounded.evaluations[-1]["loss"] == pytest.approx(exact.evaluations[-1]["loss"], rel=0.05)
    assert rounded.evaluations[-1]["loss"] != exact.evaluations[-1]["loss"]


def noisy(pixel_values, generator):
    return pixel_values + 0.1 * torch.randn(pixel_values.shape, generator=generator)


def test_a_gradient_that_is_not_finite_leaves_the_last_finite_weights(tmp_path):
    model = model_of(hidden_act="linear")
    recipe = replace(RECIPE, learning_rate=1e30, schedule="constant", max_grad_norm=None, weight_decay=0.0)
    with pytest.raises(UserError, match=r"not finite at step (\d+); .* in .*last_finite"):
        fit(tmp_path, recipe, model)
    assert all(torch.isfinite(value).all() for value in weights_of(model).values())
    saved = LLMPathMLPForImageClassification.from_pretrained(tmp_path / "last_finite")
    assert same(weights_of(saved), weights_of(model))


def test_best_weights_and_patience(tmp_path):
    losses, seen = iter([3.0, 2.0, 1.0, 1.5, 1.4, 1.3, 0.1]), []
    recipe = replace(RECIPE, steps=40, evaluations=10, keep_best=True, patience=3)
    model = model_of()

    def measure(logits, labels):
        seen.append(weights_of(model))
        return {"loss": next(losses)}

    _, result = fit(tmp_path, recipe, model, metrics=measure)
    assert result.best == 2 and len(result.evaluations) == 6 and result.steps == 24
    assert same(weights_of(model), seen[2]) and not same(seen[2], seen[5])


def test_weights_are_constrained_after_each_step(tmp_path):
    def limit(model):
        max_norm_([layer.linear.weight for layer in model.model.layers], 0.5)

    model, _ = fit(tmp_path, regularizers=ImageRegularizers(constrain=limit))
    for layer in model.model.layers:
        assert layer.linear.weight.norm(dim=1).max() <= 0.5 + 1e-6


def test_one_cycle_rises_and_falls():
    assert one_cycle(0) == pytest.approx(0.04) and one_cycle(0.3) == pytest.approx(1) and one_cycle(1) == 0
    rates = [one_cycle(k / 100) for k in range(101)]
    assert rates.index(max(rates)) == 30 and all(math.isfinite(value) for value in rates)


def test_batches_that_do_not_fit_are_smaller_or_refused():
    assert EpochRecipe(3, 1000, 1e-3).recipe(150).batch_size == 150  # a small data set is one batch
    with pytest.raises(UserError, match="batch_size 32 does not divide into 5 pieces"):
        replace(RECIPE, accumulation=5)


@pytest.mark.slow
def test_waiting_for_data_is_measured(tmp_path):
    class Slow(LabeledImages):
        def __getitem__(self, rows):
            time.sleep(0.02)
            return super().__getitem__(rows)

        __getitems__ = __getitem__

    train, held_out = images()
    _, quick = fit(tmp_path / "quick")
    slow = Slow(train.pixels, train.labels, train.mean, train.std)
    _, waiting = fit(tmp_path / "slow", data=(slow, held_out))
    assert quick.data_share < waiting.data_share
    assert waiting.data_share > 0.4


PROGRAM = """
import os, sys
from pathlib import Path
import torch.distributed as dist
from safetensors.torch import save_file
from hf_llmpath.runs import Job
from tests.support.small import KillAt, Killed
from tests.training.test_accelerate_loop import LONG, NOISY, RECIPE, images, model_of, replace
from tests.training.test_accelerate_loop import scores, weights_of
from hf_llmpath.training.recipes.image_classifier import train_image_classifier
from hf_llmpath.training.distributed.workers import leave_group

folder = Path(sys.argv[1])

def train(name, recipe, progress=None, **options):
    (folder / name).mkdir(exist_ok=True)
    job, model = Job(folder / name, "job", progress), model_of(**options)
    train_image_classifier(model, *images(), recipe, job, 3, scores, NOISY)
    if os.environ["RANK"] == "0":
        weights = {name: value.contiguous() for name, value in weights_of(model).items()}
        save_file(weights, folder / name / "weights.safetensors")

train("whole", LONG, dropout=0.3)
try:
    train("killed", LONG, KillAt(60), dropout=0.3)
except Killed:
    dist.barrier()
train("killed", LONG, dropout=0.3)
from tests.training.test_accelerate_loop import ImageRegularizers
NOISY = ImageRegularizers()
train("two", replace(RECIPE, evaluations=3))
leave_group()
"""
LONG = EpochRecipe(30, 16, 3e-3).recipe(150, weight_decay=0.1, max_grad_norm=1.0, saves=6)  # 270 steps
NOISY = ImageRegularizers(noisy)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    from safetensors.torch import load_file

    one, _ = fit(tmp_path / "one", replace(RECIPE, evaluations=3))
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    two = tmp_path / "two"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    weights = load_file(two / "weights.safetensors")
    for name, value in weights_of(one).items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=2e-5)
    rows = [history_in(folder) for folder in (tmp_path / "one", two)]
    assert len(rows[0]) == len(rows[1])
    for first, second in zip(*rows, strict=True):
        assert first.keys() == second.keys()
        for name in first:
            assert second[name] == pytest.approx(first[name], abs=2e-4), name
    for file in ("weights.safetensors", "history.jsonl"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
