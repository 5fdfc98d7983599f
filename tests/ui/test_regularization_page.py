"""The page of stage 5 trains live, with and without a run, and shows the gap of each set of switches."""

import re

import pytest

from hf_llmpath.stages.s05_regularization.live_overfitting import SWITCHES, learn
from hf_llmpath.ui.app import gallery
from tests.ui.conftest import serve


@pytest.fixture(scope="module")
def untrained(browser, tmp_path_factory):
    app = gallery(tmp_path_factory.mktemp("runs"))
    yield serve(app)
    app.close()


def gaps(page) -> dict[str, tuple[float, float]]:
    """Training and test error in percent by what was switched on, as the page shows them."""
    rows = page.locator("#gaps [role=listitem]")
    found = {}
    for place in range(rows.count()):
        numbers = re.findall(r"[\d.]+(?=%)", rows.nth(place).locator(".lp-bar-value").inner_text())
        found[rows.nth(place).get_attribute("data-name")] = (float(numbers[0]), float(numbers[1]))
    return found


def train(page) -> None:
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).and_(page.locator(":enabled")).first.wait_for()
    page.get_by_role("button", name="Train", exact=True).and_(page.locator(":enabled")).wait_for(
        timeout=60_000
    )


def test_switches_change_the_gap_and_the_page_tells_what_was_measured(untrained, visit):
    page = visit(f"{untrained}regularization?images=8&seed=3")
    page.locator("#sample img").wait_for()
    page.get_by_text("80 training images").wait_for()  # the page has read its address
    train(page)
    page.locator("#gaps [role=listitem]").wait_for()
    page.get_by_label("dropout").check()
    page.get_by_label("batch normalization").check()
    train(page)
    page.locator("#gaps [role=listitem]").nth(1).wait_for()
    shown = gaps(page)
    assert list(shown) == ["nothing", "dropout + batch normalization"]
    for names in ((), ("dropout", "batch normalization")):
        *_, course = learn(names, 8, 0.2, 3)
        train_error, test_error, _ = course.last
        assert shown[course.name] == (round(100 * train_error, 1), round(100 * test_error, 1))
    assert shown["nothing"][0] == 0 and shown["nothing"][1] > 3
    chart = page.locator("#course [role=img]").get_attribute("aria-label")
    assert "training images: from" in chart and "test images: from" in chart


def test_the_sample_is_shown_distorted_when_augmentation_is_on(untrained, visit):
    page = visit(f"{untrained}regularization")
    picture = page.locator("#sample img")
    picture.wait_for()
    before = picture.get_attribute("src")
    page.get_by_label("augmentation").check()
    page.get_by_text("never the same again").wait_for()
    assert picture.get_attribute("src") != before


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_trains(name):
    *_, course = learn([name], 3, 0.0, 0)
    assert course.done and course.name == name
    train_error, test_error, _ = course.last
    assert 0 <= train_error <= 0.3 and train_error <= test_error < 0.6
    assert len(course.steps) == len(course.train) == len(course.test)


@pytest.mark.slow
def test_a_live_training_repeats_and_leaves_the_generator_alone():
    import torch

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = learn(["dropout"], 2, 0.0, 1), learn(["dropout"], 2, 0.0, 1)
    for one, other in zip(first, second, strict=True):  # in turn, as two pages would
        assert (one.steps, one.train, one.test) == (other.steps, other.train, other.test)
    assert torch.equal(torch.get_rng_state(), before)


def test_early_stopping_stops_and_keeps_an_earlier_step():
    *_, course = learn(["early stopping"], 30, 0.2, 0)
    assert course.kept < course.steps[-1] < 700
    place = course.steps.index(course.kept)
    assert course.last == (course.train[place], course.test[place], course.true[place])
