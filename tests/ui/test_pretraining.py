"""The page of stage 11 in a real browser: words hidden by a click, and what the models make of the gap."""

import json
import shutil

import pytest
from playwright.sync_api import expect

from hf_llmpath.errors import UserError
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s11_pretraining.demo import blank
from hf_llmpath.ui.encoder import load_encoder
from tests.ui.conftest import serve

TEXT = "The cake was lovely, but the tea was dreadful."


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("pretraining")


@pytest.fixture(scope="module")
def address(folder, browser):
    """This page alone, served on this machine."""
    app = get_stage("pretraining").demo(folder)
    yield serve(app)
    app.close()


def bars(figure) -> dict[str, float]:
    rows = figure.locator("[role=listitem]")
    return {
        rows.nth(i).locator(".lp-bar-name").inner_text(): float(
            rows.nth(i).locator("[data-value]").get_attribute("data-value")
        )
        for i in range(rows.count())
    }


def test_a_click_hides_a_word_and_both_models_guess_it(visit, address, folder):
    page = visit(address)
    page.get_by_role("radio", name="lovely,").check()
    blanked = "The cake was [MASK], but the tea was dreadful."
    figures = page.locator("#filled figure")
    expect(figures.first.locator("figcaption")).to_contain_text(blanked)
    expect(figures.first.locator("figcaption")).to_contain_text("The hidden word was “lovely”")
    models = {
        "Before pretraining": load_encoder("AutoModelForMaskedLM", folder.model("untrained")),
        "After": load_encoder("AutoModelForMaskedLM", folder.model_dir),
    }
    shown = {}
    for place, (name, model) in enumerate(models.items()):
        expect(figures.nth(place).locator("figcaption")).to_contain_text(name)
        shown[name] = bars(figures.nth(place))
        expected = model.fill(blanked, 8)[0]
        assert shown[name] == {token: pytest.approx(value, abs=1e-6) for token, value in expected}
    assert shown["Before pretraining"] != shown["After"]


def test_a_mask_in_the_text_is_used_as_it_stands(visit, address, folder):
    page = visit(address)
    page.get_by_label("Sentence").fill("We found the [MASK] lovely.")
    expect(page.locator("#filled figcaption").first).to_contain_text("We found the [MASK] lovely.")
    expected = load_encoder("AutoModelForMaskedLM", folder.model_dir).fill("We found the [MASK] lovely.", 8)[
        0
    ]
    assert bars(page.locator("#filled figure").nth(1)) == {t: pytest.approx(v, abs=1e-6) for t, v in expected}


def test_the_words_to_hide_are_those_of_the_sentence(visit, address):
    page = visit(f"{address}?sentence=Nobody+called+it+good")
    expect(page.locator("#word input")).to_have_count(4)
    page.get_by_label("Sentence").fill("I saw a play")
    expect(page.get_by_role("radio", name="saw")).to_be_visible()
    expect(page.locator("#word input")).to_have_count(4)
    expect(page.locator("#filled figcaption").first).to_contain_text(
        "I saw a [MASK]"
    )  # the answer to what was typed
    page.get_by_role("radio", name="saw").check()
    expect(page.locator("#filled figcaption").first).to_contain_text("I [MASK] a play")


def test_an_empty_sentence_is_told_in_a_line(visit, address):
    page = visit(address)
    page.get_by_label("Sentence").fill("")
    expect(page.get_by_text("the text is empty; type a sentence with [MASK] in it").first).to_be_visible()


def test_a_long_sentence_is_read_from_its_beginning_and_the_page_says_so(visit, address):
    page = visit(address)
    page.get_by_label("Sentence").fill("The [MASK] was good. " + "We had tea. " * 40)
    note = page.locator("#filled figcaption").first
    expect(note).to_contain_text("the model read the first 64.")
    expect(note).to_contain_text("tokens;")


def test_a_text_is_classified_by_both_classifiers(visit, address, folder):
    page = visit(address)
    text = "Not once was the soup nasty!"
    page.get_by_label("Text to classify").fill(text)
    for place, arm in enumerate(("pretrained", "random")):
        model = load_encoder("AutoModelForSequenceClassification", folder.model(f"classifier-{arm}"))
        expected = {name: pytest.approx(value, abs=1e-6) for name, value in model.classify(text)}
        assert set(expected) == {"negative", "positive"}
        figure = page.locator("#classified figure").nth(place)
        page.wait_for_function(
            "([place, value]) => Math.abs(document.querySelectorAll('#classified figure')[place]"
            "?.querySelector('[data-value]')?.dataset.value - value) < 1e-5",
            arg=[place, model.classify(text)[0][1]],
        )
        assert bars(figure) == expected


def test_masking_and_label_efficiency_are_those_of_the_run(visit, address, folder):
    page = visit(address)
    draws = folder.figure_data("masking")["draws"]
    for place in ("#masking", "#label-efficiency", "#perplexity"):
        page.locator(f"{place} figure").first.wait_for()
    boxes = page.locator("#masking .lp-boxes").nth(1)  # the first row is the text itself
    assert boxes.locator("span").all_inner_texts() == draws[0]["seen"]
    assert boxes.locator(".on").count() == sum(draws[0]["guessed"])
    shown = bars(page.locator("#label-efficiency figure").first)
    assert shown["fine-tuned from the pretrained encoder"] == pytest.approx(
        folder.metrics["accuracy_300"], abs=1e-6
    )


@pytest.mark.parametrize(
    "text, word, expected",
    [
        (TEXT, 3, ("The cake was [MASK], but the tea was dreadful.", "lovely")),
        (TEXT, 8, ("The cake was lovely, but the tea was [MASK].", "dreadful")),
        ("a [MASK] b", 0, ("a [MASK] b", "")),
        ("one", None, ("[MASK]", "one")),
        ("one two", 9, ("one [MASK]", "two")),
        ("", 0, ("", "")),
        ("...", 0, ("[MASK]", "...")),
    ],
)
def test_blanking_keeps_the_punctuation(text, word, expected):
    assert blank(text, word, "[MASK]") == expected


def test_the_tokenizer_of_another_model_is_told(folder, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(folder.model_dir, mixed)
    tokenizer = json.loads((mixed / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = dict(list(tokenizer["model"]["vocab"].items())[:-5])
    (mixed / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(
        UserError, match="tokens and the model in mixed/ [0-9,]+: it is the tokenizer of another model"
    ):
        load_encoder("AutoModelForMaskedLM", mixed)
