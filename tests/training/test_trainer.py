"""`fit`: what the recipe says happens."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from hf_llmpath.errors import UserError
from hf_llmpath.runs import Run
from hf_llmpath.training.checkpoints import COMPLETE, last_checkpoint
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.trainer import fit
from tests.support.small import IDENTITY, KillAt, Killed, documents, model_of, same, stream, weights_of

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(steps=20, batch_size=4, learning_rate=0.01, carry_state=True)
ON_DOCUMENTS = replace(RECIPE, batch_size=8, carry_state=False)


def trained(run: Run, name: str, recipe: Recipe = RECIPE, dataset=None, seed: int = 0, **options):
    """A new model, the same every time, after training."""
    dataset = dataset or (stream() if recipe.carry_state else documents())
    model = options.pop("model", None) or model_of("lstm", dropout=0.3, num_hidden_layers=2)
    trainer = fit(model, dataset, recipe, run.job(name), seed, **options)
    return model, trainer


@pytest.fixture
def gradients():
    """Every gradient that an optimizer was given, one flat tensor per step."""
    seen: list[torch.Tensor] = []

    def note(optimizer, *_):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        seen.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).clone())

    handle = register_optimizer_step_pre_hook(note)
    yield seen
    handle.remove()


@pytest.mark.slow
def test_clipping_bounds_the_gradient(a_started_run, gradients):
    trained(a_started_run, "free", replace(RECIPE, max_grad_norm=1e9))
    free = list(gradients)
    gradients.clear()
    bound = 0.2 * free[0].norm().item()
    trained(a_started_run, "clipped", replace(RECIPE, max_grad_norm=bound))
    assert len(free) == len(gradients) == RECIPE.steps
    assert all(gradient.norm() <= bound * (1 + 1e-4) for gradient in gradients)
    torch.testing.assert_close(
        gradients[0], free[0] * 0.2, rtol=1e-3, atol=1e-6
    )  # shorter, in the same direction


@pytest.mark.slow
def test_gradients_below_the_bound_are_left_alone(a_started_run, gradients):
    one, _ = trained(a_started_run, "free", replace(RECIPE, max_grad_norm=1e9))
    other, _ = trained(a_started_run, "bounded", replace(RECIPE, max_grad_norm=1e8))
    assert same(weights_of(one), weights_of(other))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_carried_state_reads_on_where_the_window_before_ended(a_started_run, cell):
    dataset = stream(streams=4, length=8, windows=7)
    still = replace(
        RECIPE, learning_rate=0.0, steps=5
    )  # weights that stand still: all windows see the same model
    model, trainer = trained(a_started_run, "five", still, dataset, model=model_of(cell, num_hidden_layers=2))
    with torch.no_grad():
        read = model(dataset.inputs[:, : 5 * 8], use_cache=True)
    for found, expected in zip(trainer._carried.layers, read.cache.layers, strict=True):
        for part, whole in zip(found.state, expected.state, strict=True):
            torch.testing.assert_close(part, whole)
            assert not part.requires_grad  # the gradient ends where the window begins
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    for k, loss in enumerate(losses):
        window = slice(8 * k, 8 * k + 8)
        expected = F.cross_entropy(read.logits[:, window].flatten(0, 1), dataset.targets[:, window].flatten())
        assert loss == pytest.approx(expected.item(), rel=1e-3)
    assert len(losses) == 5


def test_a_new_epoch_starts_from_an_empty_state(a_started_run):
    dataset = stream(windows=3)
    still = replace(RECIPE, learning_rate=0.0, steps=4)
    model, trainer = trained(a_started_run, "four", still, dataset, model=model_of("gru"))
    with torch.no_grad():
        read = model(dataset.inputs[:, :8], use_cache=True)
    torch.testing.assert_close(trainer._carried.layers[0].state[0], read.cache.layers[0].state[0])


def test_training_lowers_the_loss_and_writes_history(a_started_run):
    _, trainer = trained(
        a_started_run, "part", replace(RECIPE, steps=120), stream(windows=30), tokens_per_step=32
    )
    rows = [
        json.loads(line)
        for line in (a_started_run.job("part").folder / "history.jsonl").read_text().splitlines()
    ]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert rows == trainer.state.log_history
    assert losses[-1] < losses[0] - 0.3
    assert not trainer.model.training


@pytest.mark.slow
def test_a_checkpoint_that_was_not_written_to_the_end_is_passed_over(a_started_run, tmp_path):
    whole, _ = trained(a_started_run, "whole")
    run = Run.start(tmp_path / "killed", IDENTITY, progress=KillAt(19))
    with pytest.raises(Killed):
        trained(run, "part")
    folder = run.job("part").folder
    newest = last_checkpoint(folder)
    (newest / COMPLETE).unlink()
    (newest / "model.safetensors").write_bytes(b"torn")
    assert int(last_checkpoint(folder).name.split("-")[1]) < int(newest.name.split("-")[1])
    model, _ = trained(Run.start(tmp_path / "killed", IDENTITY, resume=True), "part")
    assert same(weights_of(model), weights_of(whole))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [RECIPE, ON_DOCUMENTS], ids=["stream", "documents"])
def test_the_seed_decides(a_started_run, recipe):
    one, again, other = (
        weights_of(trained(a_started_run, name, recipe, seed=seed)[0])
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert same(one, again)
    assert not same(one, other)


def test_early_stopping_keeps_the_best_weights(a_started_run):
    losses, kept = iter([3.0, 2.0, 2.5, 2.6, 1.0]), []

    def evaluate(model):
        assert not model.training
        kept.append(weights_of(model))
        return {"loss": next(losses)}

    recipe = replace(RECIPE, evaluations=10, patience=2)
    model, trainer = trained(a_started_run, "part", recipe, evaluate_with=evaluate)
    assert trainer.state.global_step == 8 and len(kept) == 4
    assert same(weights_of(model), kept[1])
    assert not same(kept[1], kept[3])


def test_without_patience_all_steps_are_taken_and_the_best_weights_kept(a_started_run):
    losses, kept = iter([3.0, 1.0, 2.5, 2.6]), []

    def evaluate(model):
        kept.append(weights_of(model))
        return {"loss": next(losses)}

    model, trainer = trained(a_started_run, "part", replace(RECIPE, evaluations=4), evaluate_with=evaluate)
    assert trainer.state.global_step == 20
    assert same(weights_of(model), kept[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training_with_advice(a_started_run, value):
    model = model_of("rnn")
    with torch.no_grad():
        model.lm_head.bias[3] = value
    with pytest.raises(
        UserError, match=r"the loss is not finite at step \d+; try .*--set learning_rate=0\.003"
    ):
        trained(a_started_run, "part", model=model)


@pytest.mark.slow
@pytest.mark.parametrize("shortest", [9, 2], ids=["equal lengths", "unequal lengths"])
def test_accumulated_gradients_are_those_of_the_large_batch(a_started_run, gradients, shortest):
    dataset = documents(32, longest=9, shortest=shortest)
    large = replace(ON_DOCUMENTS, steps=6, max_grad_norm=0.0)
    one, _ = trained(a_started_run, "large", large, dataset, model=model_of("gru"))
    of_large = list(gradients)
    gradients.clear()
    small = replace(large, accumulation=2)
    other, _ = trained(a_started_run, "small", small, dataset, model=model_of("gru"))
    torch.testing.assert_close(gradients[0], of_large[0], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(weights_of(other), weights_of(one), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["stream", "documents"])
def test_two_processes_are_one(tmp_path, data):
    """The batch is cut by rows, so the gradients of two processes add up to that of one."""
    script = ROOT / "tests" / "support" / "fit_in_processes.py"
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    for processes in (1, 2):
        command = [*torchrun, str(processes), str(script), data, str(tmp_path / str(processes))]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / str(n) / "weights.pt", weights_only=True) for n in (1, 2))
    torch.testing.assert_close(two["trained"], one["trained"], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(two["resumed"], two["trained"], rtol=0, atol=0)
    moved = {name: (one["trained"][name] - one["initial"][name]).abs().max() for name in one["initial"]}
    assert min(moved.values()) > 1e-3
