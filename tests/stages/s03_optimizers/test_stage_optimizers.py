"""Stage 3: the table shows what the races measured, and the model is the network of the fastest optimizer."""

import statistics

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from hf_llmpath.convert.numpy_network import from_mlp
from hf_llmpath.data.images import load_images
from hf_llmpath.stages.s03_optimizers.demo import steps_table
from hf_llmpath.stages.s03_optimizers.descent import OPTIMIZERS, TITLES
from hf_llmpath.stages.s03_optimizers.train import RACES, grid, rows
from tests.support.small import TINY


def test_the_grid_is_even_and_has_its_ends():
    assert grid((1e-3, 1.0), 2) == [0.001, 0.0032, 0.01, 0.032, 0.1, 0.32, 1.0]
    ratios = np.diff(np.log10(grid((1e-4, 3.2), 6)))
    assert len(ratios) == 27 and ratios == pytest.approx([1 / 6] * 27, abs=0.03)


def test_every_number_of_the_table_is_that_of_the_best_rate(tiny_run):
    folder = tiny_run("optimizers")
    table, metrics = folder.figure_data("table"), folder.metrics
    assert list(table) == [*RACES, "images"]
    for problem, found in table.items():
        assert list(found) == list(OPTIMIZERS)
        for name, row in found.items():
            steps = row["steps"][row["best"]]
            assert len(row["steps"]) == len(row["rates"]) and len(steps) == TINY["optimizers"]["seeds"]
            assert metrics[f"{problem}/{name}/steps"] == statistics.fmean(steps)
            assert metrics[f"{problem}/{name}/steps_sd"] == statistics.stdev(steps)
            assert metrics[f"{problem}/{name}/learning_rate"] == row["rates"][row["best"]]
            arrived = [sum(there) for there in row["reached"]]
            assert arrived[row["best"]] == max(arrived)
    shown = steps_table(folder)
    assert all(title in shown for title in TITLES.values())


def test_the_saved_network_reads_images(tiny_run):
    folder = tiny_run("optimizers")
    images = load_images("digits")
    model = AutoModelForImageClassification.from_pretrained(folder.model_dir)
    x, labels = rows(images.held_out)
    with torch.no_grad():
        logits = model(pixel_values=images.held_out[:]["pixel_values"]).logits
    assert float((logits.argmax(dim=1).numpy() == labels).mean()) == pytest.approx(folder.metrics["accuracy"])
    np.testing.assert_allclose(from_mlp(model).predict(x), logits.numpy(), atol=1e-4)
    classify = pipeline("image-classification", model=str(folder.model_dir))
    for row in range(5):
        found = classify(Image.fromarray(images.held_out.pixels[row]))
        assert found[0]["label"] == str(int(logits[row].argmax()))
