"""The page of stage 15 in a real browser: models of several sizes read the same text, and write on."""

import pytest
from playwright.sync_api import expect

from hf_llmpath.decoding.character_writer import load_character_writer
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from tests.ui.conftest import serve


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("scaling")


@pytest.fixture(scope="module")
def address(folder, browser):
    """This page alone, served on this machine."""
    app = get_stage("scaling").demo(folder)
    yield serve(app)
    app.close()


def values_of(figure) -> list[float]:
    """The bars of a figure, from top to bottom."""
    found = figure.locator("[role=listitem] [data-value]")
    return [float(found.nth(place).get_attribute("data-value")) for place in range(found.count())]


def settle(page, size: int) -> None:
    """Waits until the page knows how many sizes the run has, and has then read its address again."""
    page.locator("#agreement figure").wait_for()
    expect(page.locator("#size input[type=number]")).to_have_value(str(size))


@pytest.mark.parametrize("size, name", [(1, "width-8"), (3, "width-16"), (4, None)])
def test_the_bars_are_those_of_the_chosen_size(visit, address, folder, size, name):
    page = visit(f"{address}?size={size}&prompt=Ben+had+a&temperature=1")
    model = load_character_writer(folder.model(name) if name else folder.model_dir)
    expected = [value for _, value in model.next_probabilities("Ben had a", 1.0)[:12]]
    settle(page, size)
    page.wait_for_function(
        """([expected, caption]) => {
          const figure = document.querySelector('#next-character figure');
          const shown = [...figure.querySelectorAll('[data-value]')].map(bar => Number(bar.dataset.value));
          return figure.querySelector('figcaption').textContent.includes(caption)
            && shown.length === expected.length
            && shown.every((value, place) => Math.abs(value - expected[place]) < 1e-5)
        }""",
        arg=[expected, f"A model of {model.parameters:,} weights, after “Ben had a”, at temperature 1;"],
    )


def test_the_slider_has_as_many_sizes_as_the_run(visit, address, folder):
    page = visit(address)
    page.locator("#next-character figure").wait_for()
    expect(page.locator("#size input[type=range]")).to_have_attribute("max", "4")
    page.locator("#size input[type=number]").fill("1")
    page.locator("#size input[type=number]").press("Enter")
    smallest = load_character_writer(folder.model("width-8")).parameters
    expect(page.locator("#next-character figcaption")).to_contain_text(f"A model of {smallest:,} weights")


def test_a_story_is_written_by_the_chosen_size(visit, address, folder):
    page = visit(f"{address}?size=2&prompt=Anna+had+a&temperature=0.5&seed=3")
    model = load_character_writer(folder.model("width-12"))
    settle(page, 2)
    expect(page.locator("#next-character figcaption")).to_contain_text(f"{model.parameters:,} weights")
    page.get_by_role("button", name="Write", exact=True).click()
    caption = page.locator("#written figcaption")
    expect(caption).to_contain_text(f"Written by {model.parameters:,} weights: temperature 0.5, seed 3")
    page.locator("#written .lp-caret").wait_for(state="detached")
    expected = ""
    for writing in model.write("Anna had a", 0.5, 300, 3):
        expected = writing.text
    assert page.locator("#written .lp-text").text_content() == "Anna had a" + expected


def test_a_text_longer_than_the_context_goes_on(folder):
    """The context of 16 is full many times over; each time the model starts again from its last half."""
    model = load_character_writer(folder.model_dir)
    assert model.context == 16
    assert model.encode("x" * 100).shape == (1, 16)
    texts = [writing.text for writing in model.write("Ben had a red hat and", 0.7, 80, 0)]
    assert len(texts) > 40
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))
    # What is cached is what would be read anew: greedy steps agree with a model that reads the window
    # every time.
    ids = [model.tokenizer.bos_token_id, *model.tokenizer.encode("Ben had", add_special_tokens=False)]
    greedy = ""
    for writing in model.write("Ben had", 0.01, 6, 0):
        greedy = writing.text
    for _ in range(len(greedy)):
        token = int(
            model.model(input_ids=model.encode(model.tokenizer.decode(ids[1:]))).logits[0, -1].argmax()
        )
        ids.append(token)
    assert model.tokenizer.decode(ids[1:]) == "Ben had" + greedy


def test_law_costs_and_agreement_are_those_of_the_run(visit, address, folder):
    page = visit(address)
    for place in ("#law", "#costs", "#agreement"):
        page.locator(f"{place} figure").first.wait_for()
    points = folder.figure_data("scaling")
    rows = page.locator("#law table.lp-table tbody tr")
    assert rows.count() == len(points) == 4
    for place, point in enumerate(points):
        assert rows.nth(place).locator("td").nth(0).inner_text() == f"{point['inner_parameters']:,}"
        assert float(rows.nth(place).locator("td").nth(1).inner_text()) == pytest.approx(
            point["validation_loss"], rel=1e-3
        )
    assert "left out of the fit" in rows.nth(3).inner_text()
    costs = folder.figure_data("footprint")
    shown = values_of(page.locator("#costs .lp-panels figure").first)
    assert shown == pytest.approx([row["peak_memory_mb"] for row in costs.values()], abs=1e-5)
    names = page.locator("#agreement tbody tr").all_inner_texts()
    assert len(names) == len(folder.figure_data("agreement")) - 1
