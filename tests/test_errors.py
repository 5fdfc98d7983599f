"""The one-line error, and the nearest known word in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_llmpath.errors import UserError, nearest
from hf_llmpath.stages import all_stages, get_stage

SLUGS = [stage.slug for stage in all_stages()]


def test_the_nearest_word_is_named():
    assert nearest("lstmgru", SLUGS) == "; did you mean 'lstm-gru'?"
    assert nearest("hiden_size", iter(["hidden_size", "seed"])) == "; did you mean 'hidden_size'?"


def test_nothing_is_named_when_nothing_is_near():
    assert nearest("zzz", SLUGS) == ""
    assert nearest("rnn", []) == ""


@given(st.text(), st.lists(st.text(min_size=1)))
def test_only_known_words_are_named(word, known):
    said = nearest(word, known)
    assert said == "" or said in [f"; did you mean '{choice}'?" for choice in known]


@pytest.mark.parametrize("slug", SLUGS)
def test_one_wrong_letter_still_finds_the_stage(slug):
    for place in range(len(slug)):
        typed = slug[:place] + "x" + slug[place + 1 :]
        with pytest.raises(UserError, match=f"did you mean '{slug}'"):
            get_stage(typed)


@given(st.text())
def test_a_stage_is_found_by_number_or_name_and_else_refused(name):
    try:
        stage = get_stage(name)
    except UserError as error:
        assert str(error).startswith(f"unknown stage '{name}'")
    else:
        assert name.strip().lower() in (
            stage.slug,
            str(stage.number),
            f"{stage.number:02d}",
            stage.folder_name,
        )


@pytest.mark.parametrize("stage", all_stages(), ids=lambda stage: stage.slug)
def test_every_spelling_of_a_stage(stage):
    for name in (
        stage.number,
        str(stage.number),
        f"{stage.number:02d}",
        stage.slug,
        stage.slug.upper(),
        stage.folder_name,
    ):
        assert get_stage(name) is stage
