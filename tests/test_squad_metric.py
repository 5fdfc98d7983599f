"""Exact match and F1 as SQuAD's own scripts define them, on cases worked out by hand."""

import pytest

from hf_llmpath.errors import UserError
from hf_llmpath.metrics import Squad, normalized_answer, squad_scores


@pytest.mark.parametrize(
    "prediction, answers, exact, f1",
    [
        ("The Mill!", ["the mill"], 1, 1),  # case, punctuation, article
        ("mill", ["a  mill", "the old mill"], 1, 1),
        ("to the mill", ["the mill"], 0, 2 * 1 * (1 / 2) / (1 + 1 / 2)),  # recall 1, precision 1/2
        ("red ball", ["a big red ball there"], 0, 2 * (2 / 2) * (2 / 4) / (2 / 2 + 2 / 4)),
        ("ball ball", ["ball"], 0, 2 * (1 / 2) * 1 / (1 / 2 + 1)),  # a word counts as often as both have it
        ("Otto", ["Wren", "Otto the smith"], 0, 2 * 1 * (1 / 2) / (1 + 1 / 2)),  # the best of several
        ("nothing alike", ["the mill"], 0, 0),
        ("", [], 1, 1),  # correctly no answer
        ("Otto", [], 0, 0),
        ("", ["Otto"], 0, 0),
        (
            "J. R. R. Tolkien's",
            ["JRR Tolkiens"],
            0,
            2 * (1 / 4) * (1 / 2) / (1 / 4 + 1 / 2),
        ),  # j r r tolkiens; jrr tolkiens
        ("théâtre", ["theatre"], 0, 0),  # accents stay
    ],
)
def test_hand_worked_cases(prediction, answers, exact, f1):
    found = squad_scores([prediction], [answers])
    assert found == {"exact_match": exact, "f1": pytest.approx(f1)}


def test_articles_go_as_whole_words_only():
    assert normalized_answer("An anthem, the theatre; a  banana") == "anthem theatre banana"


def test_the_metric_is_in_percent_and_matches_by_id():
    predictions = [{"id": "b", "prediction_text": "mill"}, {"id": "a", "prediction_text": "to the mill"}]
    references = [
        {"id": "a", "answers": {"text": ["the mill"], "answer_start": [3]}},
        {"id": "b", "answers": {"text": ["the mill", "an inn"], "answer_start": [3, 9]}},
    ]
    assert Squad().compute(predictions=predictions, references=references) == {
        "exact_match": 50.0,
        "f1": pytest.approx(100 * (1 + 2 / 3) / 2),
    }
    metric = Squad()
    for prediction, reference in zip(predictions, reversed(references), strict=True):
        metric.add_batch(predictions=[prediction], references=[reference])
    assert metric.compute()["exact_match"] == 50.0


def test_a_missing_prediction_is_named():
    references = [{"id": "x7", "answers": {"text": ["a"], "answer_start": [0]}}]
    with pytest.raises(UserError, match="no prediction for the question 'x7'"):
        Squad().compute(predictions=[{"id": "y", "prediction_text": "a"}], references=references)
    with pytest.raises(UserError, match="0 predictions for 1 references"):
        squad_scores([], [["a"]])
