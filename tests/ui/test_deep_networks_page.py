"""The page of stage 4: the model of the run reads what is drawn on the canvas."""

import numpy as np
import pytest
from playwright.sync_api import expect

from hf_llmpath.errors import UserError
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages.s04_deep_networks.canvas import activity_picture, ink_of, load_digit_reader


@pytest.fixture
def folder(runs_root):
    return RunFolder(runs_root / "04-deep-networks")


@pytest.fixture
def page(visit, address):
    page = visit(f"{address}deep-networks")
    page.locator("#examples button").first.wait_for()
    page.locator("#answer figure").wait_for()
    return page


def shown_bars(page):
    rows = page.locator("#answer [role=listitem]")
    return {
        rows.nth(i).locator(".lp-bar-name").inner_text(): float(
            rows.nth(i).locator("[data-value]").get_attribute("data-value")
        )
        for i in range(rows.count())
    }


def test_an_empty_canvas_is_said_in_one_line(page):
    assert page.locator("#answer .lp-empty").inner_text().startswith("Nothing is drawn yet")
    assert page.locator("#seen img").count() == 0


def test_an_example_is_read_by_the_model_of_the_run(page, folder):
    page.get_by_label("Example: 3").click()
    page.locator("#answer figcaption", has_text="It reads").wait_for()
    drawing = page.locator("#drawing textarea, #drawing input").input_value()
    reader = load_digit_reader(folder.model_dir)
    pixels = reader.pixels(drawing)
    shares, layers = reader(pixels)
    assert shown_bars(page) == {name: pytest.approx(share, abs=1e-5) for name, share in shares}
    assert (
        f"{int((np.abs(layers[0]) > 1e-6).sum())} of {len(layers[0])} units"
        in page.locator("#activity").inner_text()
    )
    example = next(row for row in folder.figure_data("examples") if row["label"] == "3")
    assert np.corrcoef(pixels.flatten(), np.array(example["pixels"]).flatten())[0, 1] > 0.8


def test_a_stroke_with_the_pointer_and_clear(page):
    box = page.locator("#drawing-canvas canvas").bounding_box()
    page.mouse.move(box["x"] + 140, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 240, steps=10)
    page.mouse.up()
    page.locator("#answer figcaption", has_text="It reads").wait_for()
    page.locator("#seen img").wait_for()
    ink = ink_of(page.locator("#drawing textarea, #drawing input").input_value())
    assert ink[140, 140] == 255 and ink[140, 60] == 0
    page.wait_for_function(  # all bars in one look: the next answer may replace them between two
        "() => Math.abs([...document.querySelectorAll('#answer [data-value]')].reduce((sum, bar) =>"
        " sum + Number(bar.dataset.value), 0) - 1) < 1e-4"
    )
    page.get_by_role("button", name="Clear").click()
    page.locator("#answer .lp-empty").wait_for()
    expect(page.locator("#seen img")).to_have_count(0)


def test_a_stroke_with_the_keyboard(page):
    canvas = page.locator("#drawing-canvas canvas")
    canvas.focus()
    page.keyboard.press("Space")
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    page.locator("#answer figcaption", has_text="It reads").wait_for()
    assert "pen down at 14, 15" in page.locator("#drawing-canvas [role=status]").inner_text()
    ink = ink_of(page.locator("#drawing textarea, #drawing input").input_value())
    assert ink[100, 140] == 255


def test_gradients_of_the_chosen_networks(page):
    chart = page.locator("#gradient-norms [role=img]")
    chart.wait_for()
    assert "ReLU, He, residual" in chart.get_attribute("aria-label")
    page.get_by_label("ReLU, He, residual", exact=True).uncheck()
    page.wait_for_function(
        "() => !document.querySelector('#gradient-norms [role=img]').ariaLabel.includes('residual')"
    )


@pytest.mark.parametrize(
    "drawing", ["nonsense", "data:image/png;base64,AAAA", "data:image/png;base64,*", "x" * 3_000_000]
)
def test_what_is_no_drawing(drawing):
    with pytest.raises(UserError, match="this is not a drawing"):
        ink_of(drawing)


def test_activity_of_layers_of_any_width():
    for units in (1, 3, 8, 100, 1024):
        picture = activity_picture([np.zeros(units), np.ones(units)])
        assert f"0 of {units} units" in picture and f"{units} of {units} units" in picture
