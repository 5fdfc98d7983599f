"""Simple models that a trained model has to beat."""

import re
from collections.abc import Sequence

import numpy as np

_WORD, _SENTENCE_END = re.compile(r"\w+"), re.compile(r"(?<=[.!?])\s")


def ngram_loss(train: np.ndarray, validation: np.ndarray, vocab_size: int, order: int = 5) -> float:
    """Returns the mean loss in nats of an interpolated n-gram model that sees `order` characters back.

    Witten-Bell smoothing: P_k(c | h) = (n(h, c) + t(h) P_{k-1}(c | h')) / (n(h) + t(h)), where n counts
    occurrences in the training text, t(h) is the number of distinct characters seen after h, and h' is h
    without its first character; P_{-1} is uniform. Witten & Bell 1991; Chen & Goodman 1998, section 2.6.

    Args:
        train, validation: token ids, `(n,)`.
        vocab_size: number of different ids.
        order: number of characters in the longest context.
    """
    if vocab_size ** (order + 1) >= 2**63:
        raise ValueError(f"a vocabulary of {vocab_size} is too large for contexts of {order} characters")
    probability = np.full(len(validation) - order, 1.0 / vocab_size)  # P_{-1}, one value per target
    for k in range(order + 1):
        # The contexts (a key without its last character) grow by one character in each round.
        seen = _keys(train, vocab_size, k)  # (len(train) - k,)
        targets = _keys(validation, vocab_size, k)[
            order - k :
        ]  # (len(validation) - order,): the same targets for every k
        grams, counts = np.unique(seen, return_counts=True)
        # Division by the vocabulary's size drops the last character and leaves the context.
        contexts, kinds = np.unique(grams // vocab_size, return_counts=True)  # each (contexts,)
        totals = np.bincount(np.searchsorted(contexts, grams // vocab_size), weights=counts)  # (contexts,)
        n_hc = _look_up(grams, counts, targets)  # n(h, c), (targets,)
        n_h, t_h = (_look_up(contexts, values, targets // vocab_size) for values in (totals, kinds))
        mass = n_h + t_h
        # P_k = (n(h, c) + t(h) P_{k-1}) / (n(h) + t(h)); an unseen context leaves P_{k-1} as it is.
        probability = np.where(mass > 0, (n_hc + t_h * probability) / np.maximum(mass, 1), probability)
    return float(-np.log(probability).mean())


def _keys(tokens: np.ndarray, vocab_size: int, k: int) -> np.ndarray:
    """Encodes, for each position from k on, the k tokens before it and its own as one integer."""
    key = np.zeros(len(tokens) - k, dtype=np.int64)
    for back in range(k, -1, -1):
        key = key * vocab_size + tokens[k - back : len(tokens) - back]  # digits in base vocab_size
    return key


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the value of each wanted key, or 0 if it is not among the sorted keys."""
    # searchsorted returns len(keys) for a key beyond the last one, which would not be a valid index.
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, values[index], 0)


def linear_text_accuracy(
    train: Sequence[str],
    labels: Sequence[int],
    held_out: Sequence[str],
    held_out_labels: Sequence[int],
    longest: int = 2,
) -> float:
    """Returns the accuracy of logistic regression on TF-IDF weights of runs of up to `longest` words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10, max_iter=300)).fit(list(train), list(labels))
    return float(model.score(list(held_out), list(held_out_labels)))


def overlap_answers(
    questions: Sequence[str], contexts: Sequence[str], right: Sequence[Sequence[str]], longest: int = 5
) -> dict[str, float]:
    """Scores answers found by word overlap, without learning: `exact_match` and `f1` (see `metrics.Squad`).

    The answer comes from the sentence that shares the most words with the question. It is a run of at most
    `longest` words that are not in the question: the one with the most words of the question within `longest`
    words around it.
    """
    from ..metrics import squad_scores

    return squad_scores(
        [overlap_answer(*pair, longest) for pair in zip(questions, contexts, strict=True)], right
    )


def overlap_answer(question: str, context: str, longest: int = 5) -> str:
    """Returns the answer of `overlap_answers` to one question."""
    asked = set(_WORD.findall(question.lower()))
    sentences = [list(_WORD.finditer(sentence)) for sentence in _SENTENCE_END.split(context)]
    words = max(sentences, key=lambda sentence: len(asked & {word.group().lower() for word in sentence}))
    known = [word.group().lower() in asked for word in words]
    best, answer = -1, ""
    start = 0
    while start < len(words):
        end = start
        # Extend the run over words that are not in the question, up to `longest`.
        while end < len(words) and not known[end] and end - start < longest:
            end += 1
        if end > start:
            score = sum(known[max(0, start - longest) : end + longest])  # words of the question nearby
            if score > best:
                best, answer = score, words[start].string[words[start].start() : words[end - 1].end()]
        start = max(end, start + 1)
    return answer
