"""The page of stage 13 in a real browser: answers are marked; stopping and clipping are those of the run."""

import json
import shutil

import pytest
from playwright.sync_api import expect

from hf_llmpath.errors import UserError
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s13_fine_tuning.charts import lines_of, marked_context
from hf_llmpath.stages.s13_fine_tuning.demo import QUESTIONS, SHOWN, TEXT, load_reader
from tests.ui.conftest import serve


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("fine-tuning")


@pytest.fixture(scope="module")
def address(folder, browser):
    """This page alone, served on this machine."""
    app = get_stage("fine-tuning").demo(folder)
    yield serve(app)
    app.close()


def bars(page) -> list[tuple[str, float]]:
    rows = page.locator("#answers [role=listitem]")
    return [
        (
            rows.nth(index).locator(".lp-bar-name").inner_text(),
            float(rows.nth(index).locator("[data-value]").get_attribute("data-value")),
        )
        for index in range(rows.count())
    ]


def shown_for(folder, question, text):
    answers = load_reader(folder.model_dir).answers(question, text, SHOWN)
    return [(answer.text or "(no answer)", pytest.approx(answer.score, abs=1e-6)) for answer in answers]


def test_the_likeliest_answers_are_shown_and_the_first_is_marked(visit, address, folder):
    page = visit(address)
    for question in (QUESTIONS[0], QUESTIONS[2]):
        page.get_by_role("textbox", name="Question").fill(question)
        expect(page.locator("#answers figcaption").first).to_contain_text(question)
        assert bars(page) == shown_for(folder, question, TEXT)
    best = load_reader(folder.model_dir).answers(QUESTIONS[2], TEXT, 1)[0]
    marked = page.locator("#answers .lp-boxes .on[title='likeliest answer']").all_inner_texts()
    assert "".join(marked) == "".join(best.text.split()).replace(" ", "")
    caption = page.locator("#answers figcaption").first
    expect(caption).to_contain_text(f"Answer: {best.text}" if best.text else "No answer in this text")


def test_a_text_longer_than_the_model_is_read_in_windows_and_the_page_says_so(visit, address, folder):
    page = visit(address)
    long = " ".join([TEXT] * 5)
    page.get_by_role("textbox", name="Text").fill(long)
    expect(page.locator("#answers figcaption").first).to_contain_text("in windows of 128")
    assert bars(page) == shown_for(folder, QUESTIONS[0], long)


@pytest.mark.parametrize(
    "label, message", [("Question", "the question is empty"), ("Text", "the text is empty")]
)
def test_what_is_missing_is_told_in_a_line(visit, address, label, message):
    page = visit(address)
    page.get_by_role("textbox", name=label).fill("  ")
    expect(page.get_by_text(message).first).to_be_visible()


def test_stopping_and_clipping_are_those_of_the_run(visit, address, folder):
    page = visit(address)
    steps = lines_of(folder, "stopped", "eval_loss")[0][-1]
    expect(page.locator("#early-stopping figcaption")).to_contain_text(f"stopped after {steps:,}")
    loss = folder.metrics["clipped/validation_loss"]
    expect(page.locator("#clipping figcaption")).to_contain_text(
        f"loss at the end is {loss:.2f} with clipping"
    )


def test_marks_tell_right_from_wrong_and_missed():
    row = {"context": "Ada saw a red kite. Ben slept.", "right": ["Ben"]}
    right = row | {"answers": [{"text": "Ben", "start": 20, "end": 23}]}
    assert dict(zip(*marked_context(right), strict=True))["Ben"] == "right"
    wrong = row | {"answers": [{"text": "red kite", "start": 10, "end": 18}]}
    marks = dict(zip(*marked_context(wrong), strict=True))
    assert (marks["red"], marks["kite"], marks["Ben"], marks["Ada"]) == ("wrong", "wrong", "missed", "")
    none = row | {"answers": [{"text": "", "start": 0, "end": 0}]}
    assert [mark for mark in marked_context(none)[1] if mark] == ["missed"]


def test_the_tokenizer_of_another_model_is_told(folder, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(folder.model_dir, mixed)
    tokenizer = json.loads((mixed / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = dict(list(tokenizer["model"]["vocab"].items())[:-5])
    (mixed / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match="tokenizer of another model"):
        load_reader(mixed)
