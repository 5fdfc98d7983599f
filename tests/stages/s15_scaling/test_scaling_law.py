"""The fitted line is the law that made the points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_llmpath.stages.s15_scaling.scaling_law import PowerLaw

SIZES = [1e4, 3e4, 1e5, 3e5, 1e6]


@given(st.floats(0.5, 100), st.floats(-0.5, 0.9))
def test_a_law_is_found_again_and_carries_on(scale, exponent):
    law = PowerLaw(scale, exponent)
    fitted = PowerLaw.fit(SIZES, [law.at(size) for size in SIZES])
    assert (fitted.scale, fitted.exponent) == pytest.approx((scale, exponent), rel=1e-6, abs=1e-9)
    assert fitted.at(1e8) == pytest.approx(law.at(1e8), rel=1e-6)


def test_noise_moves_it_little_and_lowers_r_squared():
    noise = np.exp(np.random.default_rng(0).normal(0, 0.02, 5))
    fitted = PowerLaw.fit(SIZES, 5 * np.array(SIZES) ** -0.1 * noise)
    assert fitted.exponent == pytest.approx(0.1, abs=0.02)
    assert 0.9 < fitted.r_squared < 1


def test_it_is_the_least_squares_line_of_the_logarithms():
    losses = [2.0, 1.9, 1.5, 1.4, 1.2]
    fitted = PowerLaw.fit(SIZES, losses)
    design = np.stack([np.ones(5), np.log(SIZES)], 1)
    (offset, slope), *_ = np.linalg.lstsq(design, np.log(losses), rcond=None)
    assert (np.log(fitted.scale), -fitted.exponent) == pytest.approx((offset, slope))


@pytest.mark.parametrize(
    "x, loss, said", [([5, 5], [1, 2], "two different sizes"), ([1, 2], [1, 0], "above 0")]
)
def test_points_without_a_line_are_told(x, loss, said):
    with pytest.raises(ValueError, match=said):
        PowerLaw.fit(x, loss)
