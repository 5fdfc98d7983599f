"""The n-gram baseline against its formula."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_llmpath.training.baselines import ngram_loss

V = 4


def witten_bell(train: list[int], history: tuple[int, ...], character: int) -> float:
    """P(character | history), by counting."""
    seen: dict[int, int] = defaultdict(int)
    k = len(history)
    for place in range(k, len(train)):
        if tuple(train[place - k : place]) == history:
            seen[train[place]] += 1
    lower = witten_bell(train, history[1:], character) if k else 1 / V
    n, t = sum(seen.values()), len(seen)
    return (seen[character] + t * lower) / (n + t) if n else lower


@settings(deadline=None)
@given(
    st.lists(st.integers(0, V - 1), min_size=4, max_size=30),
    st.lists(st.integers(0, V - 1), min_size=4, max_size=12),
    st.integers(0, 2),
)
def test_ngram_equals_the_formula_by_hand(train, validation, order):
    expected = [
        -np.log(witten_bell(train, tuple(validation[place - order : place]), validation[place]))
        for place in range(order, len(validation))
    ]
    assert ngram_loss(np.array(train), np.array(validation), V, order) == pytest.approx(np.mean(expected))


def test_a_case_worked_out():
    # In 0 1 0 1 0, two characters follow 0 (both times 1) and 1 (both times 0); P_0(1) = (2 + 2 * 1/4) /
    # (5 + 2).
    p0 = 2.5 / 7
    p1 = (2 + 1 * p0) / (2 + 1)
    train = np.array([0, 1, 0, 1, 0])
    assert np.exp(-ngram_loss(train, np.array([1]), V, order=0)) == pytest.approx(p0)
    assert np.exp(-ngram_loss(train, np.array([0, 1]), V, order=1)) == pytest.approx(p1)


@settings(deadline=None)
@given(st.lists(st.integers(0, V - 1), min_size=4, max_size=30), st.lists(st.integers(0, V - 1), max_size=3))
def test_probabilities_sum_to_one(train, history):
    losses = [ngram_loss(np.array(train), np.array([*history, c]), V, len(history)) for c in range(V)]
    assert np.exp(-np.array(losses)).sum() == pytest.approx(1)


def test_longer_contexts_help_where_there_is_a_dependency():
    random = np.random.default_rng(0)
    tokens = np.cumsum(np.where(random.random(4000) < 0.9, 1, 2)) % V
    losses = [ngram_loss(tokens[:3000], tokens[3000:], V, order) for order in (0, 1)]
    assert losses[1] < 0.4 < 1.3 < losses[0]


def test_a_vocabulary_too_large_for_its_contexts_is_refused():
    with pytest.raises(ValueError, match="vocabulary of 5000 is too large"):
        ngram_loss(np.arange(9), np.arange(9), 5000, order=5)
