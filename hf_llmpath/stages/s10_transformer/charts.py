"""Draws attention heads, attention rollout, masks, positional encodings, exact match, and the losses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...charts.attention import attention_map, head_browser
from ...charts.attention import masks as mask_panels
from ...charts.picture import Picture, panels, save_all
from ...charts.plots import bar_chart, line_chart
from ...charts.wording import words
from ...runs import RunFolder


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    rewriting, reading = folder.figure_data("rewriting"), folder.figure_data("reading")
    source, written = rewriting["source"], rewriting["target"]
    cross = np.asarray(rewriting["weights"]["cross"])  # (layers, heads, target, source)
    layer, head = sharpest(cross)
    answer = f"“{rewriting['text']}” → “{rewriting['answer']}”"
    verdict = "{}: {:.1%}".format(*max(reading["predicted"].items(), key=lambda item: item[1]))
    return {
        "cross_attention": head_browser(cross, written, source, "Cross-attention of every head", answer),
        "one_head": attention_map(
            cross[layer, head],  # (target, source)
            written,
            source,
            f"Where each character came from: layer {layer + 1}, head {head + 1}",
            x_label="source",
            y_label="written so far",
        ),
        "review_heads": head_browser(
            reading["weights"]["encoder"],
            reading["source"],
            reading["source"],
            "Every head of the encoder on a text",
            verdict,
        ),
        "rollout": rollout_chart(reading["rollout"], reading["source"]),
        "positions": panels(
            {
                "some dimensions": wave_chart(folder),
                "similarity by distance: sinusoidal (brown) and rotary (blue)": similarity_chart(folder),
            },
            "Positional encodings",
            columns=2,
        ),
        "masks": mask_chart(source[-10:], written[:8]),  # short enough for cells of a readable size
        "exact_match": exact_match_chart(folder),
        "loss": loss_chart(folder),
    }


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def sharpest(weights: np.ndarray) -> tuple[int, int]:
    """Finds the layer and head whose queries, on average, put the most weight on a single token.

    Args:
        weights: the attention weights, `(layers, heads, queries, keys)`.
    """
    # The maximum over keys is (layers, heads, queries), its mean over queries (layers, heads).
    layer, head = np.unravel_index(weights.max(axis=-1).mean(axis=-1).argmax(), weights.shape[:2])
    return int(layer), int(head)


def rollout_chart(rollout: Sequence[Sequence[float]] | np.ndarray, tokens: Sequence[str]) -> Picture:
    """Draws the attention rollout.

    Args:
        rollout: the share of each input token in each position, `(positions, input tokens)`.
        tokens: the tokens as text.
    """
    # Shares are small after several layers; the largest one gets the full color.
    highest = float(np.max(rollout))
    return attention_map(
        rollout,
        tokens,
        tokens,
        "Attention rollout: what each position is made of after all layers",
        f"the full color stands for {highest:.0%}",
        verb="is made of",
        x_label="input token",
        y_label="position",
        highest=highest,
    )


def mask_chart(source: list[str], target: list[str], padding: int = 2) -> Picture:
    """Draws the masks of the encoder, of the decoder, and of the attention from the decoder to the encoder.

    Args:
        source: the tokens of the source.
        target: the tokens of the target.
        padding: the number of padding tokens to add to the source.
    """
    padded = [*source, *["∅"] * padding]
    real = np.array([True] * len(source) + [False] * padding)  # (padded source,)
    causal = np.tril(np.ones((len(target), len(target)), dtype=bool))  # (target, target)
    # The padding mask is the same for every query: (keys,) -> (queries, keys).
    masks: dict[str, Any] = {
        "encoder: all but padding": (np.tile(real, (len(padded), 1)), padded, padded),
        "decoder: causal": (causal, target, target),
        "decoder to encoder": (np.tile(real, (len(target), 1)), target, padded),
    }
    return mask_panels(masks, "Who may look at whom", "filled: may look")


def wave_chart(folder: RunFolder) -> Picture:
    """Draws some dimensions of the sinusoidal encoding over the positions."""
    table = np.asarray(folder.figure_data("positions")["table"])  # (positions, dimensions)
    lines = {
        # (positions, dimensions) -> (positions,)
        f"dimension {d}": (range(len(table)), table[:, d].tolist())
        for d in (0, 8, 16, 24)  # sines, from fast to slow
        if d < table.shape[1]
    }
    detail = "slow and fast waves: together they identify every position"
    return line_chart(lines, "Sinusoidal positions", "position", detail=detail)


def similarity_chart(folder: RunFolder) -> Picture:
    """Draws the similarity of two positions against their distance, for sinusoidal and rotary positions."""
    similarity = folder.figure_data("positions")["alike"]
    lines = {name: (range(len(values)), values) for name, values in similarity.items()}
    return line_chart(
        lines,
        "How similar two positions are",
        "distance between them",
        "cosine of the angle",
        "averaged over all pairs of dimensions: nearby positions are similar",
    )


def exact_match_chart(folder: RunFolder) -> Picture:
    """Draws the exact match of every task on unseen and on longer input, and of the variants, if any."""
    scores = {}
    for name, value in folder.metrics.items():
        prefix, _, metric = name.rpartition("/")  # the prefix is a task, a variant, or empty
        if metric == "exact_match":
            scores[prefix or "all tasks, this model"] = value
        elif metric == "exact_match_longer":
            scores[f"{prefix}, longer than trained"] = value
    label = "share of answers that are right to the last character"
    return bar_chart(scores, "Exact match on unseen input", label, form="{:.1%}".format)


def loss_chart(folder: RunFolder) -> Picture:
    """Draws the training losses of all models."""
    losses: dict[str, tuple[list[float], list[float]]] = {}
    for entry in folder.history:
        if "loss" in entry:
            # "encoder-decoder-0" -> the model without its seed
            name = words(entry["part"].rpartition("-")[0].replace("-", " "))
            steps, values = losses.setdefault(name, ([], []))
            steps.append(entry["step"])
            values.append(entry["loss"])
    return line_chart(losses, "Training losses", "step", "nats", log_y=True)
