"""Attention to point at: the words of what was written are choices, and the text that was read is shaded
by the weights of the one that is pointed at, focused or chosen.

It is markup and CSS alone: a word is a radio button, so it works by mouse, finger and keyboard, and
without the server.
"""

import itertools
from collections.abc import Sequence
from html import escape

import numpy as np

from ...ui.pictures import figure

_LEAST = 0.01  # weights below it are not drawn
_NAMED = 3  # of the most attended tokens, in words
_number = itertools.count()


def pointed(
    source: Sequence[str],
    target: Sequence[str],
    weights: np.ndarray,
    caption: str,
    detail: str = "",
    said: Sequence[str] = (),
    meters: Sequence[tuple[str, Sequence[float]]] = (),
    source_name: str = "Document",
    target_name: str = "Summary",
) -> str:
    """A text to point at.

    Args:
        source: what was read, tokens as text with the space before them.
        target: what was written, likewise; at least one token.
        weights: `(target, source)`.
        said: for each target token a remark, shown with the most attended source tokens.
        meters: up to two rows of numbers from 0 to 1, one for each target token, drawn as bars under it,
            with their name.
    """
    name = f"lp-look-{next(_number)}"
    rules, choices, remarks = [], [], []
    for place, (token, row) in enumerate(zip(target, weights, strict=True)):
        strong = [index for index in np.argsort(-row) if row[index] >= _LEAST]
        lit = [(f".s{index}", f"--v:{row[index]:.2f}") for index in strong]
        pointing = f"#{name}:has(.t{place}:is(:hover,:focus-within))"
        chosen = f"#{name}:not(:has(.lp-pick:is(:hover,:focus-within))):has(.t{place} input:checked)"
        for when in (pointing, chosen):
            rules += [f"{when} {which}{{{value}}}" for which, value in lit]
            rules.append(f"{when} .r{place}{{display:block}}")
        named = ", ".join(
            f"“{source[index].strip() or 'the end'}” {row[index]:.0%}" for index in strong[:_NAMED]
        )
        remark = f"“{token.strip()}” looked at {named}" + (f"; {said[place]}" if said else "")
        bars = "".join(
            f'<i class="m{number}" style="--m:{values[place]:.2f}"></i>'
            for number, (_, values) in enumerate(meters)
        )
        choices.append(
            f'<label class="lp-pick t{place}"><input type="radio" name="{name}" aria-describedby="{name}-{place}"'
            f"{' checked' if place == 0 else ''}><span>{escape(token.strip())}</span>{bars}</label>"
        )
        remarks.append(f'<span class="r{place}" id="{name}-{place}">{escape(remark)}.</span>')
    words = "".join(
        f'{" " if token[:1].isspace() else ""}<span class="s{index}">{escape(token.strip())}</span>'
        for index, token in enumerate(source)
        if token.strip()
    )
    legend = "".join(
        f'<span class="m{number}">{escape(meaning)}</span>' for number, (meaning, _) in enumerate(meters)
    )
    body = (
        f'<style>{"".join(rules)}</style><div class="lp-look" id="{name}">'
        f"<fieldset><legend>{escape(target_name)}</legend>{''.join(choices)}</fieldset>"
        f'<div class="lp-remarks" aria-live="polite">{"".join(remarks)}</div>'
        f'<h3>{escape(source_name)}</h3><p class="lp-read">{words}</p>'
        f'<div class="lp-legend" aria-hidden="true"><span>not looked at</span><span class="lp-ramp one"></span>'
        f"<span>looked at most</span>{legend}</div></div>"
    )
    return figure(body, caption, detail)
