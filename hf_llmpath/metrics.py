"""Defines the metrics of the path as `evaluate.Metric` classes that need no network.

    from hf_llmpath.metrics import Accuracy, F1
    Accuracy().compute(predictions=[0, 1, 1], references=[0, 1, 0])  # {'accuracy': 0.666...}
    evaluate.combine([Accuracy(), F1()]).compute(...)

scikit-learn and rouge-score compute most of them. No library has SQuAD's measure, so it is implemented here.
Importing this module imports `evaluate`, which takes seconds: import it inside the function that measures.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import datasets
import evaluate
import numpy as np
from sklearn import metrics as sklearn_metrics

from .errors import UserError

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")


class _Metric(evaluate.Metric):
    """A metric that keeps its inputs in memory or, with several processes, in files that all can read."""

    predictions: datasets.Value
    references: datasets.Value
    citation = ""

    def __init__(self, num_process: int = 1, **options: Any):
        super().__init__(num_process=num_process, **{"keep_in_memory": num_process == 1} | options)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=(type(self).__doc__ or "").strip(),
            citation=self.citation,
            inputs_description="predictions and references: lists of equal length",
            features=self._features(),
        )

    def _features(self) -> Any:
        return datasets.Features({"predictions": self.predictions, "references": self.references})


class _LabelMetric(_Metric):
    """A metric of integer labels."""

    predictions = references = datasets.Value("int64")


def confusion_matrix(
    predictions: Sequence[int], references: Sequence[int], labels: Sequence[int] | None = None
) -> np.ndarray:
    """Counts how often each true label was predicted as each label.

    Args:
        predictions, references: predicted and true labels, two lists of equal length.
        labels: all labels that may occur; by default those that do occur, sorted.

    Returns:
        Counts `(true labels, predicted labels)`, with rows and columns in the order of `labels`.

    Raises:
        UserError: the lists are empty or differ in length, or a label is not among `labels`.
    """
    _require_pairs(predictions, references)
    if labels is not None:
        known = set(map(int, labels))
        for label in (*references, *predictions):
            if label not in known:
                raise UserError(f"label {label} is not among the labels {', '.join(map(str, labels))}")
    return sklearn_metrics.confusion_matrix(references, predictions, labels=labels)


def _require_pairs(predictions: Sequence[Any], references: Sequence[Any]) -> None:
    if not len(references) or len(predictions) != len(references):
        raise UserError(
            f"{len(predictions)} predictions for {len(references)} references; there must be one for each, "
            "and at least one"
        )


class Accuracy(_LabelMetric):
    """Share of predictions that equal their reference."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"accuracy": float(sklearn_metrics.accuracy_score(references, predictions))}


class ConfusionMatrix(_LabelMetric):
    """Counts how often each true label (row) was predicted as each label (column).

    In `compute(..., labels=[0, 1, 2], normalize="true")`, `labels` sets the order and adds labels that do
    not occur, and `normalize="true"` divides each row by its sum (a row without references stays 0).
    """

    def _compute(
        self,
        predictions: Sequence[int],
        references: Sequence[int],
        labels: Sequence[int] | None = None,
        normalize: Literal["true"] | None = None,
    ) -> dict[str, list]:
        matrix = confusion_matrix(predictions, references, labels)
        if normalize not in (None, "true"):
            raise UserError(f"normalize is '{normalize}'; it must be 'true' (by true label) or None")
        if normalize == "true":
            # The sums of the rows, (rows, 1); at least 1, because an empty row would divide 0 by 0.
            return {"confusion_matrix": (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)).tolist()}
        return {"confusion_matrix": matrix.tolist()}


class F1(_LabelMetric):
    """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN).

    It is 0 for a class that neither occurs nor is predicted. `compute(..., average=)` takes `"binary"` (F1
    of the class `pos_label`), `"macro"` (mean over the classes), `"weighted"` (mean over the classes,
    weighted by how often they occur), or `"micro"` (F1 of the summed counts, which equals the accuracy if
    each example has one label).
    """

    def _compute(
        self,
        predictions: Sequence[int],
        references: Sequence[int],
        average: str = "binary",
        pos_label: int = 1,
    ) -> dict[str, float]:
        averages = ("binary", "macro", "weighted", "micro")
        if average not in averages:
            raise UserError(f"average is '{average}'; it must be one of: {', '.join(averages)}")
        count = len(np.union1d(predictions, references))
        if average == "binary" and count > 2:
            raise UserError(f"{count} different labels; choose average='macro', 'micro' or 'weighted'")
        of_one = {"labels": [pos_label], "average": "macro"}  # scikit-learn refuses a label that is absent
        options = of_one if average == "binary" else {"average": average}
        return {"f1": float(sklearn_metrics.f1_score(references, predictions, zero_division=0, **options))}


class MatthewsCorrelation(_LabelMetric):
    """Correlation of true and predicted labels, from -1 to 1; 0 if all labels of one side are the same."""

    citation = "Gorodkin (2004), Comparing two K-category assignments by a K-category correlation coefficient"

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"matthews_correlation": float(sklearn_metrics.matthews_corrcoef(references, predictions))}


class Rouge(_Metric):
    """Overlap of a text with its reference, as an F-measure, averaged over all texts.

    rouge1 compares words, rouge2 pairs of words, and rougeL the longest common subsequence. If a text has
    several references, the best one counts. `compute(..., use_stemmer=True)` compares words by their stems.
    """

    citation = "Lin (2004), ROUGE: A Package for Automatic Evaluation of Summaries"

    def _features(self) -> list[datasets.Features]:
        text = datasets.Value("string")
        # evaluate takes the first of these that fits: several references per text, or one.
        return [
            datasets.Features({"predictions": text, "references": datasets.List(text)}),
            datasets.Features({"predictions": text, "references": text}),
        ]

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[str] | Sequence[Sequence[str]],
        use_stemmer: bool = False,
    ) -> dict[str, float]:
        return rouge(predictions, references, use_stemmer)


def rouge(
    predictions: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]], use_stemmer: bool = False
) -> dict[str, float]:
    """Computes `rouge1`, `rouge2`, and `rougeL` (see `Rouge`), without a detour through Arrow.

    Raises:
        UserError: the lists are empty or differ in length.
    """
    from rouge_score.rouge_scorer import RougeScorer

    _require_pairs(predictions, references)
    scorer = RougeScorer(ROUGE_TYPES, use_stemmer=use_stemmer)
    scores = [
        scorer.score(reference, prediction)
        if isinstance(reference, str)
        else scorer.score_multi(list(reference), prediction)
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return {name: float(np.mean([score[name].fmeasure for score in scores])) for name in ROUGE_TYPES}


class Squad(_Metric):
    """Exact match and F1 of answers, in percent, as SQuAD measures them.

    Texts are compared in lower case, without punctuation, articles, and extra white space. F1 counts the
    words that prediction and answer share. If a question has several correct answers, the best match counts.
    The correct answer to an unanswerable question is the empty text.

    `compute(predictions=[{"id", "prediction_text"}], references=[{"id", "answers": {"text",
    "answer_start"}}])` matches predictions and references by `id`.
    """

    citation = (
        "Rajpurkar et al. (2016), SQuAD: 100,000+ Questions for Machine Comprehension of Text, "
        "arXiv:1606.05250"
    )

    def _features(self) -> datasets.Features:
        text, start = datasets.Value("string"), datasets.Value("int32")
        answers = {"text": datasets.List(text), "answer_start": datasets.List(start)}
        return datasets.Features(
            {
                "predictions": {"id": text, "prediction_text": text},
                "references": {"id": text, "answers": answers},
            }
        )

    def _compute(self, predictions: Sequence[dict], references: Sequence[dict]) -> dict[str, float]:
        by_id = {prediction["id"]: prediction["prediction_text"] for prediction in predictions}
        for reference in references:
            if reference["id"] not in by_id:
                raise UserError(
                    f"no prediction for the question '{reference['id']}'; every reference needs one"
                )
        texts = [by_id[reference["id"]] for reference in references]
        scores = squad_scores(texts, [reference["answers"]["text"] for reference in references])
        return {name: 100 * value for name, value in scores.items()}


def squad_scores(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """Computes `exact_match` and `f1` (see `Squad`) as shares of 1.

    Args:
        predictions: one answer for each question.
        answers: the correct answers to each question; an empty list means that the text has no answer.

    Raises:
        UserError: the lists are empty or differ in length.
    """
    _require_pairs(predictions, answers)
    exact, overlap = [], []
    for prediction, right in zip(predictions, answers, strict=True):
        predicted = normalized_answer(prediction).split()
        accepted = [normalized_answer(answer).split() for answer in right or [""]]
        exact.append(max(predicted == words for words in accepted))
        overlap.append(max(_word_f1(predicted, words) for words in accepted))
    return {"exact_match": float(np.mean(exact)), "f1": float(np.mean(overlap))}


def normalized_answer(text: str) -> str:
    """Lowercases a text and removes ASCII punctuation, the articles a, an, and the, and extra white space."""
    # The order is SQuAD's: punctuation goes first, so "a." is an article and "a-b" becomes the word "ab".
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def _word_f1(predicted: list[str], answer: list[str]) -> float:
    if not predicted or not answer:  # "no answer" is either entirely right or entirely wrong
        return float(predicted == answer)
    # F1 = 2 precision recall / (precision + recall), with precision = common / predicted words and
    # recall = common / words of the answer. A word counts as often as both texts contain it.
    common = (Counter(predicted) & Counter(answer)).total()
    return 2 * common / (len(predicted) + len(answer))
