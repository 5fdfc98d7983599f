"""Forecasts: better than repeating the last season, and without a look at what is to be forecast."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTimeSeriesPrediction

from hf_llmpath.runs import Job
from hf_llmpath.stages.s06_sequences.forecast import train_forecast
from hf_llmpath.stages.s06_sequences.series import Series, read_series, tea_sales
from tests.support.small import same


@pytest.fixture
def forecast(tmp_path):
    """`forecast(series, seed)`: the result and the folder of the model."""

    def train(series: Series, seed: int = 0, **options):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        job = Job(folder, series.name)
        return job.once(lambda job: train_forecast(series, seed, job, **options)), job.model_dir

    return train


@pytest.mark.parametrize("seed", [0, 1])
def test_the_forecast_is_better_than_the_season_before(forecast, seed):
    result, _ = forecast(tea_sales(), seed)
    assert result["mean_absolute_error"] < 0.9 * result["seasonal_naive"]
    assert result["mean_absolute_error"] < result["last_value"]


def test_the_numbers_are_those_of_the_model(forecast):
    series = tea_sales()
    result, folder = forecast(series)
    y, cut = series.values, series.cut
    index = np.arange(cut, len(y))
    assert result["seasonal_naive"] == pytest.approx(np.abs(y[index] - y[index - 12]).mean())
    assert result["last_value"] == pytest.approx(np.abs(y[index] - y[index - 1]).mean())
    model = AutoModelForTimeSeriesPrediction.from_pretrained(folder)
    errors = []
    for position in index:  # each value forecast from those before it alone
        known = torch.tensor(y[None, :position], dtype=torch.float32)
        with torch.no_grad():
            errors.append(abs(model(past_values=known).prediction_outputs[0, -1].item() - y[position]))
    assert result["mean_absolute_error"] == pytest.approx(np.mean(errors), rel=1e-4)
    figure = result["figure"]
    assert len(figure["forecast"]) == len(figure["seasonal_naive"]) == len(figure["rollout"]) == len(index)
    assert figure["values"] == y.tolist() and figure["cut"] == cut


def test_held_out_values_do_not_change_the_weights(forecast):
    series = tea_sales()
    other = series.values.copy()
    other[series.cut :] = np.random.default_rng(0).uniform(1, 5000, len(other) - series.cut)
    (one, folder), (changed, other_folder) = forecast(series), forecast(replace(series, values=other))
    weights = [load_file(path / "model.safetensors") for path in (folder, other_folder)]
    assert same(*weights)
    assert (folder / "config.json").read_text() == (other_folder / "config.json").read_text()
    assert one["figure"]["rollout"] == changed["figure"]["rollout"]
    assert one["mean_absolute_error"] != changed["mean_absolute_error"]


def test_the_seed_decides(forecast):
    weights = [load_file(forecast(tea_sales(), seed, steps=5)[1] / "model.safetensors") for seed in (0, 0, 1)]
    assert same(weights[0], weights[1])
    assert not same(weights[0], weights[2])


def test_a_series_with_values_below_zero_and_no_season(forecast):
    random = np.random.default_rng(0)
    result, folder = forecast(Series("walk", np.cumsum(random.standard_normal(120)), period=12), steps=10)
    config = AutoModelForTimeSeriesPrediction.from_pretrained(folder).config
    assert not config.log_values and config.lags_sequence == [1, 2, 3]
    assert np.isfinite(result["mean_absolute_error"])


def test_the_shortest_series_that_can_be_read(forecast, tmp_path):
    path = tmp_path / "short.csv"
    path.write_text("month,value\n" + "".join(f"{month},{month % 4 + 1}\n" for month in range(12)))
    result, _ = forecast(read_series(str(path), period=4), steps=5)
    assert np.isfinite(result["mean_absolute_error"])


def test_a_public_series(forecast, shared_data):
    series = read_series(str(shared_data / "time_series" / "airline-passengers.csv"), period=12)
    result, _ = forecast(series)
    assert result["mean_absolute_error"] < result["seasonal_naive"]
