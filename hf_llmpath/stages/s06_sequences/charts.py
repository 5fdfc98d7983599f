"""One-hot rows, next-character bars, samples at three temperatures, forecasts against truth, and the loss."""

from pathlib import Path

from ...charts.bars import character_bars
from ...charts.curves import curves, forecast
from ...charts.style import save, subplots, visible
from ...charts.text import samples
from ...runs import RunFolder


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    bars = folder.figure_data("next_characters")
    texts = {f"temperature {t}": text for t, text in folder.figure_data("samples").items()}
    paths = [
        save(_one_hot(folder.figure_data("one_hot")), target / "one_hot.png"),
        save(
            character_bars(bars["characters"], bars["probabilities"], bars["prompt"]),
            target / "next_characters.png",
        ),
        save(samples(texts, "The same model, three temperatures"), target / "samples.png"),
        save(_loss(folder), target / "loss.png"),
    ]
    for path in sorted(target.glob("forecast_*.json")):
        data = folder.figure_data(path.stem)
        figure = forecast(
            data["values"],
            data["cut"],
            data["forecast"],
            {"a season ago": data["seasonal_naive"], "model, all at once": data["rollout"]},
            f"Forecast of {data['name'].replace('_', ' ')}",
            shown=3 * (len(data["values"]) - data["cut"]),
        )
        paths.append(save(figure, path.with_suffix(".png")))
    return paths


def _one_hot(data):
    figure, axis = subplots(width=9.6, height=0.9 + 0.2 * len(data["characters"]))
    axis.imshow(data["rows"], aspect="auto", cmap="Blues", vmin=0, vmax=1.2)
    axis.set_yticks(
        range(len(data["characters"])), [visible(c) for c in data["characters"]], family="DejaVu Sans Mono"
    )
    step = max(1, len(data["vocabulary"]) // 80)
    ticks = range(0, len(data["vocabulary"]), step)
    axis.set_xticks(
        ticks, [visible(data["vocabulary"][i]) for i in ticks], fontsize=6.5, family="DejaVu Sans Mono"
    )
    for label in axis.get_xticklabels()[:3]:
        label.set_rotation(90)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.set(title="One-hot: each character is one row with a single 1", xlabel="vocabulary")
    return figure


def _loss(folder: RunFolder):
    lines = {}
    for entry in folder.history:
        if "loss" in entry:
            x, y = lines.setdefault(entry["part"], ([], []))
            x.append(entry["step"])
            y.append(entry["loss"])
    levels = {"order-5 n-gram, validation": folder.report["baselines"]["validation_loss"]}
    return curves(lines, "Training loss", "step", "nats per character", levels)
