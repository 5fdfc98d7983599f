"""Trains a recurrent forecaster of a time series and measures it on the unseen part of the series."""

from typing import Any

import numpy as np
import torch
from transformers import set_seed

from ...models.configuration_rnn import LLMPathRNNConfig
from ...models.modeling_rnn import LLMPathRNNForTimeSeriesPrediction
from ...runs import Job
from .series import Series

HIDDEN_SIZE = 24
WINDOW = 96  # forecasts per training window


def train_forecast(series: Series, seed: int, job: Job, steps: int = 100) -> dict[str, Any]:
    """Forecasts the last fifth of `series`, one step ahead, with a GRU fitted to the rest.

    The training part is cut into overlapping windows, which form one batch. A plain loop suffices because a
    step takes milliseconds.

    Returns:
        The `mean_absolute_error` of the model; the errors `seasonal_naive` and `last_value` of the forecasts
        "as a season ago" and "as last time", all in the units of the series; and `figure`, the data of the
        picture.
    """
    set_seed(seed)
    values = torch.tensor(series.values, dtype=torch.float32).unsqueeze(0)  # (1, time)
    model = LLMPathRNNForTimeSeriesPrediction(_config(series))
    # A series has few months, and strong decay keeps the model from fitting its noise (see experiments.md).
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    known = values[:, : series.cut]  # (1, known time)
    # The first forecast of a window needs its largest lag, so a window is that much longer: (rows, length).
    windows = _windows(known[0], max(model.config.lags_sequence) + WINDOW)
    with job.progress.task(series.name, steps) as progress:
        for step in range(1, steps + 1):
            loss = model(past_values=windows, labels=windows).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % 20 == 0:
                progress.update(step, loss=loss.item())
    model.eval()
    with torch.no_grad():
        # (1, time - first + 1) -> (time - first + 1,), where `first` is the largest lag
        predictions = model(past_values=values).prediction_outputs[0].double().numpy()
    first = max(model.config.lags_sequence)
    # Entry j forecasts the value at position first + j, and the last one lies beyond the series: (held out,).
    forecast = predictions[series.cut - first : -1]
    truth, y = series.values[series.cut :], series.values
    index = np.arange(series.cut, len(y))  # positions of the held-out values, (held out,)
    job.save_model(model)
    return {
        "mean_absolute_error": float(np.abs(forecast - truth).mean()),
        "seasonal_naive": float(np.abs(y[index - series.period] - truth).mean()),
        "last_value": float(np.abs(y[index - 1] - truth).mean()),
        "parameters": model.num_parameters(),
        "figure": {
            "name": series.name,
            "values": y.tolist(),
            "cut": series.cut,
            "forecast": forecast.tolist(),
            "seasonal_naive": y[index - series.period].tolist(),
            "rollout": model.forecast(known, len(truth))[0].tolist(),
        },
    }


def _windows(values: torch.Tensor, length: int) -> torch.Tensor:
    """Cuts `values`, `(n,)`, into overlapping windows up to its end: `(rows, length)`, or one shorter row."""
    if len(values) <= length:
        return values.unsqueeze(0)  # (1, n)
    # Neighbors overlap by about half of their forecasts, and the last window ends where `values` end.
    starts = [*range(0, len(values) - length, WINDOW // 2), len(values) - length]
    return torch.stack([values[start : start + length] for start in starts])  # (rows, length)


def _config(series: Series) -> LLMPathRNNConfig:
    """Derives lags and scale from the training part.

    The model forecasts the change from the value at the first lag. Only the choice of a logarithmic scale
    looks at the held-out values too, because the logarithm must exist for all values.
    """
    known = series.values[: series.cut]
    positive = bool((series.values > 0).all())
    scaled = np.log(known) if positive else known
    # The changes since the last value, (known - 1,), and since a season ago, (known - period,).
    last, season = np.abs(np.diff(scaled)), np.abs(scaled[series.period :] - scaled[: -series.period])
    seasonal = season.mean() < last.mean()
    # A seasonal model reads the values a season ago, one step ago, and a season and one step ago.
    lags = [series.period, 1, series.period + 1] if seasonal else [1, 2, 3]
    return LLMPathRNNConfig(
        cell="gru",
        vocab_size=0,
        hidden_size=HIDDEN_SIZE,
        lags_sequence=lags,
        log_values=positive,
        value_mean=float(scaled.mean()),
        value_std=float(scaled.std()),
    )
