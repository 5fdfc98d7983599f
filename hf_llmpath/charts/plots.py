"""Draws charts with axes: lines, bars, histograms, points, and any other chart that Altair describes.

Vega draws them in this process (vl-convert), without a browser and without the network.
"""

import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from typing import Any

import altair as alt

from .picture import (
    BAR,
    INK,
    MONO,
    PAPER,
    RULE,
    SANS,
    SOFT,
    TINT,
    Picture,
    register_fonts,
    series,
    svg,
    text,
    visible,
)
from .wording import number

_WIDE, _NARROW = 740, 350  # widths of the two drawings of a page; `ui/style.css` shows one of them
_LOOK: dict[str, Any] = {
    "font": SANS,
    "background": "transparent",
    "aria": False,
    "padding": 2,
    "view": {"stroke": None},
    # We choose labels that fit: each label that Vega measures to find out costs two milliseconds.
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": RULE,
        "domainColor": SOFT,
        "ticks": False,
        "labelPadding": 5,
        "labelLimit": 0,
        "titleLimit": 0,
        "labelOverlap": False,
        "tickCount": 5,
    },
    "line": {"strokeWidth": 2, "strokeJoin": "round", "strokeCap": "round"},
    "text": {"color": INK, "fontSize": 12},
}


@dataclass(frozen=True)
class Line:
    """A line of a chart that needs more than a pair `(x, y)` of sequences.

    Attributes:
        x, y: coordinates of the points.
        spread: deviation of each y, drawn as a band on both sides of the line.
        dashed: whether the line is dashed.
        points: whether the points are marked.
        width: thickness in pixels; 0 draws the points alone.
        color: color of the line; the next color of the series by default.
    """

    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()
    dashed: bool = False
    points: bool = False
    width: float = 2
    color: str = ""


@dataclass(frozen=True)
class Plot(Picture):
    """A picture that Vega draws. Pages get two drawings, one for wide and one for narrow screens."""

    def _drawing(self, small: bool) -> str:
        body = f'<div class="lp-{"small" if small else "narrow"}">{self.svg(_NARROW)}</div>'
        body += "" if small else f'<div class="lp-wide">{self.svg(_WIDE)}</div>'
        alternative = escape(self.alternative or self.caption)
        return f'<div class="lp-drawing" role="img" aria-label="{alternative}">{body}</div>'


Chart = alt.Chart | alt.LayerChart | alt.HConcatChart | alt.VConcatChart | alt.FacetChart


def plot(
    chart: Chart,
    caption: str,
    detail: str = "",
    alternative: str = "",
    key: Mapping[str, str] | None = None,
    data: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Plot:
    """Makes a picture of an Altair chart.

    Args:
        chart: a chart without a width, which the page sets. Its colors are variables of the page
            (`series(0)`, `INK`).
        alternative: the numbers in words, for those who cannot see the chart.
        key: name -> color. The chart itself has no legend.
        data: name of each `alt.NamedData` in the chart -> its rows. Rows inside of the chart would be
            copied by Altair, which is slow.
    """
    spec = chart.to_dict(validate=False) | {"datasets": data or {}}
    draw = lambda width: _vega_svg(json.dumps(_styled(spec, width)))  # noqa: E731
    return Plot(caption, draw, detail, alternative, key or {})


def _styled(spec: Mapping[str, Any], width: int) -> dict[str, Any]:
    wide = width > 450  # between the two widths of a page
    config = _LOOK | {"axis": _LOOK["axis"] | {"tickCount": 5 if wide else 4}}
    for name, value in spec.get("config", {}).items():
        config[name] = config.get(name, {}) | value if isinstance(value, dict) else value
    config["view"] = {"stroke": None}  # drops Altair's default size
    size = {
        "width": width,
        "height": 260 if wide else 200,
        "autosize": {"type": "fit-x", "contains": "padding"},
    }
    return size | dict(spec) | {"config": config}


@lru_cache(maxsize=128)
def _vega_svg(spec: str) -> str:
    """Draws a Vega-Lite specification; the cache serves pages that show the same numbers again."""
    import vl_convert

    register_fonts()  # Vega measures letters to place them
    drawing = vl_convert.vegalite_to_svg(spec)
    # The figure has one description for everything, so screen readers need none for each mark.
    drawing = re.sub(r' (?:aria-[\w-]+|role)="[^"]*"', "", drawing)
    drawing = drawing.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace(' version="1.1"', "")
    # Vega numbers its clip paths. The new names differ between the charts of a page, where they would clash,
    # and are the same in every process (crc32, unlike hash, takes no random seed).
    names: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"clip-{zlib.crc32(spec.encode())}-{len(names)}")

    drawing = re.sub(r"\bclip\d+\b", rename, drawing)
    # Letters have a border in the color of the paper; it is painted first, so it does not cover them.
    return drawing.replace(f'stroke="{PAPER}"', f'stroke="{PAPER}" paint-order="stroke"').replace(
        "<svg ", '<svg aria-hidden="true" ', 1
    )


def line_chart(
    lines: Mapping[str, Line | tuple[Sequence[float], Sequence[float]]],
    caption: str,
    x_label: str,
    y_label: str = "",
    detail: str = "",
    *,
    levels: Mapping[str, float] | None = None,
    marks: Mapping[str, float] | None = None,
    shade: tuple[float, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    x_ticks: Mapping[float, str] | None = None,
    y_range: tuple[float, float] | None = None,
) -> Picture:
    """Draws lines over a common axis.

    Values that cannot be drawn (not finite, or not above 0 on a logarithmic axis) are left out.

    Args:
        lines: name -> `(x, y)` or a `Line`; a line with the name "" does not appear in the key.
        levels: name -> height of a dashed line to compare with.
        marks: name -> position of a vertical line on the x axis.
        shade: start and end of a tinted range on the x axis, such as held-out time.
        log_x, log_y: whether the axis is logarithmic.
        x_ticks: number on the x axis -> its label.
        y_range: lower and upper end of the y axis; by default all values fit.
    """
    levels = {name: level for name, level in (levels or {}).items() if _drawable(level, log_y)}
    known = {}
    for index, (name, given) in enumerate(lines.items()):
        line = given if isinstance(given, Line) else Line(*given)
        spreads = line.spread if len(line.spread) else [0.0] * len(line.y)
        rows = [
            {"x": float(x), "y": float(y), "low": float(y - spread), "high": float(y + spread)}
            for x, y, spread in zip(line.x, line.y, spreads, strict=True)
            if _drawable(y, log_y) and _drawable(x, log_x)
        ]
        if rows:
            known[name] = (line, line.color or series(index), rows)
    if not known:
        nothing = lambda width: svg(text(0, 20, "No values yet.", 12, SOFT), width, 30)  # noqa: E731
        return Picture(caption, nothing, detail, markup='<p class="lp-empty">No values yet.</p>')
    xs = [row["x"] for *_, rows in known.values() for row in rows]
    ys = [row[side] for *_, rows in known.values() for row in rows for side in ("low", "high")]
    ys = [y for y in (*ys, *levels.values()) if _drawable(y, log_y)]
    left, right = shade or (min(xs), max(xs))
    x_scale = {"domain": [min(left, *xs), max(right, *xs)], "nice": False, "zero": False}
    low, high = y_range or (min(ys), max(ys))
    scale = math.log if log_y else float  # heights on the axis; a logarithmic axis spaces them by their logs
    span = scale(high) - scale(low) or 1.0
    shares = lambda value: (scale(value) - scale(low)) / span  # noqa: E731
    below, above = (0.0, 0.0) if y_range else (0.04, 0.04)  # margins, as shares of the height
    if levels and min(map(shares, levels.values())) < 0.1 and not y_range:
        below = 0.12  # room for the name of the lowest level
    y_domain = [scale(low) - below * span, scale(high) + above * span]
    if log_y:
        y_domain = [math.exp(end) for end in y_domain]
    # An explicit type, because Altair cannot infer it from named data.
    x = alt.X("x", type="quantitative", title=x_label, axis=_axis(xs, log_x, x_ticks, grid=False))
    y = alt.Y("y", type="quantitative", title=y_label or None, axis=_axis(y_domain, log_y))
    x.scale = alt.Scale(type="log" if log_x else "linear", **x_scale)
    y.scale = alt.Scale(type="log" if log_y else "linear", domain=y_domain, nice=False, zero=False)
    clip = y_range is not None
    layers = []
    if shade:
        paper = alt.Chart(alt.Data(values=[{"x": shade[0], "end": shade[1]}]))
        layers.append(paper.mark_rect(color=TINT).encode(x, x2="end"))
    for index, (line, color, rows) in enumerate(known.values()):
        base = alt.Chart(alt.NamedData(f"line {index}")).encode(x, y)
        if len(line.spread):
            area = base.mark_area(color=color, opacity=0.16, clip=clip)
            layers.append(area.encode(y="low:Q", y2="high:Q"))
        if line.width and len(rows) > 1:
            dash = [5, 4] if line.dashed else []
            layers.append(base.mark_line(color=color, strokeWidth=line.width, strokeDash=dash, clip=clip))
        if line.points or not line.width or len(rows) == 1:
            layers.append(base.mark_circle(color=color, size=36, opacity=1))
    # Heights of the lines in the right 40 % of the chart, where the names of the levels stand.
    from_x = x_scale["domain"][0] + 0.6 * (x_scale["domain"][1] - x_scale["domain"][0])
    near = [shares(row["y"]) for *_, rows in known.values() for row in rows if row["x"] >= from_x]
    layers += _levels(levels, y, shares, near) + _marks(marks or {}, x)
    alternative = " ".join(
        f"{name}: from {number(rows[0]['y'])} at {x_label} {number(rows[0]['x'])} "
        f"to {number(rows[-1]['y'])} at {number(rows[-1]['x'])}."
        for name, (_, _, rows) in known.items()
        if name
    ) + "".join(f" {name}: {number(level)}." for name, level in levels.items())
    key = {name: color for name, (_, color, _) in known.items() if name} if len(known) > 1 else {}
    data = {f"line {index}": rows for index, (*_, rows) in enumerate(known.values())}
    return plot(alt.layer(*layers), caption, detail, alternative, key, data)


def _drawable(value: float | None, log: bool) -> bool:
    return value is not None and math.isfinite(value) and (value > 0 or not log)


def _axis(
    values: Sequence[float],
    log: bool,
    names: Mapping[float, str] | None = None,
    grid: bool = True,
    most: int = 5,
) -> alt.Axis:
    """Returns the axis for these values.

    Args:
        log: whether the axis is logarithmic; it then gets at most `most` labels.
        names: number -> label, in place of the automatic labels.
    """
    if log and not names:
        names = {tick: _power(tick) for tick in _log_ticks(min(values), max(values), most)}
    if not names:
        return alt.Axis(grid=grid)
    labels = json.dumps(list(names.values()))
    # A Vega expression: the label at the index of the tick among the numbers.
    text = f"{labels}[indexof({json.dumps(list(names))}, datum.value)]"
    overlap = False if grid else "greedy"  # names side by side may be wide
    return alt.Axis(values=list(names), tickCount=len(names), labelExpr=text, grid=grid, labelOverlap=overlap)


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Returns at most `most` round numbers from `low` to `high`, from the finest grid that has so few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for every, steps in (
        (1, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9)),
        (1, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)),
        (1, (1, 2, 3, 5, 7)),
        (1, (1, 2, 5)),
        (1, (1, 3)),
        *((every, (1,)) for every in range(1, len(powers) + 1)),
    ):
        ticks = [float(f"{step}e{power}") for power in powers if power % every == 0 for step in steps]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]  # rounding may miss the ends
        if 1 < len(ticks) <= most:
            return ticks
    # No grid has two numbers in a range this narrow: its ends and its geometric mean, to three digits.
    middle = math.sqrt(low * high)
    return sorted({float(f"{value:.3g}") for value in (low, middle, high)})


def _power(value: float) -> str:
    """Formats a tick of a logarithmic axis: `0.01`, `20,000`, `3×10¹⁰`."""
    if 1e-4 <= value < 1e6:
        return f"{value:,.10g}"
    digits, power = f"{value:.0e}".split("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return ("" if digits == "1" else f"{digits}×") + f"10{raised}"


def _levels(
    levels: Mapping[str, float], y: alt.Y, height: Callable[[float], float], right: Sequence[float]
) -> list[alt.Chart]:
    """Draws dashed lines with their names, which stand on the right unless a line of the chart is in the way.

    A name stands above its line, or below it if the next level is near.

    Args:
        levels: name -> value.
        y: the axis.
        height: function that returns the height of a value, as a share of the chart.
        right: heights of the lines of the chart in its right part.
    """
    ordered = sorted(levels.items(), key=lambda level: level[1])
    charts = []
    for index, (name, value) in enumerate(ordered):
        level = height(value)
        # A line of text is about 0.09 of the chart high.
        crowded = index + 1 < len(ordered) and height(ordered[index + 1][1]) - level < 0.09
        down = crowded or level > 0.93
        blocked = any(-0.1 < other - level < 0.01 if down else -0.01 < other - level < 0.1 for other in right)
        data = alt.Chart(alt.Data(values=[{"y": value, "name": name}])).encode(y)
        charts.append(data.mark_rule(color=SOFT, strokeDash=[5, 4]))
        style = {"align": "left" if blocked else "right", "dx": 5 if blocked else -3, "dy": 9 if down else -7}
        words = data.encode(text="name:N", x=alt.value(0 if blocked else "width"))
        charts.append(words.mark_text(color=SOFT, stroke=PAPER, strokeWidth=3, fontSize=11, **style))
    return charts


def _marks(marks: Mapping[str, float], x: alt.X) -> list[alt.Chart]:
    charts = []
    for name, value in marks.items():
        data = alt.Chart(alt.Data(values=[{"x": value, "name": name}])).encode(x)
        words = data.encode(text="name:N", y=alt.value(8))
        charts += [
            data.mark_rule(color=SOFT, strokeDash=[2, 3]),
            words.mark_text(color=SOFT, stroke=PAPER, strokeWidth=3, align="left", dx=4, fontSize=11),
        ]
    return charts


def bar_chart(
    values: Mapping[str, float] | Sequence[tuple[str, float]],
    caption: str,
    x_label: str = "",
    detail: str = "",
    *,
    levels: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
    form: Callable[[float], str] = number,
    tokens: bool = False,
) -> Picture:
    """Draws a horizontal bar with its number for each name. Pages show a list that screen readers can read.

    Args:
        values: name -> number, or pairs of both where a name occurs twice.
        levels: name -> number to compare with, drawn as a dashed line.
        errors: name -> deviation.
        form: function that formats a number, such as `"{:.1%}".format`.
        tokens: whether the names are tokens, whose white space is made visible.
    """
    rows = list(values.items() if isinstance(values, Mapping) else values)
    names = [visible(name) if tokens else name for name, _ in rows]
    spreads = [(errors or {}).get(name, 0.0) for name, _ in rows]
    told = "; ".join(f"dashed line: {name}, {form(level)}" for name, level in (levels or {}).items())
    written = [
        form(value) + (f" ± {form(spread)}" if spread else "")
        for (_, value), spread in zip(rows, spreads, strict=True)
    ]
    data = [
        {"row": row, "value": value, "end": value + math.copysign(spread, value), "text": text,
         "low": value - spread, "high": value + spread}
        for row, ((_, value), spread, text) in enumerate(zip(rows, spreads, written, strict=True))
    ]  # fmt: skip
    # A Vega expression: the name of a row by its index, as a list of its lines. Names themselves may repeat.
    labels = f"{json.dumps([name.split(chr(10)) for name in names])}[datum.value]"
    axis = alt.Axis(
        labelExpr=labels,
        grid=False,
        domain=False,
        labelLimit=330,
        labelFont=MONO if tokens else SANS,
        labelColor=INK,
    )
    y = alt.Y("row", type="ordinal", title=None, sort=None, axis=axis)
    x_title = [line for line in (x_label, told) if line] or None
    base = alt.Chart(alt.NamedData("bars")).encode(y)
    # The numbers stand at the bars, so the axis needs none.
    x_axis = alt.Axis(labels=False, grid=False, domain=False)
    # The bars leave room for the longest number, at about 7.2 pixels per character.
    room = 10 + 7.2 * max((len(text) for text in written), default=0)
    left_room = room if any(value < 0 for _, value in rows) else 0
    x_scale = alt.Scale(range=[left_room, {"expr": f"width - {room:.0f}"}], nice=False)
    x = alt.X("value", type="quantitative", title=x_title, axis=x_axis, scale=x_scale)
    layers = [base.mark_bar(color=BAR, cornerRadius=2, height=16).encode(x)]
    if errors:
        layers.append(base.mark_rule(color=INK).encode(x="low:Q", x2="high:Q"))
    for level in (levels or {}).values():
        rule = alt.Chart(alt.Data(values=[{"value": level}])).mark_rule(color=SOFT, strokeDash=[5, 4])
        layers.append(rule.encode(x))
    side = "right" if rows and all(value <= 0 for _, value in rows) else "left"
    text = base.mark_text(align=side, dx=5 if side == "left" else -5, stroke=PAPER, strokeWidth=3)
    layers.append(text.encode(x="end:Q", text="text:N"))
    tall = alt.Step(34 if any("\n" in name for name in names) else 26)
    drawing = plot(alt.layer(*layers).properties(height=tall), caption, detail, data={"bars": data})
    return replace(drawing, markup=_bar_list(rows, names, spreads, written, levels or {}, told or ""))


def _bar_list(
    rows: Sequence[tuple[str, float]],
    names: Sequence[str],
    spreads: Sequence[float],
    written: Sequence[str],
    levels: Mapping[str, float],
    told: str,
) -> str:
    # The axis includes 0, where every bar begins.
    ends = [value + spread for (_, value), spread in zip(rows, spreads, strict=True)]
    low, high = min(0.0, *ends, *levels.values(), 0.0), max(0.0, *ends, *levels.values(), 0.0)
    share = lambda value: 100 * value / ((high - low) or 1.0)  # noqa: E731
    dashes = "".join(f'<u style="left:{share(level - low):.1f}%"></u>' for level in levels.values())
    lines = "".join(
        f'<div role="listitem"><span class="lp-bar-name">{escape(name)}</span><b aria-hidden="true">'
        f'<i style="margin-left:{share(min(value, 0.0) - low):.1f}%;width:{share(abs(value)):.1f}%"></i>'
        f"{dashes}</b>"
        f'<span class="lp-bar-value" data-value="{value:.6f}">{escape(text)}</span></div>'
        for name, (_, value), text in zip(names, rows, written, strict=True)
    )
    letters = min(24, max((len(name) for name in names), default=1)) + 1  # longer names are broken
    room = max(7, *(len(text) + 1 for text in written), 0)
    note = f'<p class="lp-note">{escape(told)}</p>' if told else ""
    style = f"--names:{max(3, letters)}ch;--values:{room}ch"
    return f'<div class="lp-bars" role="list" style="{style}">{lines}</div>{note}'


def histogram(
    shares: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    caption: str,
    x_label: str,
    y_label: str = "",
    detail: str = "",
) -> Picture:
    """Draws distributions on one axis.

    Args:
        shares: name -> edges of the bins `(bins + 1,)` and share of each bin `(bins,)`.
    """
    layers, data, key = [], {}, {}
    for index, (name, (edges, heights)) in enumerate(shares.items()):
        data[name] = [
            {"left": float(a), "right": float(b), "share": float(share)}
            for a, b, share in zip(edges[:-1], edges[1:], heights, strict=True)
        ]
        key[name] = series(index)
        mark = alt.Chart(alt.NamedData(name)).mark_rect(color=series(index), opacity=0.5)
        layers.append(
            mark.encode(
                x=alt.X(
                    "left:Q",
                    title=x_label,
                    scale=alt.Scale(nice=False, zero=False),
                    axis=alt.Axis(grid=False),
                ),
                x2="right",
                y=alt.Y("share:Q", title=y_label or None),
                y2=alt.datum(0),
            )
        )
    alternative = " ".join(
        f"{name}: highest between {number(top['left'])} and {number(top['right'])}."
        for name, rows in data.items()
        for top in [max(rows, key=lambda row: row["share"])]
    )
    return plot(alt.layer(*layers), caption, detail, alternative, key if len(key) > 1 else {}, data)


def scatter(
    points: Mapping[str, tuple[float, float]],
    caption: str,
    x_label: str,
    y_label: str,
    detail: str = "",
    *,
    sizes: Mapping[str, float] | None = None,
    log_x: bool = False,
) -> Picture:
    """Draws named points.

    Args:
        points: name -> `(x, y)`.
        sizes: name -> a third number, shown by the area of the point.
        log_x: whether the x axis is logarithmic.
    """
    largest = max((sizes or {"": 1}).values())
    rows = [
        {"name": name, "x": float(x), "y": float(y), "size": 40 + 360 * (sizes or {}).get(name, 0) / largest}
        for name, (x, y) in points.items()
    ]
    colors = [series(index) for index in range(len(rows))]
    xs = [row["x"] for row in rows]
    span = max(xs) / min(xs) if log_x else max(xs) - min(xs)
    # A margin of a tenth of the span on both sides; on a logarithmic axis, the span is a ratio.
    wide = (
        [min(xs) / span**0.1, max(xs) * span**0.1] if log_x else [min(xs) - 0.1 * span, max(xs) + 0.1 * span]
    )
    scale = alt.Scale(type="log" if log_x else "linear", domain=wide, nice=False, zero=False)
    base = alt.Chart(alt.NamedData("points")).encode(
        x=alt.X("x:Q", title=x_label, scale=scale, axis=_axis(wide, log_x)),
        y=alt.Y("y:Q", title=y_label, scale=alt.Scale(zero=False, padding=18)),
        color=alt.Color("name:N", scale=alt.Scale(domain=list(points), range=colors), legend=None),
    )
    chart = base.mark_circle(opacity=0.8).encode(size=alt.Size("size:Q", scale=None))
    told = (f"{name}: {number(x)} and {number(y)}" for name, (x, y) in points.items())
    key = dict(zip(points, colors, strict=True))
    return plot(chart, caption, detail, f"{x_label} and {y_label}. {'; '.join(told)}.", key, {"points": rows})
