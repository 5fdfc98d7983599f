"""Pictures: what they say, what they look like as PNGs, and that pages and cards show the same."""

import base64
import io
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hf_llmpath
from hf_llmpath.charts import attention, matrix, plots, text
from hf_llmpath.charts import decision_surface as plane
from hf_llmpath.charts.picture import LIGHT, Picture, panels, png, svg
from hf_llmpath.charts.picture import text as letters

EVIL = "<script>"
POINTS = {
    "extent": [-1, 1, -1, 1],
    "probability": [[0.1, 0.9], [0.2, 0.8]],
    "x": [[-0.5, 0], [0.5, 0]],
    "labels": [0, 1],
}
LINES = {EVIL: ([0, 1], [1, 2]), "b": plots.Line([0, 1], [2, 1], spread=[0.1, 0.2], points=True)}
PICTURES = [
    plots.line_chart(LINES, EVIL, EVIL, EVIL, EVIL, levels={EVIL: 1.5}, marks={EVIL: 0.5}, shade=(0.5, 1)),
    plots.bar_chart([(EVIL, 0.5), ("b", -0.2)], EVIL, EVIL, EVIL, levels={EVIL: 0.3}, errors={"b": 0.1}),
    plots.histogram({EVIL: ([0, 1, 2], [0.5, 0.5]), "b": ([0, 1, 2], [0.1, 0.9])}, EVIL, EVIL),
    plots.scatter({EVIL: (1, 2), "b": (10, 3)}, EVIL, EVIL, EVIL, sizes={EVIL: 1, "b": 2}, log_x=True),
    text.colored_text([EVIL], [0.1], EVIL),
    text.texts({EVIL: EVIL, "b": "c"}, EVIL),
    text.token_boxes([(EVIL, [EVIL, "b"], ["mark", ""])], EVIL, {"mark": EVIL}),
    text.table([EVIL, "b"], [[EVIL, EVIL]], EVIL, fills={(0, 0): "var(--lp-bad)"}),
    matrix.heat_map(np.zeros((1, 1)), [EVIL], [EVIL], EVIL, highlight=0),
    matrix.strips({EVIL: [0.5]}, [EVIL], EVIL),
    matrix.confusion([[3, 1], [0, 4]], [EVIL, "b"], EVIL),
    matrix.images(np.zeros((3, 4, 4), dtype=np.uint8), 2, EVIL),
    attention.head_browser(np.full((2, 2, 1, 2), 0.5), [EVIL], [EVIL, "b"], EVIL),
    attention.attention_map([[0.5, 0.5]], [EVIL], [EVIL, "b"], EVIL),
    attention.masks({EVIL: ([[True, False]], [EVIL], [EVIL, "b"])}, EVIL),
    plane.decision_surfaces({EVIL: POINTS}, EVIL),
    plane.unit_surfaces([[[0.0, 1.0], [1.0, 0.0]]], EVIL),
    plane.network_diagram(
        POINTS | {"weights": [[[1, 2]], [[3]]], "units": [[[[0.0, 1.0], [1.0, 0.0]]]]}, EVIL
    ),
    plane.neuron({EVIL: 1.0}, [0.5], -0.2, EVIL, 0.3),
    panels({EVIL: plots.line_chart(LINES, "", ""), "b": matrix.strips({"c": [1]}, ["d"], "")}, EVIL),
]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: type(picture).__name__)
def test_every_picture_is_a_figure_and_a_png_and_escapes_what_it_shows(picture: Picture, tmp_path):
    for shown in (picture.html(), picture.html(small=True)):
        assert EVIL not in shown and shown.startswith("<figure") and shown.endswith("</figure>")
        assert not re.search(r"https?://(?!www\.w3\.org)", shown)  # nothing is asked of another host
        assert set(re.findall(r"var\(--lp-([\w-]+)\)", shown)) <= {*LIGHT, "mono"}
        hard = re.findall(r'(?:fill|stroke)="(?!none|transparent|var\()([^"]+)"', shown)
        assert not hard, "colors that do not follow the theme"
    image = np.asarray(Image.open(picture.save(tmp_path / "figures" / "it.png")).convert("RGB"))
    assert image.shape[1] >= 2 * 500 and (image[:4] == 255).all() and (image[-4:] == 255).all()
    assert image.min() < 100


def test_the_light_theme_is_that_of_the_pages():
    css = (Path(hf_llmpath.__file__).parent / "ui" / "style.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--lp-([\w-]+): (#\w+);", css[: css.index(".dark")]))
    assert {name: light[name] for name in LIGHT} == LIGHT


@pytest.mark.parametrize("sign", "␣↵⇥∅θησβ±−×₁′→…“")
@pytest.mark.parametrize("font", ["DejaVu Sans", "DejaVu Sans Mono"])
def test_signs_have_a_shape(sign, font):
    missing, shown = (
        np.asarray(
            Image.open(io.BytesIO(png(svg(letters(5, 25, words, 20, font=font), 40, 40)))).convert("L")
        )
        for words in ("\uf8ff", sign)
    )
    assert (shown < 255).any() and not np.array_equal(missing, shown)


def test_a_line_chart_leaves_out_what_cannot_be_drawn_and_says_its_numbers():
    nan, inf = float("nan"), float("inf")
    lines = {"a": ([0, 1, 2, 3], [1.0, nan, 0.0, 0.01]), "b": ([0], [inf])}
    shown = plots.line_chart(lines, "c", "step", log_y=True, levels={"goal": 0.1}).html()
    assert "a: from 1 at step 0 to 0.01 at 3. goal: 0.1." in shown and "b:" not in shown
    assert "No values yet" in plots.line_chart({"a": ([], [])}, "c", "step").html()
    assert "<path" in plots.line_chart({"a": ([0, 1], [2.0, 2.0])}, "c", "step").html()
    assert "<path" in plots.line_chart({"a": ([1], [2.0])}, "c", "step").html()


def test_bars_carry_their_values():
    shown = plots.bar_chart({"a": 0.25, "b": -0.5}, "c", errors={"a": 0.1}, levels={"d": 0.1}).html()
    assert re.findall(r'data-value="([^"]+)"', shown) == ["0.250000", "-0.500000"]
    assert "0.25 ± 0.1" in shown and "dashed line: d, 0.1" in shown


def test_a_heat_map_has_a_pixel_for_each_value():
    values = np.array([[1.0, 0.5, 0.0], [-0.25, -1.0, 1.0]])
    source = re.search(r"base64,([^\"]+)", matrix.heat_map(values, [4, 9], list("abc"), "States").html())[1]
    image = np.array(Image.open(io.BytesIO(base64.b64decode(source))).convert("RGBA"))
    assert image.shape == (2, 3, 4)
    np.testing.assert_allclose(image[..., 3], [[255, 127, 0], [63, 255, 255]], atol=255 / 62)  # half a shade
    assert (image[0, 0, :3] != image[1, 1, :3]).any()


def test_a_confusion_matrix_names_its_commonest_mistake_only_if_there_is_one():
    assert "7 of 8 answers are right. Most often, a is taken for b." in (
        matrix.confusion([[3, 1], [0, 4]], ["a", "b"], "c").alternative
    )
    assert matrix.confusion([[4, 0], [0, 4]], ["a", "b"], "c").alternative == "8 of 8 answers are right."


def test_the_line_between_the_classes_is_where_the_answer_changes_its_sign():
    across, up = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    drawing = plane.plane_svg(across - 0.5, (-1, 1, -1, 1), side=200)
    xs = np.array(
        re.findall(r"[ML]([\d.]+) [\d.]+", re.search(r'<path d="([^"]*)" fill="none"', drawing)[1]), float
    )
    np.testing.assert_allclose(xs, 150, atol=0.11)
    assert '<path d=""' in plane.plane_svg(np.full((4, 4), 0.3), (-1, 1, -1, 1))


def test_charts_can_be_drawn_from_several_threads():
    found = {}

    def draw(number: int) -> None:
        found[number] = plots.line_chart({"a": ([0, 1], [0, 1 + number % 2])}, str(number % 2), "x").html()

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found.values())) == 2
