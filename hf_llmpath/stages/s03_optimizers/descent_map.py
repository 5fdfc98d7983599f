"""Draws descents on a map of their surface, for the card and for the live race."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from ...charts.picture import INK, PAPER, rect, series, signed_png, svg, text
from .descent import OPTIMIZERS
from .surfaces import SURFACES, Surface

_CELLS = 160  # per side of the backdrop
_BANDS = 16  # shades of the backdrop
_RATIO = 2.1  # width / height
COLORS = {name: series(index) for index, name in enumerate(OPTIMIZERS)}


def descent_map(surface: Surface, paths: Mapping[str, Sequence[Sequence[float]]], width: int) -> str:
    """Draws an SVG of the surface with the path of each optimizer, the start (square), and minima (stars)."""
    left, right, bottom, top = surface.box
    height = round(width / _RATIO)

    def pixel(point: Sequence[float]) -> tuple[float, float]:
        """Returns the position on the map; a point far away is clamped to two widths or heights outside."""
        x = width * (point[0] - left) / (right - left)
        y = height * (top - point[1]) / (top - bottom)  # y points down in SVG
        return min(max(x, -2 * width), 3 * width), min(max(y, -2 * height), 3 * height)

    # Clipping needs an id, and the same surface may be on a page at several widths.
    size, clip = f'width="{width}" height="{height}"', f"lp-{surface.name}-{width}"
    body = f'<clipPath id="{clip}"><rect {size}/></clipPath><g clip-path="url(#{clip})">'
    body += rect(0, 0, width, height, PAPER)
    body += f'<image {size} preserveAspectRatio="none" href="{_backdrop(surface.name)}"/>'
    for name, path in paths.items():
        points = [pixel(point) for point in path]
        route = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        style = f'fill="none" stroke="{COLORS[name]}" stroke-width="2" stroke-linejoin="round"'
        body += f'<path d="M{route}" {style}/>'
        body += f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="5" fill="{COLORS[name]}"/>'
    x, y = pixel(surface.start)
    body += rect(x - 4.5, y - 4.5, 9, 9, INK)
    for minimum in surface.minima:
        x, y = pixel(minimum)
        body += text(x, y + 7, "★", 20, anchor="middle")
    return svg(body + "</g>", width, height, "lp-descents")


@cache
def _backdrop(name: str) -> str:
    """Returns the surface as an image in bands of equal loss ratio; the higher, the darker."""
    surface = SURFACES[name]
    left, right, bottom, top = surface.box
    across, down = np.linspace(left, right, _CELLS), np.linspace(top, bottom, _CELLS)
    losses = surface.loss(np.stack(np.meshgrid(across, down), axis=-1))  # (down, across, 2) -> (down, across)
    # The offset keeps the logarithm finite at a minimum, where the loss is 0.
    height = np.log(losses + losses.max() * 1e-4)
    share = (height - height.min()) / (height.max() - height.min())
    # Negative values are blue; at -0.5, the paths on top remain visible.
    return signed_png(-0.5 * np.floor(share * _BANDS) / _BANDS)
