"""Metrics against scikit-learn, rouge-score and numbers worked out by hand."""

import subprocess
import sys

import numpy as np
import pytest

from hf_llmpath.errors import UserError


@pytest.fixture(scope="module")
def metrics():
    from hf_llmpath import metrics

    return metrics


def labels(classes: int, count: int = 400, seed: int = 0) -> tuple[list[int], list[int]]:
    """Predictions that are right more often than not, and references; class 2 is never predicted, if
    there is one.
    """
    random = np.random.default_rng(seed)
    references = random.integers(0, classes, count)
    predictions = np.where(random.random(count) < 0.6, references, random.integers(0, classes, count))
    return np.where(predictions == 2, 0, predictions).tolist(), references.tolist()


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_label_metrics_equal_scikit_learn(metrics, classes, seed):
    from sklearn import metrics as reference

    predictions, references = labels(classes, seed=seed)
    both = {"predictions": predictions, "references": references}
    assert metrics.Accuracy().compute(**both)["accuracy"] == reference.accuracy_score(references, predictions)
    for average in ("macro", "micro", "weighted") + (("binary",) if classes == 2 else ()):
        found = metrics.F1().compute(**both, average=average)["f1"]
        assert found == pytest.approx(reference.f1_score(references, predictions, average=average), abs=1e-12)
    assert metrics.MatthewsCorrelation().compute(**both)["matthews_correlation"] == pytest.approx(
        reference.matthews_corrcoef(references, predictions), abs=1e-12
    )
    matrix = metrics.ConfusionMatrix().compute(**both)["confusion_matrix"]
    assert matrix == reference.confusion_matrix(references, predictions).tolist()
    shares = metrics.ConfusionMatrix().compute(**both, normalize="true")["confusion_matrix"]
    np.testing.assert_allclose(shares, reference.confusion_matrix(references, predictions, normalize="true"))


def test_numbers_by_hand(metrics):
    both = {"predictions": [1, 1, 1, 0, 0, 0], "references": [1, 1, 0, 0, 0, 1]}  # TP 2, FP 1, FN 1, TN 2
    assert metrics.Accuracy().compute(**both) == {"accuracy": 4 / 6}
    assert metrics.F1().compute(**both) == {"f1": pytest.approx(2 / 3)}
    # (TP TN - FP FN) / sqrt(3 * 3 * 3 * 3)
    assert metrics.MatthewsCorrelation().compute(**both) == {"matthews_correlation": pytest.approx(3 / 9)}
    assert metrics.ConfusionMatrix().compute(**both) == {"confusion_matrix": [[2, 1], [1, 2]]}


def test_other_labels_and_their_order(metrics):
    both = {"predictions": [7, 7, -3], "references": [7, -3, -3]}
    matrix = metrics.ConfusionMatrix().compute(**both, labels=[7, 0, -3])
    assert matrix == {"confusion_matrix": [[1, 0, 0], [0, 0, 0], [1, 0, 1]]}
    assert metrics.F1().compute(**both, pos_label=7) == {"f1": pytest.approx(2 / 3)}
    assert metrics.F1().compute(**both) == {"f1": 0.0}  # label 1 neither occurs nor is predicted


def test_one_label_only(metrics):
    both = {"predictions": [3, 3, 3], "references": [3, 3, 3]}
    assert metrics.Accuracy().compute(**both) == {"accuracy": 1.0}
    assert metrics.MatthewsCorrelation().compute(**both) == {"matthews_correlation": 0.0}
    assert metrics.F1().compute(**both, average="macro") == {"f1": 1.0}


def test_batches_and_combinations_as_in_evaluate(metrics):
    import evaluate

    predictions, references = labels(3)
    whole = metrics.F1().compute(predictions=predictions, references=references, average="macro")
    metric = metrics.F1()
    for start in range(0, len(references), 64):
        metric.add_batch(
            predictions=predictions[start : start + 64], references=references[start : start + 64]
        )
    assert metric.compute(average="macro") == whole
    both = evaluate.combine([metrics.Accuracy(), metrics.MatthewsCorrelation()])
    assert both.compute(predictions=predictions, references=references).keys() == {
        "accuracy",
        "matthews_correlation",
    }


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: m.F1().compute(predictions=[0, 1, 2], references=[0, 1, 2]), "choose average='macro'"),
        (
            lambda m: m.F1().compute(predictions=[0], references=[0], average="mean"),
            "average is 'mean'; it must be",
        ),
        (lambda m: m.confusion_matrix([], []), "0 predictions for 0 references"),
        (lambda m: m.confusion_matrix([1], [1, 0]), "1 predictions for 2 references"),
        (lambda m: m.confusion_matrix([9], [1], labels=[0, 1]), "label 9 is not among the labels 0, 1"),
        (lambda m: m.confusion_matrix([0], [-1], labels=[1, 0]), "label -1 is not among the labels 1, 0"),
        (
            lambda m: m.ConfusionMatrix().compute(predictions=[1], references=[1], normalize="all"),
            "normalize is 'all'",
        ),
        (lambda m: m.rouge(["a"], []), "1 predictions for 0 references"),
    ],
)
def test_bad_input_is_told_in_one_line(metrics, call, words):
    with pytest.raises(UserError) as error:
        call(metrics)
    assert words in str(error.value) and "\n" not in str(error.value)


TEXTS = [
    ("the cat sat on the mat", "the cat lay on the mat"),
    ("Ivy found the red hat at the well.", "At the well, Ivy found a red hat."),
    ("nothing in common", "some other words"),
    ("", "an empty prediction"),
]


@pytest.mark.parametrize("stem", [False, True])
def test_rouge_equals_rouge_score(metrics, stem):
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stem)
    predictions, references = map(list, zip(*TEXTS, strict=True))
    found = metrics.Rouge().compute(predictions=predictions, references=references, use_stemmer=stem)
    for name in ("rouge1", "rouge2", "rougeL"):
        expected = np.mean([scorer.score(reference, text)[name].fmeasure for text, reference in TEXTS])
        assert found[name] == pytest.approx(expected, abs=1e-12)


def test_rouge_by_hand(metrics):
    found = metrics.Rouge().compute(
        predictions=["the cat sat on the mat"], references=["the cat lay on the mat"]
    )
    # 5 of 6 words; 3 of 5 pairs (the cat, on the, the mat); a common subsequence of 5 words.
    assert found == {
        "rouge1": pytest.approx(5 / 6),
        "rouge2": pytest.approx(3 / 5),
        "rougeL": pytest.approx(5 / 6),
    }


def test_the_best_of_several_references_counts(metrics):
    found = metrics.Rouge().compute(predictions=["a b c"], references=[["x y z", "a b d"]])
    assert found == {
        "rouge1": pytest.approx(2 / 3),
        "rouge2": pytest.approx(1 / 2),
        "rougeL": pytest.approx(2 / 3),
    }


@pytest.mark.slow
def test_the_package_does_not_import_evaluate():
    modules = ("runs", "settings", "stages", "stages.runner", "training.trainer", "ui.app")
    program = "; ".join(f"import hf_llmpath.{module}" for module in modules)
    program += "; import sys; assert 'evaluate' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
