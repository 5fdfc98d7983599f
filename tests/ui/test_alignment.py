"""The page of stage 9 in a real browser: pointing at words, and documents of all kinds."""

import re

import pytest
from playwright.sync_api import expect
from transformers import AutoTokenizer

from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s09_attention.charts import alignment_chart
from hf_llmpath.stages.s09_attention.demo import EXAMPLES, write
from tests.ui.conftest import serve


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("attention")


@pytest.fixture(scope="module")
def address(folder, browser):
    """This page alone, served on this machine."""
    app = get_stage("attention").demo(folder)
    yield serve(app)
    app.close()


def shades(page) -> list[float]:
    """How strongly each word of the document is shaded."""
    values = page.locator("#looked .lp-read span").evaluate_all(
        "words => words.map(word => getComputedStyle(word).getPropertyValue('--v'))"
    )
    return [float(value) for value in values]


def expected_shades(alignment, index) -> list[float]:
    kept = [round(float(value), 2) if value >= 0.01 else 0.0 for value in alignment.weights[index]]
    return [value for value, token in zip(kept, alignment.source, strict=True) if token.strip()]


def test_the_document_is_shaded_by_where_the_word_looked(visit, address, folder):
    page = visit(address)
    alignment = write(folder.model_dir, EXAMPLES[0], 1, 0.0, 0)
    words = page.locator("#looked .lp-pick")
    expect(words).to_have_count(len(alignment.summary))
    assert shades(page) == pytest.approx(expected_shades(alignment, 0), abs=0.006)  # the first word is chosen
    last = len(alignment.summary) - 1
    words.nth(last).hover()
    assert shades(page) == pytest.approx(expected_shades(alignment, last), abs=0.006)
    page.locator("#looked figcaption").hover()
    assert shades(page) == pytest.approx(expected_shades(alignment, 0), abs=0.006)


def test_words_are_chosen_by_click_and_by_keyboard(visit, address, folder):
    page = visit(address)
    alignment = write(folder.model_dir, EXAMPLES[0], 1, 0.0, 0)
    words = page.locator("#looked .lp-pick")
    words.nth(2).click()
    page.locator("#document textarea").focus()
    page.mouse.move(0, 0)
    assert shades(page) == pytest.approx(expected_shades(alignment, 2), abs=0.006)
    words.nth(2).locator("input").focus()
    page.keyboard.press("ArrowRight")
    assert words.nth(3).locator("input").is_checked()
    assert shades(page) == pytest.approx(expected_shades(alignment, 3), abs=0.006)
    remark = page.locator("#looked .lp-remarks span:visible")
    expect(remark).to_have_count(1)
    expect(remark).to_contain_text(re.compile(r"looked at .* entropy \d\.\d bits, copy gate \d+%"))


def test_beam_temperature_and_seed_change_what_is_written(visit, address, folder):
    page = visit(f"{address}?temperature=1.5&seed=3")
    drawn = write(folder.model_dir, EXAMPLES[0], 1, 1.5, 3)
    expect(page.locator("#looked figcaption")).to_contain_text("Temperature 1.5, seed 3")
    expect(page.locator("#looked .lp-pick")).to_have_count(len(drawn.summary))
    assert page.locator("#looked .lp-pick span").all_inner_texts() == [word.strip() for word in drawn.words]
    page = visit(f"{address}?beams=4")
    expect(page.locator("#looked figcaption")).to_contain_text("beam of 4")
    best = write(folder.model_dir, EXAMPLES[0], 4, 0.0, 0)
    assert page.locator("#looked .lp-pick span").all_inner_texts() == [word.strip() for word in best.words]


def test_the_other_networks_write_about_the_same_document(visit, address, folder):
    page = visit(address)
    other = write(folder.model("without_attention"), EXAMPLES[0], 1, 0.0, 0)
    expect(page.locator("#compared .lp-note").first).to_have_text("Without attention")
    expect(page.locator("#compared .lp-text").first).to_have_text(other.text)


def test_unknown_words_and_long_documents_are_told(visit, address, folder):
    page = visit(address)
    document = "Zelda longed for a bicycle. " + "The sea was calm. " * 80
    page.get_by_role("textbox", name="Document").fill(document)
    caption = page.locator("#looked figcaption")
    expect(caption).to_contain_text("the model read the first 256.")
    expect(caption).to_contain_text("It never saw: Zelda,")
    tokens = len(AutoTokenizer.from_pretrained(folder.model_dir)(document).input_ids)
    expect(caption).to_contain_text(f"The document has {tokens} tokens")


def test_an_empty_document_is_told_in_a_line(visit, address):
    page = visit(address)
    page.get_by_role("textbox", name="Document").fill(" ")
    expect(page.get_by_text("the document is empty; type or pick a text").first).to_be_visible()


def test_markup_in_a_document_stays_text():
    shown = {
        "source": ["<b>", " x"],
        "summary": ["<i>"],
        "weights": [[0.7, 0.3]],
        "entropy": [0.9],
        "copied": [],
    }
    picture = alignment_chart(shown, "<u>").html()
    assert not any(tag in picture for tag in ("<b>", "<u>", "<i>")) and "&lt;b&gt;" in picture


def test_what_is_drawn_by_chance_is_the_seeds(folder):
    one, again, other = (write(folder.model_dir, EXAMPLES[1], 1, 1.0, seed).text for seed in (1, 1, 2))
    assert one == again != other
