"""The live network, race, and graph of stages 1 to 3, without a page."""

import threading
import time

import numpy as np
import pytest

from hf_llmpath.stages.s02_backpropagation.demo import LiveGraph, draw
from hf_llmpath.stages.s02_backpropagation.example import NUMBERS, graph, layer_gradients
from hf_llmpath.stages.s03_optimizers.descent import path, steps_to_target
from hf_llmpath.stages.s03_optimizers.live_race import GOOD_RATES, LiveRace, race_picture
from hf_llmpath.ui.live_network import SHOWN, Design, LiveNetwork, LossHistory
from hf_llmpath.ui.network_picture import network_picture
from hf_llmpath.ui.play import played


def trained(design: Design, steps: int, rate: float) -> LiveNetwork:
    live = LiveNetwork(design, rate)
    live.advance(steps)
    return live


@pytest.mark.parametrize("seed", range(5))
def test_xor_needs_more_than_one_unit(seed):
    assert trained(Design(units=4, seed=seed), 600, 0.3).accuracy["train"] == 1.0
    for one_line in (Design(layers=0, seed=seed), Design(units=1, optimizer="Adam", seed=seed)):
        assert trained(one_line, 400, 0.1).accuracy["train"] <= 0.75


@pytest.mark.parametrize("shape", ["moons", "circles", "spirals"])
@pytest.mark.parametrize("squared", [False, True])
def test_two_layers_learn_every_shape(shape, squared):
    live = trained(Design(shape, 0.03, 0, 2, 8, "tanh", "Adam", squared), 700, 0.03)
    assert live.accuracy["train"] > 0.97 and live.accuracy["test"] > 0.93


def test_a_seed_gives_the_same_course_however_it_is_cut():
    whole, pieces = trained(Design("moons", 0.1, 3), 60, 0.3), LiveNetwork(Design("moons", 0.1, 3), 0.3)
    for steps in (1, 19, 40):
        pieces.advance(steps)
    assert whole.loss == pieces.loss and whole.step == pieces.step == 60
    assert trained(Design("moons", 0.1, 4), 60, 0.3).loss != whole.loss


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_loss_that_is_not_finite_ends_the_training(activation):
    live = trained(Design("moons", 0.1, 0, 2, 4, activation, squared=True), 4000, 30.0)
    assert (
        f"at step {live.step:,}" in live.stopped
        and "learning rate of 30" in live.stopped
        and "Try 10" in live.stopped
    )
    assert live.step < 4000
    assert all(np.isfinite(value).all() for value in live.network.state_dict().values())
    assert np.isfinite([*live.loss.values(), *live.history.train]).all()
    step = live.step
    live.advance(5)
    assert live.step == step and "nan" not in network_picture(live)
    live.set_rate(0.001)
    live.advance(5)
    assert live.step == step + 5 and not live.stopped


def test_another_design_is_another_network_and_another_rate_is_not():
    live = trained(Design("moons", 0.1), 20, 0.1)
    live.set_rate(0.5)
    assert live.step == 20
    live.rebuild(Design("circles", 0.1, units=6))
    assert live.step == 0 and live.history.steps == [0] and live.weights()[0].shape == (6, 2)


def test_surfaces_are_what_the_network_answers():
    live = trained(Design("circles", 0.05, 1, 2, 3), 30, 0.1)
    answer, hidden = live.surfaces()
    place = np.array(
        [[-SHOWN, SHOWN], [SHOWN, SHOWN]], dtype=np.float32
    )  # the upper corners: first row of the picture
    logits = live.network.forward(place)[:, 0]
    np.testing.assert_allclose([answer[0, 0], answer[0, -1]], 2 / (1 + np.exp(-logits)) - 1, rtol=1e-4)
    assert [units.shape for units in hidden] == [(3, 32, 32)] * 2
    np.testing.assert_allclose(hidden[0][:, 0, 0], live.network.outputs(place)[1][0], rtol=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu"])
def test_what_is_drawn_is_small_and_says_the_numbers(activation):
    live = trained(Design("spirals", 0.05, 0, 4, 8, activation, "Adam"), 3, 0.01)
    drawn = network_picture(live)
    assert f'data-step="3" data-loss="{live.loss["train"]:.6f}"' in drawn
    assert drawn.count("<image ") == 2 + 4 * 8 + 1  # inputs, units, and the answer
    assert len(drawn) < 100_000


def test_the_history_is_thinned_out_but_keeps_its_ends():
    history = LossHistory()
    for step in range(10_000):
        history.add(step, 1 / (step + 1), 0.5)
    assert len(history.steps) == len(history.train) == len(history.test) <= 4000
    assert history.steps[0] == 0 and history.steps[-1] == 9999 and history.steps == sorted(set(history.steps))
    assert history.train == [1 / (step + 1) for step in history.steps]


def test_playing_can_be_paused_and_goes_on_where_it_was():
    live = LiveNetwork(Design("moons", 0.1), 0.1, pace=2)
    playing = played(live, lambda found: f"step {found.step}")
    assert next(playing)[0].value == "Pause"
    assert [next(playing)[1] for _ in range(3)] == ["step 2", "step 4", "step 6"]
    list(played(live, str))  # the same button again: pause
    assert [row[1] for row in playing] == ["step 6"] and live.player is None
    again = played(live, lambda found: f"step {found.step}")
    next(again)
    assert next(again)[1] == "step 8"
    again.close()  # the page is closed
    assert live.player is None


def test_a_second_player_takes_over_from_the_first():
    live = LiveNetwork(Design("moons", 0.1), 0.1)
    first = played(live, str)
    next(first), next(first)
    list(played(live, str))
    second = played(live, str)
    next(second)
    assert len(list(first)) == 1 and live.player is not None  # the first one only says that it has ended
    second.close()


def test_it_can_be_drawn_and_rebuilt_while_it_is_trained():
    live, wrong = LiveNetwork(Design("moons", 0.1, units=3), 0.1), []

    def draw_on():
        try:
            while time.monotonic() < end:
                network_picture(live)
                live.rebuild(
                    Design("spirals", 0.1, units=np.random.randint(1, 8), layers=np.random.randint(0, 4))
                )
        except Exception as error:
            wrong.append(error)

    end = time.monotonic() + 0.6
    threads = [threading.Thread(target=draw_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        live.advance(3)
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("surface", list(GOOD_RATES))
def test_a_race_is_the_descents_it_shows(surface):
    race = LiveRace(surface, GOOD_RATES[surface])
    while not race.over:
        race.advance(7)
    arrived = {}
    for runner in race.runners:
        expected = path(race.surface, runner.name, race.surface.start, runner.rate, 50)
        count = min(51, len(runner.path))
        np.testing.assert_allclose(runner.path[:count], expected[:count], rtol=1e-9)
        start = np.array([race.surface.start])
        steps, reached = steps_to_target(race.surface, runner.name, start, [runner.rate], race.step)
        if reached[0, 0] and runner.has_arrived:
            assert runner.arrived == steps[0, 0]
            arrived[runner.name] = runner.arrived
    assert race.winner.arrived == min(arrived.values())
    drawn = race_picture(race)
    assert f"{race.winner.title} was first at the target, after {race.winner.arrived:,} steps." in drawn
    assert "nan" not in drawn and "inf" not in drawn


def test_on_every_surface_somebody_beats_plain_gradient_descent():
    for surface, rates in GOOD_RATES.items():
        race = LiveRace(surface, rates)
        race.advance(5000)
        sgd = next(runner for runner in race.runners if runner.name == "sgd")
        assert surface == "saddle" or race.winner.arrived < (sgd.arrived or 5000) / 2, surface


def test_a_rate_that_is_too_high_loses_its_runner_and_nobody_else():
    race = LiveRace("ravine", {"sgd": 0.5, "adam": 0.2})
    race.advance(2000)
    sgd, adam = race.runners
    assert sgd.lost is not None and race.winner is adam
    assert np.isfinite(sgd.losses).all() and f"lost at step {sgd.lost:,}" in race_picture(race)


def test_nobody_runs_or_nobody_arrives():
    nobody = LiveRace("ravine", {})
    nobody.advance(3)
    assert nobody.over and "choose at least one optimizer" in race_picture(nobody)
    slow = LiveRace("ravine", {"sgd": 1e-6})
    slow.advance(10_000)
    assert slow.winner is None and "Nobody reached the target" in race_picture(slow)


def test_momentum_and_beta_reach_their_rules():
    race = LiveRace("ravine", GOOD_RATES["ravine"], momentum=0.5, beta2=0.9)
    rules = {runner.name: runner.descent.optimizer for runner in race.runners}
    assert rules["momentum"].momentum == rules["nesterov"].momentum == 0.5 and rules["nesterov"].nesterov
    assert rules["rmsprop"].alpha == 0.99 and rules["adam"].betas == rules["adamw"].betas == (0.5, 0.9)


def test_the_graph_passes_the_gradients_of_the_layers_back():
    live = LiveGraph({"x1": 1.0, "x2": -1.0, "t": 1.0}, 0.1)
    live.advance(live.results)
    for name, gradient in layer_gradients(NUMBERS).items():
        assert f'data-name="{name}" data-grad="{live.values[name].grad}"' in draw(live)
        assert live.values[name].grad == pytest.approx(gradient)
    before = dict(live.numbers)
    live.advance(1)
    assert live.step == 1 and live.done == 0
    for name in ("w11", "b2", "v1", "c"):
        assert live.numbers[name] == pytest.approx(before[name] - 0.1 * layer_gradients(before)[name])
    assert live.values["L"].data < graph(before)["L"].data


def test_a_gradient_is_shown_once_all_that_use_the_value_have_passed_theirs_on():
    live = LiveGraph({}, 0.1)
    assert 'data-name="L" data-grad=""' in draw(live)
    live.advance(1)
    drawn = draw(live)
    assert (
        'data-name="L" data-grad="1.0"' in drawn
        and f'data-name="e" data-grad="{live.values["e"].grad}"' in drawn
    )
    assert 'data-name="w11" data-grad=""' in drawn and "e gets" in drawn


def test_the_graph_stops_where_the_loss_overflows():
    live = LiveGraph({"t": 2.0}, 10.0)
    for _ in range(3000):
        live.descend()
    assert live.over and f"at step {live.step:,}" in live.stopped and "Try 3" in live.stopped
    assert np.isfinite(list(live.numbers.values())).all() and "nan" not in draw(live)
