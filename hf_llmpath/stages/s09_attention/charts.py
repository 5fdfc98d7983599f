"""Draws a summary's alignment, its attention entropy, the losses and scores of all models, and summaries."""

import itertools
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ...charts.matrix import matrix_svg
from ...charts.picture import Picture, panels, save_all, visible
from ...charts.plots import bar_chart, line_chart
from ...charts.text import texts
from ...runs import RunFolder

NAMES = {
    "attention": "with attention",
    "without_attention": "without attention",
    "additive": "additive attention",
    "without_copying": "attention, no copying",
}
_COLUMNS = 88  # maximum number of source tokens in the heat map
_LEAST = 0.01  # weights below this are not drawn
_NAMED = 3  # most attended tokens that the remark on a word names
_number = itertools.count()  # gives each drawing its own HTML id, because a page may show several


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    shown = folder.figure_data("alignments")[0]
    row = folder.figure_data("summaries")[0]
    document = re.sub(r"\s+", " ", row["document"])
    columns = {
        "document": document if len(document) < 900 else document[:900] + " …",
        "summaries": "\n\n".join(
            f"{NAMES.get(name, name)}:\n{summary}" for name, summary in row.items() if name != "document"
        ),
    }
    return {
        "alignment": alignment_chart(shown, "Where it looked when it wrote each word"),
        "attention_entropy": entropy_chart(shown),
        "loss": loss_chart(folder),
        "rouge": score_chart(folder),
        "summaries": texts(columns, "What they wrote about a document of the test split"),
    }


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def loss_chart(folder: RunFolder) -> Picture:
    """Draws the training losses of all models for the first seed."""
    seed = folder.report["seed"]
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for entry in folder.history:
        name, _, number = entry["part"].rpartition("-")  # "without_attention-0" -> model and seed
        if "loss" in entry and int(number) == seed:
            steps, values = lines.setdefault(NAMES[name], ([], []))
            steps.append(entry["step"])
            values.append(entry["loss"])
    return line_chart(lines, "Training loss", "step", "nats per token")


def score_chart(folder: RunFolder) -> Picture:
    """Draws the ROUGE-L of all models and of two baselines, each a sentence of the document itself."""
    metrics, baselines = folder.metrics, folder.report["baselines"]
    # The metrics of the main model have no prefix.
    keys = {NAMES[name]: "rougeL" if name == "attention" else f"{name}/rougeL" for name in NAMES}
    scores = {name: metrics[key] for name, key in keys.items() if key in metrics}
    errors = {name: metrics[f"{key}_sd"] for name, key in keys.items() if f"{key}_sd" in metrics}
    scores |= {"first sentence": baselines["rougeL"], "random sentence": baselines["random_sentence/rougeL"]}
    return bar_chart(
        scores,
        "What they wrote, compared with the right summary",
        "ROUGE-L on held-out documents",
        errors=errors,
    )


def entropy_chart(shown: dict[str, Any]) -> Picture:
    """Draws the attention entropy in bits and the opening of the copy gate at each token of the summary."""
    words = [_label(token) for token in shown["summary"]]
    # Uniform attention to n tokens has the entropy log2(n); at least 2 keep the level above 0.
    highest = {"looks at all alike": math.log2(max(2, len(shown["source"])))}
    entropy = bar_chart(
        list(zip(words, shown["entropy"], strict=True)), "", levels=highest, form="{:.1f}".format
    )
    parts = {"entropy of the attention, bits": entropy}
    if shown["copied"]:
        gates = list(zip(words, shown["copied"], strict=True))
        parts["copy gate (100 %: copies)"] = bar_chart(gates, "", form="{:.0%}".format)
    return panels(parts, "How sharply it looked, and how much it copied", columns=2)


def alignment_chart(shown: dict[str, Any], caption: str, detail: str = "") -> Picture:
    """Draws the attention weights over the document: a heat map on cards, words to point at on pages.

    Args:
        shown: the output of `Alignment.as_data`: `source` and `summary` (tokens as text), `weights`
            `(summary, source)`, and `entropy` and `copied` (one number per summary token; `copied` may be
            empty).
        caption: the title of the picture.
        detail: a note below the title; by default it names the tokens shown if the document is cut.
    """
    source, summary = shown["source"], shown["summary"]
    # (summary, source); the reshape keeps two dimensions if the summary is empty.
    weights = np.asarray(shown["weights"], dtype=float).reshape(len(summary), len(source))
    # Sum the attention over the summary, (source,), and then over every window of _COLUMNS neighbors,
    # (source - window + 1,).
    totals = np.convolve(weights.sum(axis=0), np.ones(min(_COLUMNS, len(source))), "valid")
    start = int(totals.argmax())  # the heat map shows the window that got the most attention
    columns = slice(start, start + _COLUMNS)
    if len(source) > _COLUMNS:
        detail = detail or f"tokens {start + 1} to {start + _COLUMNS} of {len(source)}"
    names = [[_label(token) for token in tokens] for tokens in (summary, source[columns])]
    return Picture(
        caption,
        lambda width: matrix_svg(weights[:, columns], *names, width, "document", tall=18),
        detail,
        markup=_pointed(source, summary, weights, shown["entropy"], shown["copied"]),
        width=160 + 12 * len(names[1]),
    )


def _label(token: str) -> str:
    # The end token has no text.
    return visible(token.strip()) if token.strip() else "end"


def _pointed(
    source: Sequence[str],
    summary: Sequence[str],
    weights: np.ndarray,
    entropy: Sequence[float],
    copied: Sequence[float],
) -> str:
    """Returns the HTML of an alignment whose words readers can point at.

    The words of the summary are choices, and the document is shaded by the weights of the word that the
    reader points at, focuses, or chooses. Markup and CSS alone do this: a word is a radio button and works by
    mouse, finger, and keyboard, without the server.

    Args:
        source, summary: the tokens as text.
        weights: the attention weights, `(summary, source)`.
        entropy: the attention entropy in bits, `(summary,)`.
        copied: the opening of the copy gate, `(summary,)`, or empty.
    """
    if not summary:
        return '<p class="lp-empty">It wrote nothing about this text.</p>'
    # (summary,): H / log2(n), which is 1 for uniform attention.
    spread = np.clip(np.asarray(entropy) / math.log2(max(2, len(source))), 0, 1)
    meters = {"how much it copied": copied} if len(copied) else {}
    meters |= {"how widely it looked": spread}
    name = f"lp-look-{next(_number)}"
    rules, choices, remarks = [], [], []
    for index, (token, row) in enumerate(zip(summary, weights, strict=True)):  # row: (source,)
        strongest = [column for column in np.argsort(-row) if row[column] >= _LEAST]
        pointing = f"#{name}:has(.t{index}:is(:hover,:focus-within))"
        # The chosen word shades the document only while the reader points at no word.
        chosen = f"#{name}:not(:has(.lp-pick:is(:hover,:focus-within))):has(.t{index} input:checked)"
        for when in (pointing, chosen):
            rules += [f"{when} .s{column}{{--v:{row[column]:.2f}}}" for column in strongest]
            rules.append(f"{when} .r{index}{{display:block}}")
        bars = "".join(
            f'<i class="m{number}" style="--m:{values[index]:.2f}"></i>'
            for number, values in enumerate(meters.values())
        )
        choices.append(
            f'<label class="lp-pick t{index}"><input type="radio" name="{name}" '
            f'aria-describedby="{name}-{index}"{" checked" if index == 0 else ""}>'
            f"<span>{escape(token.strip())}</span>{bars}</label>"
        )
        looked = ", ".join(
            f"“{source[column].strip() or 'the end'}” {row[column]:.0%}" for column in strongest[:_NAMED]
        )
        remark = f"“{token.strip()}” looked at {looked}; entropy {entropy[index]:.1f} bits"
        remark += f", copy gate {copied[index]:.0%}" if len(copied) else ""
        remarks.append(f'<span class="r{index}" id="{name}-{index}">{escape(remark)}.</span>')
    words = "".join(
        f'{" " if token[:1].isspace() else ""}<span class="s{column}">{escape(token.strip())}</span>'
        for column, token in enumerate(source)
        if token.strip()  # the end token has no text
    )
    legend = "".join(f'<span class="m{number}">{meaning}</span>' for number, meaning in enumerate(meters))
    return (
        f'<style>{"".join(rules)}</style><div class="lp-look" id="{name}">'
        f"<fieldset><legend>Summary: point at a word</legend>{''.join(choices)}</fieldset>"
        f'<div class="lp-remarks" aria-live="polite">{"".join(remarks)}</div>'
        f'<h3>Document</h3><p class="lp-read">{words}</p>'
        '<div class="lp-legend" aria-hidden="true"><span>not looked at</span>'
        '<span class="lp-ramp one"></span>'
        f"<span>looked at most</span>{legend}</div></div>"
    )
