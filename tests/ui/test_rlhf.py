"""The page of stage 16 in a real browser: two chatbots answer, and a thumb becomes a training pair."""

import shutil

import pytest
from playwright.sync_api import expect

from hf_llmpath.decoding.chatbot import THUMBS, Chatbot
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s16_rlhf.preference_data import load_preferences
from tests.ui.conftest import serve

PROMPT = "Who is the baker in the village?"


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory) -> RunFolder:
    """A run of its own: its thumbs are written there."""
    path = tmp_path_factory.mktemp("rlhf") / "16-rlhf"
    shutil.copytree(tiny_run("rlhf").path, path)
    return RunFolder(path)


@pytest.fixture(scope="module")
def address(folder, browser):
    app = get_stage("rlhf").demo(folder)
    yield serve(app)
    app.close()


def replies(page, seed: int) -> list[str]:
    page.get_by_label("Seed").fill(str(seed))
    page.get_by_label("Seed").press("Tab")
    page.get_by_role("button", name="Reply", exact=True).click()
    texts = page.locator("#replies .lp-text")
    expect(texts).to_have_count(2)
    page.get_by_role("button", name="Stop", exact=True).first.wait_for()
    expect(page.locator("#replies .lp-caret")).to_have_count(0)
    return texts.all_inner_texts()


def test_both_chatbots_answer_as_they_do_elsewhere(visit, address, folder):
    page = visit(address)
    page.get_by_label("You say").fill(PROMPT)
    expected = [
        list(Chatbot(place).stream(PROMPT, 0.7, 3))[-1] for place in (folder.model("sft"), folder.model_dir)
    ]
    page.get_by_label("Seed").fill("3")
    page.get_by_label("Seed").press("Tab")
    page.get_by_role("button", name="Reply", exact=True).click()
    for place, text in enumerate(expected):
        expect(page.locator("#replies .lp-text").nth(place)).to_have_text(text)
    captions = page.locator("#replies figcaption")
    expect(captions.nth(0)).to_contain_text("Fine-tuned only (SFT)")
    expect(captions.nth(1)).to_contain_text("Aligned (PPO)")


def test_a_thumb_is_saved_as_a_pair(visit, address, folder):
    page = visit(address)
    page.get_by_role("button", name="The aligned one is better").click()
    page.get_by_text("there is no reply to judge yet").wait_for()
    bots = [Chatbot(place) for place in (folder.model("sft"), folder.model_dir)]
    seeds = [
        seed for seed in range(12) if len({list(bot.stream(PROMPT, 1.5, seed))[-1] for bot in bots}) == 2
    ][:2]
    assert len(seeds) == 2, "the two models are the same"
    for number, (seed, button) in enumerate(
        zip(seeds, ("The aligned one", "The first"), strict=True), start=1
    ):
        expected = [list(bot.stream(PROMPT, 1.5, seed))[-1] for bot in bots]
        page = visit(f"{address}?prompt={PROMPT}&temperature=1.5&seed={seed}")
        page.get_by_role("button", name="Reply", exact=True).click()
        for place, text in enumerate(expected):
            expect(page.locator("#replies .lp-text").nth(place)).to_have_text(text)
        expect(page.locator("#replies .lp-caret")).to_have_count(0)
        page.get_by_role("button", name=button).click()
        expect(page.locator("#saved")).to_contain_text(f"Saved: {number} pair")
    expect(page.locator("#saved")).to_contain_text("llmpath run rlhf --dataset")
    pairs = load_preferences(str(folder.path / THUMBS))
    assert len(pairs.train) + len(pairs.test) == 2
    assert {pair["prompt"][0]["content"] for pair in (*pairs.train, *pairs.test)} == {PROMPT}


def test_the_pictures_are_those_of_the_run(visit, address, folder):
    page = visit(address)
    scores = page.locator("#scores figure").first
    expect(scores).to_contain_text(f"{folder.metrics['judge_score']:.3f}")
    expect(scores).to_contain_text(f"{folder.report['baselines']['judge_score']:.3f}")
    rows = folder.figure_data("replies")
    figures = page.locator("#transcript figure")
    expect(figures).to_have_count(5)
    for place in range(5):
        expect(figures.nth(place)).to_contain_text(rows[place]["prompt"])
        expect(figures.nth(place)).to_contain_text(f"PPO [{rows[place]['replies']['ppo']['score']:.2f}]")
    for place in ("#reward figure", "#kl figure"):
        page.locator(place).first.wait_for()
