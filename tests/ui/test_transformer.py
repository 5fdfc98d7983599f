"""The page of stage 10 in a real browser: answers, verdicts, and the heads that a click and the keys go
through.
"""

import base64

import numpy as np
import pytest
from playwright.sync_api import expect

from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s10_transformer.demo import look
from hf_llmpath.training.attention_probes import attention_rollout
from tests.ui.conftest import serve

SOURCE, REVIEW = "24 december 2031", "The room was lovely, but the tea was awful."


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("transformer")


@pytest.fixture(scope="module")
def address(folder, browser):
    """This page alone, served on this machine."""
    app = get_stage("transformer").demo(folder)
    yield serve(app)
    app.close()


def values_of(figure, shape) -> np.ndarray:
    data = figure.evaluate("figure => figure.dataset.values")
    return np.frombuffer(base64.b64decode(data), dtype=np.uint8).reshape(shape) / 255


def test_the_answer_and_every_head_are_those_of_the_model(visit, address, folder):
    page = visit(address)
    page.get_by_label("Source", exact=True).fill(SOURCE)
    maps = look("AutoModelForSeq2SeqLM", folder.model_dir, f"date: {SOURCE}")[0]
    expect(page.locator("#answer .lp-text")).to_have_text(maps.answer)
    figure = page.locator("#heads figure")
    expect(figure.locator(".lp-attn-y span")).to_have_count(len(maps.target))
    expect(figure.locator(".lp-attn-x span")).to_have_count(len(maps.source))
    weights = maps.weights["cross"]
    expect(figure.locator("[data-head]")).to_have_count(weights.shape[0] * weights.shape[1])
    np.testing.assert_allclose(values_of(figure, weights.shape), weights, atol=0.51 / 255)


def test_a_click_shows_a_head_large_and_the_pointer_reads_its_values(visit, address, folder):
    page = visit(address)
    maps = look("AutoModelForSeq2SeqLM", folder.model_dir, "date: 3rd of march 1998")[0]
    figure = page.locator("#heads figure")
    expect(figure.locator(".lp-attn-x span")).to_have_count(len(maps.source))
    button = figure.get_by_role("button", name="Layer 2, head 3")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(figure.locator(".lp-attn-title")).to_have_text("Layer 2, head 3")
    assert figure.locator(".lp-attn-plot img").get_attribute("src") == button.locator("img").get_attribute(
        "src"
    )
    plot = figure.locator(".lp-attn-plot")
    box = plot.bounding_box()
    width, height = box["width"] / len(maps.source), box["height"] / len(maps.target)
    plot.hover(position={"x": 4.5 * width, "y": 0.5 * height})
    share = maps.weights["cross"][1, 2, 0, 4]
    expect(figure.locator(".lp-attn-value")).to_contain_text(
        f"looks at “{maps.source[4].replace(' ', '␣')}” (5)"
    )
    shown = float(figure.locator(".lp-attn-value").inner_text().rpartition(": ")[2].removesuffix("%"))
    assert shown == pytest.approx(100 * share, abs=0.26)


def test_the_keys_go_from_cell_to_cell_and_a_chosen_head_stays(visit, address):
    page = visit(address)
    figure = page.locator("#heads figure")
    figure.get_by_role("button", name="Layer 1, head 2").press("Enter")
    expect(figure.locator(".lp-attn-title")).to_have_text("Layer 1, head 2")
    figure.locator(".lp-attn-focus").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(figure.locator(".lp-attn-value")).to_contain_text("(2) looks at")
    expect(figure.locator(".lp-attn-value")).to_contain_text("(3): ")
    page.get_by_label("Within the source").check()
    expect(figure.locator("figcaption")).to_contain_text("Within the source")
    expect(figure.locator(".lp-attn-title")).to_have_text("Layer 1, head 2")


def test_a_review_gets_a_verdict_and_a_rollout(visit, address, folder):
    page = visit(address)
    page.get_by_label("Review").fill(REVIEW)
    maps = look("AutoModelForSequenceClassification", folder.model("reader"), REVIEW)[0]
    expect(page.locator("#review-heads .lp-attn-x span")).to_have_count(len(maps.source))
    shown = [float(bar.get_attribute("data-value")) for bar in page.locator("#verdict [data-value]").all()]
    assert shown == pytest.approx(list(maps.predicted.values()), abs=1e-5)
    rollout = attention_rollout(maps.weights["encoder"])
    figure = page.locator("#rollout figure")
    expect(figure.locator(".lp-attn-x span")).to_have_count(len(maps.source))
    np.testing.assert_allclose(values_of(figure, rollout.shape), rollout / rollout.max(), atol=0.51 / 255)


def test_bad_input_is_told(visit, address):
    page = visit(address)
    page.get_by_label("Source", exact=True).fill("3 märz 1998")
    expect(page.locator("#answer figcaption")).to_contain_text("The model never saw ä")
    page.get_by_label("Review").fill("We had tea. " * 40)
    expect(page.locator("#verdict figcaption")).to_contain_text("the model read the first 64.")
    page.get_by_label("Review").fill("")
    expect(
        page.get_by_text("the text is empty; type something that the model can read").first
    ).to_be_visible()


def test_positions_and_masks_are_there(visit, address):
    page = visit(address)
    expect(page.locator("#positions .lp-key span")).to_have_count(2)
    expect(page.locator("#alike .lp-key span")).to_have_count(2)
    expect(page.locator("#masks .lp-mask")).to_have_count(3)


def test_nothing_is_wider_than_a_phone(visit, address):
    page = visit(address, width=380)
    expect(page.locator("#heads [data-head]").first).to_be_visible()
    expect(page.locator("#rollout figure")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
