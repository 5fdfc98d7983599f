"""The NumPy training loop: its history, and what is left of a training that diverges."""

import json

import numpy as np
import pytest

from hf_llmpath.data.points import make_points
from hf_llmpath.errors import UserError
from hf_llmpath.runs import NoProgress
from hf_llmpath.scratch import (
    SGD,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    MeanSquaredError,
    Network,
    ReLU,
    feed_forward,
)
from hf_llmpath.training.numpy_loop import Examples, fit_numpy
from tests.support.small import KillAt, Killed

POINTS = make_points("moons", 40, 0.1, 0)
EXAMPLES = Examples(POINTS.x, POINTS.targets)
STEPS_PER_EPOCH = 5


def with_everything():
    """A network whose training has all kinds of state: running statistics and a generator of its own."""
    rng = np.random.default_rng(0)
    layers = [
        Dense(2, 8, rng),
        BatchNorm(8),
        ReLU(),
        Dropout(0.2, np.random.default_rng(5)),
        Dense(8, 1, rng),
    ]
    return Network(layers)


def train(run, name, network, progress=None, epochs=20, **options):
    run.progress = progress or NoProgress()
    job = run.job(name)
    return fit_numpy(
        network, EXAMPLES, BinaryCrossEntropy(), Adam(network, 0.01), job, epochs, 8, seed=3, **options
    )


def test_history_has_the_loss_of_each_epoch_and_what_is_measured(a_started_run):
    network = with_everything()
    fit = train(a_started_run, "job", network, evaluate=lambda net: {"test_loss": 1.5})
    rows = [
        json.loads(line)
        for line in (a_started_run.job("job").folder / "history.jsonl").read_text().splitlines()
    ]
    assert [row["epoch"] for row in rows] == list(range(1, 21))
    assert [row["loss"] for row in rows] == fit.losses
    assert all(row["test_loss"] == 1.5 and row["step"] == STEPS_PER_EPOCH * row["epoch"] for row in rows)
    assert fit.losses[-1] < 0.8 * fit.losses[0]


def test_only_the_last_checkpoint_is_kept(a_started_run):
    train(a_started_run, "job", with_everything())
    assert [path.name for path in a_started_run.job("job").folder.glob("checkpoint-*")] == ["checkpoint-80"]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_training_that_diverges_stops_and_keeps_its_last_finite_weights(a_started_run):
    network = feed_forward((2, 16, 1), "relu", np.random.default_rng(0), np.float64)
    loss, optimizer = MeanSquaredError(), SGD(network, 100.0)
    squares = lambda net: {"square": float(np.mean(net.predict(POINTS.x) ** 2))}  # noqa: E731
    job = a_started_run.job("job")
    fit = fit_numpy(network, EXAMPLES, loss, optimizer, job, 50, 8, seed=0, evaluate=squares)
    assert fit.diverged_at is not None and 1 < fit.diverged_at < 50 * STEPS_PER_EPOCH
    assert fit.steps == fit.diverged_at - 1
    assert all(np.isfinite(value).all() for value in network.state_dict().values())
    # A fresh training of just one step less ends with these weights: they are the last whose loss was finite.
    twin = feed_forward((2, 16, 1), "relu", np.random.default_rng(0), np.float64)
    taken = SGD(twin, 100.0)
    rng, steps = np.random.default_rng(0), 0
    while steps < fit.steps - 1:
        order = rng.permutation(len(EXAMPLES))
        for start in range(0, len(order), 8):
            if steps < fit.steps - 1:
                rows = order[start : start + 8]
                twin.gradient(POINTS.x[rows], POINTS.targets[rows], MeanSquaredError())
                taken.step()
                steps += 1
    for name, value in twin.state_dict().items():
        np.testing.assert_array_equal(network.state_dict()[name], value)
    with pytest.raises(UserError) as error:
        fit.require_finite(100.0)
    message = f"the loss is not finite at step {fit.diverged_at}; try a lower learning rate, for example "
    kept = a_started_run.job("job").folder / "last_finite.npz"
    assert str(error.value) == message + f"--set learning_rate=3e+01; the last finite weights are in {kept}"
    with np.load(kept, allow_pickle=False) as weights:
        assert weights.keys() == network.state_dict().keys()
        for name, value in network.state_dict().items():
            np.testing.assert_array_equal(weights[name], value)


def test_a_checkpoint_of_an_earlier_version_is_continued(a_started_run):
    """They were numbered by epochs, and their mark was empty."""
    whole, again = with_everything(), with_everything()
    train(a_started_run, "whole", whole)
    with pytest.raises(Killed):
        train(a_started_run, "old", with_everything(), KillAt(90))
    (checkpoint,) = a_started_run.job("old").folder.glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-80"
    with np.load(checkpoint / "state.npz") as state:
        arrays = dict(state) | {"steps": np.array(80)}
    np.savez(checkpoint / "state.npz", **arrays)
    (checkpoint / "complete").write_text("")
    checkpoint.rename(checkpoint.with_name("checkpoint-16"))
    assert train(a_started_run, "old", again).steps == 100
    for name, value in whole.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], value)
