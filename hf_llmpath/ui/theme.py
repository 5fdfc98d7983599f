"""Defines the look of every page: system fonts, ink on paper, amber for more, and blue for less.

Pages load no font and no other file from another host.
"""

from pathlib import Path

import gradio as gr
from gradio.themes.utils import colors, sizes
from gradio.themes.utils.fonts import Font

CSS = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")

_SANS = [
    Font(name)
    for name in ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
]
_MONO = [Font(name) for name in ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")]


def theme() -> gr.themes.Base:
    """Returns the Gradio theme; our pictures and cards take their colors from `style.css`."""
    return gr.themes.Base(
        primary_hue=colors.amber,
        secondary_hue=colors.blue,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_md,
        font=_SANS,
        font_mono=_MONO,
    ).set(
        body_background_fill="#fbfaf7",
        body_background_fill_dark="#141312",
        body_text_color="#1c1917",
        body_text_color_dark="#f1eeea",
        body_text_color_subdued="#57534e",
        body_text_color_subdued_dark="#b5aea6",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1e1c1a",
        background_fill_secondary="#f5f3ee",
        background_fill_secondary_dark="#191715",
        border_color_primary="#e4dfd6",
        border_color_primary_dark="#38342f",
        block_background_fill="#ffffff",
        block_background_fill_dark="#1e1c1a",
        block_border_width="1px",
        block_shadow="none",
        block_radius="12px",
        container_radius="12px",
        input_radius="8px",
        input_border_width="1px",
        button_large_radius="9px",
        button_small_radius="999px",
        layout_gap="14px",
        block_label_text_color="#57534e",
        block_label_text_color_dark="#b5aea6",
        block_title_text_color="#44403c",
        block_title_text_color_dark="#d6d0c8",
        block_title_text_weight="600",
        block_info_text_color="#57534e",
        block_info_text_color_dark="#b5aea6",
        input_background_fill="#ffffff",
        input_background_fill_dark="#262320",
        input_border_color="#8f887e",
        input_border_color_dark="#7d756b",
        input_border_color_focus="#b45309",
        input_border_color_focus_dark="#fbbf24",
        input_placeholder_color="#78716c",
        input_placeholder_color_dark="#a29a90",
        button_primary_background_fill="#1c1917",
        button_primary_background_fill_hover="#44403c",
        button_primary_border_color="#1c1917",
        button_primary_border_color_dark="#fbbf24",
        button_primary_text_color="#ffffff",
        button_primary_background_fill_dark="#fbbf24",
        button_primary_background_fill_hover_dark="#fcd34d",
        button_primary_text_color_dark="#1c1917",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="#f5f3ee",
        button_secondary_background_fill_dark="#262320",
        button_secondary_background_fill_hover_dark="#38342f",
        button_secondary_text_color="#1c1917",
        button_secondary_text_color_dark="#f1eeea",
        button_secondary_border_color="#cfc8bc",
        button_secondary_border_color_dark="#4b453e",
        button_border_width="1px",
        slider_color="#b45309",
        slider_color_dark="#fbbf24",
        link_text_color="#9a4a06",
        link_text_color_dark="#fbbf24",
        link_text_color_hover="#7c3a02",
        link_text_color_hover_dark="#fcd34d",
        link_text_color_visited="#9a4a06",
        link_text_color_visited_dark="#fbbf24",
        code_background_fill="#f5f3ee",
        code_background_fill_dark="#191715",
    )
