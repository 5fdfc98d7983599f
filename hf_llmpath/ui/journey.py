"""Draws the picture at the top of the path: XOR, layers, memory, attention, language, preference."""


def _dots(points: list[tuple[float, float]], radius: float, kind: str) -> str:
    return "".join(f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"/>' for x, y in points)


def _xor() -> str:
    frame = '<rect class="paper" x="-34" y="-34" width="68" height="68" rx="10"/>'
    boundary = '<path class="ink" d="M-26 6 Q2 2 6 -26 M-6 26 Q-2 -2 26 -6" stroke-dasharray="4 5"/>'
    diagonals = _dots([(-17, -17), (17, 17)], 7, "more") + _dots([(17, -17), (-17, 17)], 7, "less")
    return frame + boundary + diagonals


def _layers() -> str:
    left, middle, right = [(-34, -18), (-34, 18)], [(0, -30), (0, 0), (0, 30)], [(34, 0)]
    edges = [(a, b) for a in left for b in middle] + [(a, b) for a in middle for b in right]
    lines = "".join(f'<path class="ink" opacity=".45" d="M{a[0]} {a[1]}L{b[0]} {b[1]}"/>' for a, b in edges)
    return lines + _dots(left + middle, 8, "paper") + _dots(right, 8, "more")


def _memory() -> str:
    cells = [(-40, 0), (0, 0), (40, 0)]
    arrows = "".join(f'<path class="ink" d="M{x + 13} 0h12m-5 -4l5 4l-5 4"/>' for x, _ in cells[:-1])
    loops = "".join(f'<path class="ink" d="M{x} 30v-16M{x} -14v-16"/>' for x, _ in cells)
    shade = "".join(
        f'<circle class="more" opacity="{0.25 + 0.3 * index}" cx="{x}" cy="0" r="10"/>'
        for index, (x, _) in enumerate(cells)
    )
    return loops + _dots(cells, 13, "paper") + shade + arrows


def _attention() -> str:
    weights = ((0.95, 0, 0, 0), (0.3, 0.7, 0, 0), (0.15, 0.75, 0.2, 0), (0.6, 0.1, 0.2, 0.4))
    cells = "".join(
        f'<rect class="more" opacity="{weight}" x="{17 * column - 33}" y="{17 * row - 33}" '
        'width="15" height="15" rx="3"/>'
        for row, line in enumerate(weights)
        for column, weight in enumerate(line)
    )
    return f'<rect class="paper" x="-38" y="-38" width="76" height="76" rx="10"/>{cells}'


def _text() -> str:
    widths = (56, 44, 60, 26)
    lines = "".join(f'<path class="ink" d="M-30 {-22 + 14 * i}h{width}"/>' for i, width in enumerate(widths))
    page = '<rect class="paper" x="-42" y="-38" width="84" height="76" rx="10"/>'
    return page + lines + '<path class="more" d="M2 12h3v14h-3z"/>'


def _preference() -> str:
    upper = "M-36 -32h72a10 10 0 0 1 10 10v34a10 10 0 0 1 -10 10"
    lower = "h-46l-18 16v-16h-8a10 10 0 0 1 -10 -10v-34a10 10 0 0 1 10 -10z"
    heart = "M0 14c-26 -16 -20 -34 -9 -34c5 0 8 3 9 7c1 -4 4 -7 9 -7c11 0 17 18 -9 34z"
    return f'<path class="paper" d="{upper}{lower}"/><path class="more" d="{heart}"/>'


# x and y of the center of each stop on the road, its name, and the function that draws it around (0, 0).
_STOPS = (
    (70, 62, "XOR", _xor),
    (242, 84, "layers", _layers),
    (414, 60, "memory", _memory),
    (586, 84, "attention", _attention),
    (758, 60, "language", _text),
    (930, 82, "preference", _preference),
)


def journey() -> str:
    """Returns an SVG that takes its colors from the page. It is decoration, hidden from screen readers."""
    road = f"M{_STOPS[0][0]} {_STOPS[0][1]}"
    for (x, y, *_), (to_x, to_y, *_) in zip(_STOPS, _STOPS[1:], strict=False):
        half = (to_x - x) / 2  # control points halfway, so the road is level at every stop
        road += f"C{x + half} {y} {to_x - half} {to_y} {to_x} {to_y}"
    stops = "".join(
        f'<g transform="translate({x} {y})">{draw()}</g><text x="{x}" y="152">{name}</text>'
        for x, y, name, draw in _STOPS
    )
    drawing = f'<path class="road" d="{road}"/>{stops}'
    return f'<svg class="lp lp-journey" viewBox="0 0 1000 160" aria-hidden="true">{drawing}</svg>'
