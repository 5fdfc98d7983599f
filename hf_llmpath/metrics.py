"""The metrics of the path as `evaluate.Metric` classes that need no network.

    from hf_llmpath.metrics import Accuracy, F1
    Accuracy().compute(predictions=[0, 1, 1], references=[0, 1, 0])  # {'accuracy': 0.666...}
    evaluate.combine([Accuracy(), F1()]).compute(...)

Importing this module imports `evaluate`, which takes seconds: import it where something is measured.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import datasets
import evaluate
import numpy as np

from .errors import UserError

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")


class _Metric(evaluate.Metric):
    """A metric that keeps what it is given in memory; with several processes, in files that all of them
    can read.
    """

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
    """Counts `(true label, predicted label)`, rows and columns in the order of `labels`.

    Args:
        predictions, references: labels, equally many of each.
        labels: all labels there are; by default those that occur, sorted.

    Raises:
        UserError: nothing to count, lists of different lengths, or a label that is not among `labels`.
    """
    predicted, true = np.asarray(predictions, dtype=np.int64), np.asarray(references, dtype=np.int64)
    if not len(true) or len(predicted) != len(true):
        raise UserError(
            f"{len(predicted)} predictions for {len(true)} references; there must be one for each, and some"
        )
    known = (
        np.unique(np.concatenate([predicted, true])) if labels is None else np.asarray(labels, dtype=np.int64)
    )
    order = np.argsort(known)
    places = np.searchsorted(known, np.stack([true, predicted]), sorter=order).clip(max=len(known) - 1)
    rows, columns = order[places]
    for place, values in ((rows, true), (columns, predicted)):
        if len(wrong := values[known[place] != values]):
            raise UserError(f"label {wrong[0]} is not among the labels {', '.join(map(str, known))}")
    return np.bincount(rows * len(known) + columns, minlength=len(known) ** 2).reshape(len(known), len(known))


class Accuracy(_LabelMetric):
    """Share of predictions that equal their reference."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        matrix = confusion_matrix(predictions, references)
        return {"accuracy": float(np.trace(matrix) / matrix.sum())}


class ConfusionMatrix(_LabelMetric):
    """How often each true label (row) was predicted as each label (column).

    `compute(..., labels=[0, 1, 2], normalize="true")`: `labels` fixes the order and adds labels that do
    not occur; `normalize="true"` divides each row by its sum (a row without references stays 0).
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
            return {"confusion_matrix": (matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)).tolist()}
        return {"confusion_matrix": matrix.tolist()}


class F1(_LabelMetric):
    """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN); 0 for a class that neither occurs
    nor is predicted.

    `compute(..., average=)`: `"binary"` (of the class `pos_label`), `"macro"` (mean over classes),
    `"weighted"` (mean over classes by how often they occur) or `"micro"` (from the sums of the counts:
    with one label for each example this is the accuracy).
    """

    citation = "van Rijsbergen (1979), Information Retrieval, chapter 7"

    def _compute(
        self,
        predictions: Sequence[int],
        references: Sequence[int],
        average: str = "binary",
        pos_label: int = 1,
    ) -> dict[str, float]:
        matrix = confusion_matrix(predictions, references)
        hits, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        scores = (
            2 * hits / (support + predicted)
        )  # TP + FN and TP + FP; a label that occurs makes this more than 0
        if average == "binary":
            labels = np.union1d(predictions, references)
            if len(labels) > 2:
                raise UserError(
                    f"{len(labels)} different labels; choose average='macro', 'micro' or 'weighted'"
                )
            return {"f1": float(scores[labels == pos_label].sum())}
        averages = {
            "macro": lambda: scores.mean(),
            "weighted": lambda: np.average(scores, weights=support),
            "micro": lambda: hits.sum() / matrix.sum(),
        }
        if average not in averages:
            raise UserError(f"average is '{average}'; it must be binary, {', '.join(averages)}")
        return {"f1": float(averages[average]())}


class MatthewsCorrelation(_LabelMetric):
    """Correlation of true and predicted labels over all classes, -1 to 1; 0 if one side knows a single
    label only.
    """

    citation = (
        "Gorodkin (2004), Comparing two K-category assignments by a K-category correlation coefficient, eq. 8"
    )

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        matrix = confusion_matrix(predictions, references).astype(np.float64)
        true, predicted, count = matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
        covariance = np.trace(matrix) * count - true @ predicted
        scale = np.sqrt((count**2 - true @ true) * (count**2 - predicted @ predicted))
        return {"matthews_correlation": float(covariance / scale) if scale else 0.0}


class Rouge(_Metric):
    """Overlap of a text with its reference, F-measure: of words (rouge1), of word pairs (rouge2), and of
    the longest common subsequence (rougeL); the mean over all texts. Of several references the best one
    counts.

    `compute(..., use_stemmer=False)`: whether words are compared by their stems. The scores are
    rouge-score's.
    """

    citation = "Lin (2004), ROUGE: A Package for Automatic Evaluation of Summaries"

    def _features(self) -> list[datasets.Features]:
        text = datasets.Value("string")
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
    """`rouge1`, `rouge2` and `rougeL` (see `Rouge`), without the detour over Arrow.

    Raises:
        UserError: nothing to score, or lists of different lengths.
    """
    from rouge_score.rouge_scorer import RougeScorer

    if not len(references) or len(predictions) != len(references):
        raise UserError(
            f"{len(predictions)} predictions for {len(references)} references; there must be one for each, and some"
        )
    scorer = RougeScorer(ROUGE_TYPES, use_stemmer=use_stemmer)
    scores = [
        scorer.score(reference, prediction)
        if isinstance(reference, str)
        else scorer.score_multi(list(reference), prediction)
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return {name: float(np.mean([score[name].fmeasure for score in scores])) for name in ROUGE_TYPES}


class Squad(_Metric):
    """Exact match and F1 of answers, in percent, as SQuAD measures them: of several right answers the
    best counts.

    Texts are compared in lower case, without punctuation, articles and superfluous white space. F1 is of
    the words that both have. A question without an answer is answered by the empty text (and then counts
    in full).

    `compute(predictions=[{"id", "prediction_text"}], references=[{"id", "answers": {"text",
    "answer_start"}}])`, matched by `id`.
    """

    citation = "Rajpurkar et al. (2016), SQuAD: 100,000+ Questions for Machine Comprehension of Text, arXiv:1606.05250, 6.1"

    def _features(self) -> datasets.Features:
        text, place = datasets.Value("string"), datasets.Value("int32")
        answers = {"text": datasets.List(text), "answer_start": datasets.List(place)}
        return datasets.Features(
            {
                "predictions": {"id": text, "prediction_text": text},
                "references": {"id": text, "answers": answers},
            }
        )

    def _compute(self, predictions: Sequence[dict], references: Sequence[dict]) -> dict[str, float]:
        given = {prediction["id"]: prediction["prediction_text"] for prediction in predictions}
        if missing := [reference["id"] for reference in references if reference["id"] not in given]:
            raise UserError(
                f"no prediction for the question '{missing[0]}'; there must be one for every reference"
            )
        texts = [given[reference["id"]] for reference in references]
        scores = squad_scores(texts, [reference["answers"]["text"] for reference in references])
        return {name: 100 * value for name, value in scores.items()}


def squad_scores(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """`exact_match` and `f1` (see `Squad`) as shares of 1, for one prediction and a list of right answers
    per question.

    Raises:
        UserError: nothing to score, or lists of different lengths.
    """
    if not len(answers) or len(predictions) != len(answers):
        raise UserError(
            f"{len(predictions)} predictions for {len(answers)} references; there must be one for each, and some"
        )
    exact, overlap = [], []
    for prediction, right in zip(predictions, answers, strict=True):
        said = normalized_answer(prediction).split()
        wanted = [normalized_answer(answer).split() for answer in right or [""]]
        exact.append(max(said == words for words in wanted))
        overlap.append(max(_word_f1(said, words) for words in wanted))
    return {"exact_match": float(np.mean(exact)), "f1": float(np.mean(overlap))}


def normalized_answer(text: str) -> str:
    """The text in lower case, without ASCII punctuation, the articles a, an, the, and superfluous white
    space.
    """
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def _word_f1(said: list[str], wanted: list[str]) -> float:
    if not said or not wanted:
        return float(said == wanted)
    common = (Counter(said) & Counter(wanted)).total()
    return 2 * common / (len(said) + len(wanted))
