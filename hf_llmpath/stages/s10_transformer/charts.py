"""Every head of every layer, one head large, rollout, masks, positional encodings, exact match and the
losses.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.heads import attention_map, head_grid, mask_panels, position_curves
from ...charts.style import save
from ...charts.wording import words
from ...runs import RunFolder


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    rewriting, reading, positions = (
        folder.figure_data(name) for name in ("rewriting", "reading", "positions")
    )
    source, written = rewriting["source"], rewriting["target"]
    cross = np.asarray(rewriting["weights"]["cross"])
    layer, head = sharpest(cross)
    losses: dict[str, tuple[list[float], list[float]]] = {}
    for entry in folder.history:
        if "loss" in entry:
            steps, values = losses.setdefault(
                words(entry["part"].rpartition("-")[0].replace("-", " ")), ([], [])
            )
            steps.append(entry["step"])
            values.append(entry["loss"])
    verdict = "{}: {:.1%}".format(*max(reading["predicted"].items(), key=lambda item: item[1]))
    answer = f"“{rewriting['text']}” → “{rewriting['answer']}”"
    text = np.asarray(reading["weights"]["encoder"])
    return [
        save(
            head_grid(cross, written, source, f"Cross-attention of every head: {answer}"),
            target / "cross_attention.png",
        ),
        save(
            attention_map(
                cross[layer, head],
                written,
                source,
                f"Where each character came from: layer {layer + 1}, head {head + 1}",
                "source",
                "written so far",
            ),
            target / "one_head.png",
        ),
        save(
            head_grid(
                text, reading["source"], reading["source"], f"Every head of the encoder on a text ({verdict})"
            ),
            target / "review_heads.png",
        ),
        save(
            attention_map(
                reading["rollout"],
                reading["source"],
                reading["source"],
                "Attention rollout: what each position is made of after all layers",
                "input token",
                "position",
                highest=float(np.max(reading["rollout"])),
            ),
            target / "rollout.png",
        ),
        save(
            position_curves(positions["table"], positions["alike"], "Positional encodings"),
            target / "positions.png",
        ),
        save(mask_panels(masks(source[-10:], written[:8]), "Who may look at whom"), target / "masks.png"),
        save(exact_match(folder), target / "exact_match.png"),
        save(curves(losses, "Training losses", "step", "nats", log=True), target / "loss.png"),
    ]


def sharpest(weights: np.ndarray) -> tuple[int, int]:
    """Layer and head whose queries look hardest at a single token each; weights `(layers, heads, queries,
    keys)`.
    """
    layer, head = np.unravel_index(weights.max(axis=-1).mean(axis=-1).argmax(), weights.shape[:2])
    return int(layer), int(head)


def masks(source: list[str], target: list[str], padding: int = 2) -> dict[str, Any]:
    """The masks of a source, padded, and of a target: in the encoder, in the decoder, and between the two."""
    padded = [*source, *["∅"] * padding]
    there = np.array([True] * len(source) + [False] * padding)
    return {
        "encoder: all but padding": (np.tile(there, (len(padded), 1)), padded, padded),
        "decoder: causal": (np.tril(np.ones((len(target), len(target)), dtype=bool)), target, target),
        "decoder to encoder": (np.tile(there, (len(target), 1)), target, padded),
    }


def exact_match(folder: RunFolder):
    """Exact match of every task on unseen and on longer input, and of the variants trained beside the model."""
    named = {"exact_match": "all tasks, this model"}
    scores = {}
    for name, value in folder.metrics.items():
        which, _, what = name.rpartition("/")
        if what == "exact_match":
            scores[which or named[name]] = value
        elif what == "exact_match_longer":
            scores[f"{which}, longer than trained"] = value
    return score_bars(
        scores, "Exact match on unseen input", "share of answers that are right to the last character"
    )
