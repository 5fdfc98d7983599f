"""The page of stage 17 in a real browser shows masks, verdicts, and texts of the saved models."""

import pytest
from playwright.sync_api import expect

from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s17_architectures.demo import load_architecture
from hf_llmpath.stages.s17_architectures.objectives_compared import KINDS
from hf_llmpath.stages.s17_architectures.strengths import continue_text, fill_spans
from hf_llmpath.ui.encoder import load_encoder
from tests.ui.conftest import serve
from tests.ui.test_pretraining import bars

SENTENCE = "The tea was lovely, but the room was not."


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("architectures")


@pytest.fixture(scope="module")
def address(folder, browser):
    """This page alone, served on this machine."""
    app = get_stage("architectures").demo(folder)
    yield serve(app)
    app.close()


def model(folder, kind):
    return load_architecture(kind, KINDS[kind], folder.model(kind))


def test_the_masks_of_the_three_stand_side_by_side(visit, address):
    page = visit(address)
    masks = page.locator("#masks .lp-mask")
    expect(masks).to_have_count(3)
    told = [masks.nth(place).locator("img").get_attribute("alt") for place in range(3)]
    sides = [masks.nth(place).locator(".lp-attn-y span").count() for place in range(3)]
    triangle = sides[0] * (sides[0] + 1) // 2
    assert told[0] == f"GPT: a triangle: {triangle} of {sides[0] ** 2} pairs may look."
    assert told[1] == f"BERT: all to all: {sides[1] ** 2} of {sides[1] ** 2} pairs may look."
    source = sides[1] - 1  # without the token that BERT's text begins with
    target = sides[2] - source
    both = source * source + target * source + target * (target + 1) // 2
    assert target >= 3 and told[2] == f"T5: both: {both} of {sides[2] ** 2} pairs may look."
    page.get_by_label("Sentence").fill("The tea")
    expect(masks.first.locator(".lp-attn-y span")).to_have_count(3)


def test_all_three_give_their_verdict(visit, address, folder):
    page = visit(address)
    text = "Not once was the singer dull!"
    page.get_by_label("Sentence").fill(text)
    t5 = load_architecture("t5", "AutoModelForSeq2SeqLM", folder.model("classifier-t5"))
    places = (folder.model("classifier-gpt"), folder.model_dir)
    readers = [load_encoder("AutoModelForSequenceClassification", place) for place in places]
    for place, found in enumerate([*(reader.classify(text) for reader in readers), t5.verdict(text)]):
        assert [name for name, _ in found] == ["negative", "positive"] and sum(
            p for _, p in found
        ) == pytest.approx(1)
        page.wait_for_function(
            "([place, value]) => Math.abs(document.querySelectorAll('#verdicts figure')[place]"
            "?.querySelector('[data-value]')?.dataset.value - value) < 1e-5",
            arg=[place, found[0][1]],
        )
        assert bars(page.locator("#verdicts figure").nth(place)) == {
            n: pytest.approx(v, abs=1e-5) for n, v in found
        }


def test_the_attention_of_any_of_them_is_shown(visit, address, folder):
    page = visit(address)
    caption = page.locator("#heads figcaption")
    expect(caption).to_contain_text("BERT, encoder")
    for label, told in (("T5's decoder to its encoder", "T5, decoder to encoder"), ("GPT", "GPT, decoder")):
        page.locator("#which").get_by_label(label, exact=True).check()
        expect(caption).to_contain_text(told)
    layers, heads = model(folder, "gpt").look(SENTENCE)["decoder"][0].shape[:2]
    expect(page.locator("#heads [data-head]")).to_have_count(layers * heads)


def test_a_blank_is_filled(visit, address, folder):
    page = visit(address)
    text = "We found the [MASK] lovely."
    page.get_by_label("Text with [MASK]").fill(text)
    expect(page.locator("#filled figcaption").first).to_contain_text(text)
    expected = load_encoder("AutoModelForMaskedLM", folder.model("bert")).fill(text, 8)[0]
    assert bars(page.locator("#filled figure").first) == {
        token: pytest.approx(v, abs=1e-6) for token, v in expected
    }


def test_a_beginning_is_continued(visit, address, folder):
    page = visit(f"{address}?beginning=The+cook&seed=5")
    gpt = model(folder, "gpt")
    expected = continue_text(gpt.model, gpt.tokenizer, "The cook", 5, 0.7)
    assert expected.startswith("the cook")
    expect(page.locator("#written figcaption")).to_contain_text("seed 5")
    expect(page.locator("#written")).to_contain_text(expected[:60])


def test_gaps_are_filled(visit, address, folder):
    page = visit(address)
    page.get_by_label("Text with ___").fill("The tea ___ good.")
    t5 = model(folder, "t5")
    whole, answer = fill_spans(t5.model, t5.tokenizer, "The tea ___ good.")
    expect(page.locator("#restored")).to_contain_text(whole)
    expect(page.locator("#restored figcaption")).to_contain_text(answer[:40])
    page.get_by_label("Text with ___").fill("Nothing is missing.")
    expect(page.get_by_text("put it where words are missing").first).to_be_visible()


def test_the_table_is_that_of_the_run(visit, address, folder):
    page = visit(address)
    table = page.locator("#comparison table")
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(4)
    assert rows.locator("th").all_inner_texts() == ["GPT", "BERT", "T5", "TF-IDF + logistic regression"]
    for place, kind in enumerate(KINDS):
        cells = rows.nth(place).locator("td").all_inner_texts()
        assert cells[0] == f"{folder.metrics[f'{kind}/parameters']:,.0f}"
        assert cells[-1] == f"{folder.metrics[f'{kind}/accuracy']:.1%}"


def test_an_empty_sentence_is_told_in_a_line(visit, address):
    page = visit(address)
    page.locator("#masks figure").wait_for()
    page.get_by_label("Sentence").fill("")
    expect(page.get_by_text("the text is empty; type a sentence").first).to_be_visible()
