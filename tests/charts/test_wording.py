import pytest

from hf_llmpath.charts.wording import duration, number, words


@pytest.mark.parametrize(
    "value, text",
    [
        (5183, "5,183"),
        (3.0, "3"),
        (0.123456, "0.1235"),
        (1e-05, "1e-05"),
        (12345.6, "12,346"),
        (True, "yes"),
        ("x", "x"),
        (float("inf"), "inf"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (7800, "2 h 10 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "name, text",
    [
        ("validation_loss", "validation loss"),
        ("lstm/validation_loss", "lstm: validation loss"),
        ("adding/lstm/mean_squared_error", "adding, lstm: mean squared error"),
    ],
)
def test_words(name, text):
    assert words(name) == text
