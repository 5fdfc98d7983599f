"""The page of stage 14 in a real browser: three ways to continue, the tree of the search, the race."""

import pytest
from playwright.sync_api import expect

from hf_llmpath.decoding.sampling import GREEDY, Sampling
from hf_llmpath.errors import UserError
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s14_inference.beam_tree import tree_picture
from hf_llmpath.stages.s14_inference.demo import EXAMPLES, load_decoder
from tests.ui.conftest import serve


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("inference")


@pytest.fixture(scope="module")
def address(folder, browser):
    """This page alone, served on this machine."""
    app = get_stage("inference").demo(folder)
    yield serve(app)
    app.close()


def texts(page) -> list[str]:
    return page.locator("#texts .lp-text").all_inner_texts()


def test_the_three_texts_are_those_of_the_model(visit, address, folder):
    page, decoder = visit(address), load_decoder(folder.model_dir)
    for prompt in (EXAMPLES[0], EXAMPLES[2]):
        page.get_by_role("textbox", name="Text").fill(prompt)
        expect(page.locator("#texts .lp-prompt").first).to_have_text(prompt)
        expected = [
            decoder.write(prompt, GREEDY, 32),
            decoder.write(prompt, Sampling(0.8, 0, 0.95), 32, 0),
            decoder.search(prompt, 3, 32, 1.0)[0],
        ]
        assert texts(page) == [prompt + one.text for one in expected]
    expect(page.locator("#texts figcaption").last).to_contain_text("nats per token")


def test_another_seed_draws_another_text_and_the_address_keeps_it(visit, address):
    page = visit(address)
    expect(page.locator("#texts .lp-text").first).to_be_visible()
    before = texts(page)
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Seed").press("Tab")
    expect(page.locator("#texts figcaption").nth(1)).to_contain_text("seed 7")
    after = texts(page)
    assert after[0] == before[0] and after[1] != before[1] and after[2] == before[2]
    page.wait_for_url("**seed=7**")


def test_the_tree_is_that_of_the_search(visit, address, folder):
    page = visit(address)
    expect(page.locator("#tree figcaption")).to_contain_text("The first 8 steps")
    _, steps = load_decoder(folder.model_dir).search(EXAMPLES[0], 3, 8, 1.0)
    shown = page.locator("#tree svg g:not(.root)")
    assert shown.count() == sum(map(len, steps))
    best = page.locator("#tree svg g.best").count()
    assert best == sum(node["best"] for nodes in steps for node in nodes) > 0
    values = [text.text_content() for text in page.locator("#tree svg g:not(.root) .value").all()]
    assert values == [f"{node['log_probability']:.2f}" for nodes in steps for node in nodes]


def test_the_race_ends_with_a_bar_for_every_form(visit, address, folder):
    page = visit(address)
    page.get_by_role("button", name="Start the race").click()
    rows = page.locator("#race [role=listitem]")
    expect(rows).to_have_count(9, timeout=120_000)
    expect(page.get_by_role("button", name="Start the race")).to_be_enabled(timeout=60_000)
    speeds = [float(value.get_attribute("data-value")) for value in rows.locator("[data-value]").all()]
    assert len(speeds) == 9 and min(speeds) > 0
    assert (folder.onnx_dir / "model.onnx").exists()


def test_the_table_is_that_of_the_run(visit, address, folder):
    page = visit(address)
    rows = folder.figure_data("table")
    expect(page.locator("#forms tbody tr")).to_have_count(len(rows))
    first = page.locator("#forms tbody tr").first.locator("td").first
    expect(first).to_have_text(f"{rows['no cache']['tokens_per_second']:,.0f}")


def test_a_prompt_that_leaves_no_room_is_told(visit, address, folder):
    page = visit(address)
    page.get_by_role("textbox", name="Text").fill("the " * 74)
    page.get_by_role("slider", name="Tokens to write").last.fill("64")
    expect(page.get_by_text("take a shorter prompt").first).to_be_visible()
    with pytest.raises(UserError, match="the model reads 128"):
        load_decoder(folder.model_dir).encode("the " * 120, 32)


def test_unknown_words_are_told(visit, address):
    page = visit(address)
    page.get_by_role("textbox", name="Text").fill("Mara saw a helicopter")
    expect(page.locator("#texts figcaption").first).to_contain_text("never saw helicopter")


def test_a_tree_by_hand():
    node = {"log_probability": -1.0, "score": None, "ended": False, "best": True}
    steps = [
        [node | {"token": "a", "parent": -1}, node | {"token": "b", "parent": -1, "best": False}],
        [node | {"token": "<|endoftext|>", "parent": 0, "ended": True, "score": -0.5}],
    ]
    markup = tree_picture(steps, "Once", "A tree").html()
    assert markup.count("<g ") == 4 and markup.count("<path ") == 3
    assert markup.count('<path class="best"') == 2
    assert "3 texts in 2 steps; the best text continues with: a ∎" in markup
