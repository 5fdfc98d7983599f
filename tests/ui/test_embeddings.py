"""The page of stage 12 in a real browser: neighbors, the map, analogies and contexts are those of the
saved models.
"""

import numpy as np
import pytest
from playwright.sync_api import expect

from hf_llmpath.errors import UserError
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from hf_llmpath.stages.s12_embeddings.charts import spread_labels, word_map
from hf_llmpath.stages.s12_embeddings.demo import contextual_similarity, load_word_vectors
from tests.ui.conftest import serve
from tests.ui.test_pretraining import bars


@pytest.fixture(scope="module")
def folder(tiny_run) -> RunFolder:
    return tiny_run("embeddings")


@pytest.fixture(scope="module")
def address(folder, browser):
    """This page alone, served on this machine."""
    app = get_stage("embeddings").demo(folder)
    yield serve(app)
    app.close()


def close(rows):
    return {name: pytest.approx(max(0.0, value), abs=1e-5) for name, value in rows}


def test_a_words_neighbors_are_listed_and_marked_on_the_map(visit, address, folder):
    page = visit(f"{address}?word=baker")
    figure = page.locator("#near figure")
    expect(figure.locator("figcaption")).to_contain_text("Nearest to “baker”")
    near = load_word_vectors(folder.model_dir).neighbors("baker", 10)
    assert bars(figure).keys() == dict(near).keys()
    drawn = set(folder.figure_data("map")["words"])
    marked = page.locator("#map .lp-wide .on")
    expect(marked).to_have_count(len(drawn & {"baker", *dict(near)}))
    page.get_by_role("radio", name="PCA").check()
    expect(page.locator("#map figcaption")).to_contain_text("Words by PCA")
    page.get_by_role("radio", name="GloVe").check()
    other = load_word_vectors(folder.model("glove")).neighbors("baker", 10)
    expect(figure.locator(".lp-bar-name").first).to_have_text(other[0][0])
    assert bars(figure).keys() == dict(other).keys()


def test_an_unknown_word_is_told_with_the_nearest_by_spelling(visit, address):
    page = visit(address)
    page.locator("#near figure").wait_for()
    page.get_by_label("Word", exact=True).first.fill("harbor")
    expect(page.get_by_text("did you mean 'harbour'").first).to_be_visible()


def test_an_analogy_is_answered(visit, address, folder):
    page = visit(address)
    figure = page.locator("#analogy figure")
    expect(figure.locator("figcaption")).to_contain_text("mara is to baker as tom is to")
    page.get_by_label("as", exact=True).fill("finn")
    expect(figure.locator("figcaption")).to_contain_text("as finn is to")
    expected = load_word_vectors(folder.model_dir).analogy("mara", "baker", "finn")
    assert list(bars(figure)) == [word for word, _ in expected]


def test_two_contexts_give_two_vectors(visit, address, folder):
    page = visit(address)
    figure = page.locator("#contexts figure")
    figure.wait_for()
    texts = ("Its light fell on every face.", "It was light and strong.")
    page.get_by_label("First text").fill(texts[0])
    expected = contextual_similarity(folder.model("contextual"), "light", *texts)
    page.wait_for_function(
        "value => Math.abs(document.querySelectorAll('#contexts [data-value]')[1]?.dataset.value - value)"
        " < 1e-5",
        arg=max(0.0, expected),
    )
    assert bars(figure) == close([("static", 1.0), ("contextual", expected)])
    page.get_by_label("Ambiguous word").fill("zebra")
    expect(page.get_by_text("'zebra' does not stand in").first).to_be_visible()


def test_the_same_context_gives_the_same_vector(folder):
    encoder, text = folder.model("contextual"), "It was light and strong."
    assert contextual_similarity(encoder, "light", text, text) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(UserError, match="does not stand in"):
        contextual_similarity(encoder, "", text, text)


def test_labels_do_not_overlap():
    points = np.random.default_rng(0).normal(size=(60, 2)) * 0.1
    points[:5] = points[0]
    labels = [f"word{n}" for n in range(60)]
    positions = spread_labels(points, labels, letter=0.01, line=0.02)
    assert positions.min() >= 0 and positions.max() <= 1
    gap = np.abs(positions[:, None] - positions[None])
    width = np.array([len(label) * 0.01 for label in labels])
    hidden = (gap[..., 0] < 0.8 * (width[:, None] + width) / 2) & (gap[..., 1] < 0.8 * 0.02)
    np.fill_diagonal(hidden, False)
    assert not hidden.any()


def test_markup_of_the_map_is_safe_and_has_words_for_those_who_cannot_see_it():
    data = {
        "words": ["<b>", "cat"],
        "kinds": ["", "animal"],
        "maps": {"PCA": [[0, 0], [1, 1]]},
        "analogy": [],
    }
    markup = word_map(data, "PCA", {"cat"}).html()
    assert "<b>" not in markup and "&lt;b&gt;" in markup
    assert 'aria-label="A map of 2 words. Marked: cat."' in markup
