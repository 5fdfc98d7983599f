"""The loop written out with Accelerate: it is the loop that one would write by hand, however it is run."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
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
from hf_llmpath.runs import Job, Run
from hf_llmpath.training.accelerate_loop import (
    LoopRecipe,
    ShuffledBatches,
    adamw,
    constant,
    cosine,
    one_cycle,
    train_with_accelerate,
)
from tests.support.small import IDENTITY, KillAt, Killed, same, weights_of

ROOT = Path(__file__).parents[2]
RECIPE = LoopRecipe(epochs=3, batch_size=32, learning_rate=3e-3, weight_decay=0.1, max_grad_norm=1.0)


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


def fit(tmp_path, recipe=RECIPE, model=None, progress=None, name="job", resume=False, seed=3, data=None):
    run = Run.start(tmp_path / "04-deep-networks", IDENTITY, resume, progress)
    model = model or model_of()
    train, held_out = data or images()
    result = train_with_accelerate(model, train, held_out, recipe, run.job(name), seed, scores)
    return model, result, run.job(name)


def by_hand(recipe, model, seed=3):
    """The same training without Accelerate."""
    train, _ = images()
    steps_per_epoch = len(train) // recipe.batch_size
    optimizer, losses = adamw(model.parameters(), recipe.learning_rate, recipe.weight_decay), []
    order = ShuffledBatches(len(train), recipe.batch_size, steps_per_epoch, seed)
    for epoch in range(recipe.epochs):
        order.epoch = epoch
        for rows in order:
            done = len(losses) / (recipe.epochs * steps_per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * recipe.schedule(done)
            loss = model(**train[rows]).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            losses.append(loss.item())
    return losses


def test_it_is_the_loop_by_hand(tmp_path):
    model, result, job = fit(tmp_path)
    reference = model_of()
    losses = by_hand(RECIPE, reference)
    assert same(weights_of(model), weights_of(reference))
    history = [json.loads(line) for line in (job.folder / "history.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in history if "loss" in row] == pytest.approx(losses)
    assert result.steps == len(losses) == 12
    assert all(row["grad_norm"] > 0 for row in history if "loss" in row)


def test_evaluation_counts_every_example_once(tmp_path):
    model, result, _ = fit(tmp_path, replace(RECIPE, evaluations=3))
    _, held_out = images()
    batch = held_out[:]
    expected = scores(model(batch["pixel_values"]).logits, batch["labels"])
    assert [row["epoch"] for row in result.evaluations] == [1, 2, 3]
    assert result.evaluations[-1]["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert result.evaluations[-1]["accuracy"] == pytest.approx(expected["accuracy"])


def test_every_epoch_has_a_new_order_of_all_rows():
    order = ShuffledBatches(40, 10, 4, seed=1)
    first = list(order)
    order.epoch = 1
    second = list(order)
    assert sorted(sum(first, [])) == sorted(sum(second, [])) == list(range(40))
    assert first != second
    order.first = 2
    assert list(order) == second[2:]


def test_accumulated_pieces_are_one_batch(tmp_path):
    whole, one, _ = fit(tmp_path / "whole")
    pieces, four, _ = fit(tmp_path / "pieces", replace(RECIPE, accumulation=4))
    assert one.steps == four.steps
    for name, value in weights_of(whole).items():
        torch.testing.assert_close(weights_of(pieces)[name], value, rtol=0, atol=2e-5)


def test_mixed_precision_learns_the_same_within_its_rounding(tmp_path):
    _, exact, _ = fit(tmp_path / "no")
    model, rounded, _ = fit(tmp_path / "bf16", replace(RECIPE, mixed_precision="bf16"))
    assert model.dtype is torch.float32
    assert rounded.evaluations[-1]["loss"] == pytest.approx(exact.evaluations[-1]["loss"], rel=0.05)
    assert rounded.evaluations[-1]["loss"] != exact.evaluations[-1]["loss"]


def noisy(pixel_values, generator):
    return pixel_values + 0.1 * torch.randn(pixel_values.shape, generator=generator)


@pytest.mark.parametrize("at", [5, 8])
def test_resume_ends_with_the_same_weights_bit_for_bit(tmp_path, at):
    recipe = replace(RECIPE, saves=3, augment=noisy, evaluations=3, keep_best=True)
    options = {"dropout": 0.3, "normalization": "batch"}
    whole, full, _ = fit(tmp_path / "whole", recipe, model_of(**options))
    with pytest.raises(Killed):
        fit(tmp_path / "killed", recipe, model_of(**options), progress=KillAt(at))
    again, resumed, job = fit(tmp_path / "killed", recipe, model_of(**options), resume=True)
    assert same(weights_of(whole), weights_of(again))
    assert resumed.evaluations == full.evaluations
    history = (job.folder / "history.jsonl").read_text()
    assert history == (tmp_path / "whole/04-deep-networks/checkpoints/parts/job/history.jsonl").read_text()


def test_ctrl_c_leaves_a_checkpoint_from_which_it_goes_on(tmp_path):
    class Interrupt(KillAt):
        def update(self, step, **values):
            if step == self.at:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)

    assert threading.current_thread() is threading.main_thread()
    whole, _, _ = fit(tmp_path / "whole")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "stopped", progress=Interrupt(7))
    assert signal.getsignal(signal.SIGINT) is before
    (checkpoint,) = (tmp_path / "stopped/04-deep-networks/checkpoints/parts/job").glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-7"
    again, _, _ = fit(tmp_path / "stopped", resume=True)
    assert same(weights_of(whole), weights_of(again))


def test_a_gradient_that_is_not_finite_stops_it(tmp_path):
    model = model_of(hidden_act="linear")
    recipe = replace(RECIPE, learning_rate=1e30, schedule=constant, max_grad_norm=None, weight_decay=0.0)
    with pytest.raises(
        UserError, match=r"not finite at step (\d+); .*--set learning_rate=3e\+29; .* in .*last_finite"
    ):
        fit(tmp_path, recipe, model)
    assert all(torch.isfinite(value).all() for value in weights_of(model).values())
    kept = tmp_path / "04-deep-networks/checkpoints/parts/job/last_finite"
    saved = LLMPathMLPForImageClassification.from_pretrained(kept)
    assert same(weights_of(saved), weights_of(model))


def test_best_weights_and_patience(tmp_path):
    """A rate that ruins what was learned: the best evaluation is an early one, and its weights are what
    is left.
    """

    def ruin(progress):
        return 1.0 if progress < 0.3 else 300.0

    recipe = replace(RECIPE, epochs=10, schedule=ruin, evaluations=10, keep_best=True, patience=3)
    model, result, _ = fit(tmp_path, recipe)
    losses = [row["loss"] for row in result.evaluations]
    assert result.best == losses.index(min(losses)) and len(losses) == result.best + 4 < 10
    batch = images()[1][:]
    assert scores(model(batch["pixel_values"]).logits, batch["labels"])["loss"] == pytest.approx(
        min(losses), rel=1e-5
    )


def test_hooks(tmp_path):
    made = []

    def sgd(parameters, learning_rate, weight_decay):
        made.append((learning_rate, weight_decay))
        return torch.optim.SGD(parameters, learning_rate, momentum=0.9, weight_decay=weight_decay)

    def limit(model):
        max_norm_([layer.linear.weight for layer in model.model.layers], 0.5)

    model, _, _ = fit(tmp_path, replace(RECIPE, optimizer=sgd, after_step=limit))
    assert made == [(3e-3, 0.1)]
    for layer in model.model.layers:
        assert layer.linear.weight.norm(dim=1).max() <= 0.5 + 1e-6


def test_schedules():
    assert one_cycle(0) == pytest.approx(0.04) and one_cycle(0.3) == pytest.approx(1) and one_cycle(1) == 0
    assert cosine(0) == 1 and cosine(0.5) == pytest.approx(0.5) and cosine(1) == pytest.approx(0)
    rising = [one_cycle(k / 100) for k in range(101)]
    assert rising.index(max(rising)) == 30 and all(math.isfinite(value) for value in rising)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 1000}, "150 examples do not fill a batch of 1000; lower batch_size"),
        ({"accumulation": 5}, "batch_size 32 does not divide into 5 pieces"),
    ],
)
def test_what_does_not_fit(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        fit(tmp_path, replace(RECIPE, **changes))


def test_waiting_for_data_is_measured(tmp_path):
    class Slow(LabeledImages):
        def __getitem__(self, rows):
            time.sleep(0.02)
            return super().__getitem__(rows)

        __getitems__ = __getitem__

    train, held_out = images()
    _, quick, _ = fit(tmp_path / "quick")
    slow = Slow(train.pixels, train.labels, train.mean, train.std)
    _, waiting, _ = fit(tmp_path / "slow", data=(slow, held_out))
    assert quick.data_share < waiting.data_share
    assert waiting.data_share > 0.4


PROGRAM = """
import os, sys
from pathlib import Path
import torch.distributed as dist
from safetensors.torch import save_file
from hf_llmpath.runs import NoProgress, Job
from tests.support.fit_in_processes import InFolder
from tests.support.small import KillAt, Killed
from tests.training.test_accelerate_loop import LONG, RECIPE, images, model_of, noisy, replace, scores, weights_of
from hf_llmpath.training.accelerate_loop import train_with_accelerate
from hf_llmpath.training.distributed.workers import leave_group

folder = Path(sys.argv[1])

def train(name, recipe, progress=None, **options):
    (folder / name).mkdir(exist_ok=True)
    job, model = Job(folder / name, "job", progress), model_of(**options)
    train_with_accelerate(model, *images(), recipe, job, 3, scores)
    if os.environ["RANK"] == "0":
        weights = {name: value.contiguous() for name, value in weights_of(model).items()}
        save_file(weights, folder / name / "weights.safetensors")

train("two", replace(RECIPE, evaluations=3))
train("whole", LONG, dropout=0.3)
try:
    train("killed", LONG, KillAt(60), dropout=0.3)
except Killed:
    dist.barrier()
train("killed", LONG, dropout=0.3)
leave_group()
"""
LONG = replace(
    RECIPE, epochs=30, batch_size=16, saves=6, augment=noisy
)  # 270 steps: not each is in the history


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    from safetensors.torch import load_file

    one, result, job = fit(tmp_path / "one", replace(RECIPE, evaluations=3))
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    two = tmp_path / "two"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(script),
    ]
    done = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    weights = load_file(two / "weights.safetensors")
    for name, value in weights_of(one).items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=2e-5)
    rows = [
        [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        for folder in (job.folder, two)
    ]
    assert len(rows[0]) == len(rows[1])
    for first, second in zip(*rows, strict=True):
        assert first.keys() == second.keys()
        for name in first:
            assert second[name] == pytest.approx(first[name], abs=2e-4), name
    for file in ("weights.safetensors", "history.jsonl"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    saved = {path: path.read_bytes() for path in (tmp_path / "killed").rglob("*") if path.is_file()}
    job = Run.start(tmp_path / "run", IDENTITY), Job(tmp_path / "killed", "job")
    with pytest.raises(UserError, match="was written by 2 processes and cannot go on in 1"):
        train_with_accelerate(model_of(dropout=0.3), *images(), LONG, job, 3, scores)
    assert {path: path.read_bytes() for path in (tmp_path / "killed").rglob("*") if path.is_file()} == saved
