"""The pages of stages 1 to 3 without a run: somebody presses Play, and something is learned."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from hf_llmpath.stages.s02_backpropagation.example import NUMBERS, graph
from hf_llmpath.stages.s03_optimizers.live_race import GOOD_RATES, LiveRace
from hf_llmpath.ui.live_network import Design, LiveNetwork
from tests.ui.conftest import serve


@pytest.fixture(scope="module")
def pages(browser, tmp_path_factory):
    """Addresses of the pages by slug; there are no runs."""
    from hf_llmpath.ui.app import build_stage

    root = tmp_path_factory.mktemp("none")
    apps = {slug: build_stage(slug, root) for slug in ("neural-network", "backpropagation", "optimizers")}
    yield {slug: serve(app) for slug, app in apps.items()}
    for app in apps.values():
        app.close()


def state(page, within: str = "#playground") -> dict[str, float]:
    found = page.locator(f"{within} .lp-status").evaluate("e => ({...e.dataset})")
    return {
        name: float(value) if re.fullmatch(r"[-+.e\d]+", value) else value for name, value in found.items()
    }


def press(page, name: str):
    page.get_by_role("button", name=name, exact=True).last.click()


def until(page, condition: str, within: str = "#playground") -> None:
    """Waits until the JavaScript `condition` on the data `d` of the status line holds."""
    page.wait_for_function(
        f"() => {{ const d = document.querySelector('{within} .lp-status')?.dataset; "
        f"return d && ({condition}); }}"
    )


def test_play_learns_pause_holds_step_counts_reset_starts_again(visit, pages):
    page = visit(pages["neural-network"])
    start = state(page)
    assert start["step"] == 0
    press(page, "Play")
    until(page, "d.step > 20")
    press(page, "Pause")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.wait_for_timeout(200)
    held = state(page)
    assert held["loss"] < start["loss"]
    page.wait_for_timeout(500)
    assert state(page) == held
    press(page, "Step")
    until(page, f"d.step == {held['step'] + 1}")
    press(page, "Reset")
    until(page, "d.step == 0")
    assert state(page) == start


def test_xor_is_learned_by_four_units_and_not_by_one(visit, pages):
    page = visit(pages["neural-network"] + "?points=xor&layers=1&units=1&activation=tanh")
    page.wait_for_function("document.querySelectorAll('#playground .lp-network image').length === 3")
    press(page, "Play")
    until(page, "d.step >= 80")
    assert state(page)["accuracy"] <= 0.75
    page.get_by_label("Units in each").first.fill("4")
    page.keyboard.press("Tab")
    page.wait_for_function("document.querySelectorAll('#playground .lp-network image').length === 6")
    until(page, "d.accuracy == 1 && d.step > 20")  # it plays on with the new network


def test_a_seed_gives_the_same_network_and_the_same_course(visit, pages):
    losses = []
    for seed in (3, 3, 4):
        page = visit(pages["neural-network"] + f"?points=moons&noise=0.2&seed={seed}")
        expect(page.get_by_label("Seed")).to_have_value(str(seed))
        expected = LiveNetwork(Design("moons", 0.2, seed, 1, 4, "tanh"), 0.1)
        page.wait_for_function(
            "document.querySelector('#playground .lp-status').dataset.loss === "
            f"'{expected.loss['train']:.6f}'"
        )
        for step in (1, 2, 3):
            press(page, "Step")
            until(page, f"d.step == {step}")
        expected.advance(3)
        losses.append(state(page)["loss"])
        assert losses[-1] == pytest.approx(expected.loss["train"], abs=1e-5)
    assert losses[0] == losses[1] != losses[2]


def test_pictures_come_many_times_a_second(visit, pages):
    page = visit(pages["neural-network"])
    press(page, "Play")
    until(page, "d.step >= 1")
    page.evaluate(
        """() => { window.seen = new Set();
        const status = () => document.querySelector('#playground .lp-status');
        window.watch = setInterval(() => seen.add(status().dataset.step), 5); }"""
    )
    page.wait_for_timeout(2000)
    assert page.evaluate("seen.size") >= 10  # 20 a second on a quiet machine


def test_a_learning_rate_that_is_too_high_is_told(visit, pages):
    page = visit(pages["backpropagation"])
    page.locator("#backpropagation-rate input[type=range]").fill("9")
    page.get_by_text("Learning rate: 30").wait_for()
    press(page, "Play")
    alert = page.locator("#playground [role=alert]")
    alert.wait_for()
    stopped = state(page)
    assert f"at step {int(stopped['step']):,}" in alert.inner_text() and "Try 10." in alert.inner_text()
    assert np.isfinite(stopped["loss"])
    page.locator("#backpropagation-rate input[type=range]").fill("0")
    alert.wait_for(state="detached")
    press(page, "Step")
    until(page, f"d.step == {stopped['step'] + 1}")


def test_the_gradient_flows_back_and_the_weights_move(visit, pages):
    page = visit(pages["backpropagation"])
    page.locator("#graph svg").wait_for()
    values = graph(NUMBERS)
    steps = page.get_by_role("button", name="Step", exact=True).first
    for done in range(1, 5):
        steps.click()
        until(page, f"d.done == {done}", "#graph")
    assert float(page.locator("#graph [data-name=e]").get_attribute("data-grad")) == pytest.approx(
        values["e"].grad
    )
    assert page.locator("#graph [data-name=w11]").get_attribute("data-grad") == ""
    page.get_by_role("button", name="Whole step").click()
    until(page, "d.step == 1 && d.done == 0", "#graph")
    assert state(page, "#graph")["loss"] < values["L"].data
    page.get_by_label("Input x2").first.fill("0")
    page.keyboard.press("Tab")
    until(page, "d.step == 0", "#graph")
    assert state(page, "#graph")["loss"] == pytest.approx(graph(NUMBERS | {"x2": 0.0})["L"].data, rel=1e-4)


def test_the_race_names_its_winner(visit, pages):
    page = visit(pages["optimizers"])
    page.get_by_label("Tilted ravine").check()
    page.locator("#race figcaption", has_text="Tilted ravine").wait_for()
    page.get_by_label("RMSprop", exact=True).first.uncheck()
    page.wait_for_function("document.querySelectorAll('#race .lp-descents circle').length === 5")
    page.locator("#factor input[type=range]").fill("7")
    page.get_by_text("All learning rates × 2").wait_for()
    press(page, "Play")
    until(page, "d.winner", "#race")
    rates = {name: 2.0 * rate for name, rate in GOOD_RATES["tilted_ravine"].items() if name != "rmsprop"}
    expected = LiveRace("tilted_ravine", rates)
    expected.advance(2000)
    assert state(page, "#race")["winner"] == expected.winner.name
    page.get_by_role("button", name="Play", exact=True).wait_for()
    assert "lost at step" in page.locator("#race tr", has_text="SGD").inner_text()
    press(page, "Reset")
    until(page, "d.step == 0", "#race")


def test_a_surface_in_the_address_brings_its_rates(visit, pages):
    page = visit(f"{pages['optimizers']}?surface=rosenbrock")
    page.locator("#race figcaption", has_text="Rosenbrock").wait_for()
    press(page, "Play")
    until(page, "d.winner", "#race")
    expected = LiveRace("rosenbrock", GOOD_RATES["rosenbrock"])
    expected.advance(2000)
    assert state(page, "#race")["winner"] == expected.winner.name


def test_the_offer_to_train_is_there_beside_what_needs_no_run(visit, pages):
    for slug, part in (
        ("neural-network", "#playground"),
        ("backpropagation", "#graph"),
        ("optimizers", "#race"),
    ):
        page = visit(pages[slug])
        page.locator(f"{part} figure").first.wait_for()
        page.get_by_role("button", name="Train it here").wait_for()
        assert not page.get_by_text("The table").is_visible()


@pytest.mark.parametrize("slug", ["neural-network", "backpropagation", "optimizers"])
def test_it_works_by_keyboard(visit, pages, slug):
    page = visit(pages[slug])
    button = page.get_by_role("button", name="Play", exact=True).last
    button.focus()
    page.keyboard.press("Enter")
    within = "#race" if slug == "optimizers" else "#playground"
    until(page, "d.step > 2", within)
    page.keyboard.press("Enter")  # the focus stays on the button, which now says Pause
    page.get_by_role("button", name="Play", exact=True).last.wait_for()
    page.wait_for_timeout(300)
    held = state(page, within)["step"]
    page.wait_for_timeout(300)
    assert state(page, within)["step"] == held
