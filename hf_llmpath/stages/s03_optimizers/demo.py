"""The page of stage 3: a race of optimizers on a surface, and the table of the run."""

from typing import Any

import gradio as gr

from ...runs import RunFolder
from ...ui import pictures
from ...ui.page import html, section, stage_page
from ...ui.play import NOW, Transport
from . import STAGE
from .descent import OPTIMIZERS, TITLES
from .live_race import GOOD_RATES, LiveRace, race_picture
from .surfaces import SURFACES

FACTORS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.3, 2.0, 3.0, 5.0, 10.0)  # that multiply all learning rates
PACES = (1, 2, 5, 20)  # steps from picture to picture
FIRST = "ravine"


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; the race works without a run."""
    with stage_page(STAGE, folder, model_id) as page:
        with page.always:
            html(
                section(
                    "The race",
                    "All optimizers start at the square and walk downhill. Plain gradient descent must take "
                    "steps that are small enough for the steep direction. The others have ways around that.",
                )
            )
            _race(page)
        html(
            section(
                "The table",
                "Steps to the target loss on every problem, each optimizer at its own best learning rate.",
            )
        )
        table = html(elem_id="steps")
        page.set_up(lambda: steps_table(folder), [table])
    return page.blocks


def _race(page: Any) -> None:
    first = LiveRace(FIRST, GOOD_RATES[FIRST])
    first.pace = PACES[1]
    live = gr.State(first)
    with gr.Row(elem_classes="lp-playground"):
        with gr.Column(scale=3, min_width=300):
            transport = Transport(STAGE.slug)
            picture = html(race_picture(first), elem_id="race")
        with gr.Column(scale=1, min_width=250, elem_classes="lp-panel"):
            choices = [(surface.title, name) for name, surface in SURFACES.items()]
            surface = gr.Radio(choices, value=FIRST, label="Surface")
            names = [(title, name) for name, title in TITLES.items()]
            runners = gr.CheckboxGroup(names, value=list(OPTIMIZERS), label="Who races")
            factor = gr.Slider(
                0,
                len(FACTORS) - 1,
                value=FACTORS.index(1.0),
                step=1,
                label=_factor_label(1.0),
                elem_id="factor",
                elem_classes="lp-named",
            )
            momentum = gr.Slider(0, 0.99, value=0.9, step=0.01, label="Momentum, β₁")
            beta2 = gr.Slider(0.5, 0.999, value=0.999, step=0.001, label="β₂ of Adam")
            pace = gr.Dropdown(PACES, value=first.pace, label="Steps from picture to picture")
            with gr.Accordion("Learning rate of each", open=False):
                rates = [
                    gr.Number(GOOD_RATES[FIRST][name], label=title, minimum=0, maximum=100, min_width=90)
                    for name, title in TITLES.items()
                ]
    page.remember(surface=surface, factor=factor, momentum=momentum, beta2=beta2)
    chosen = [surface, runners, factor, momentum, beta2, *rates]

    def changed(race: LiveRace, pace: int, *values: Any) -> tuple[gr.Slider, str]:
        """Resets the race if its surface, optimizers, or rates have changed."""
        surface, runners, factor, momentum, beta2, *rates = values
        scaled = {
            name: (rate or 0.0) * FACTORS[int(factor)]
            for name, rate in zip(TITLES, rates, strict=True)
            if name in runners
        }
        race.pace, numbers = int(pace), (surface, scaled, momentum, beta2)
        if numbers != race.numbers:
            race.reset(*numbers)
        label = gr.Slider(label=_factor_label(FACTORS[int(factor)]))
        # A race that is playing draws its own pictures.
        return label, gr.skip() if race.player else race_picture(race)

    # `change` also reports a surface that the page has read from its address.
    surface.change(lambda name: list(GOOD_RATES[name].values()), surface, rates, **NOW)
    triggers = [component.change for component in (*chosen, pace)]  # type: ignore[attr-defined]
    gr.on(triggers, changed, [live, pace, *chosen], [factor, picture], trigger_mode="always_last", **NOW)
    transport.connect(live, picture, race_picture)


def _factor_label(factor: float) -> str:
    return f"All learning rates × {factor:g}"


def steps_table(folder: RunFolder) -> str:
    """Returns a table with a row per optimizer and a column per problem, as HTML.

    A cell has the steps at the best rate, with their deviation over the starts, and that rate.
    """
    metrics, table = folder.metrics, folder.figure_data("table")
    rows = []
    for name, title in TITLES.items():
        cells = []
        for problem, results in table.items():
            prefix = f"{problem}/{name}"
            steps = f"{metrics[f'{prefix}/steps']:,.0f}"
            if f"{prefix}/steps_sd" in metrics:
                steps += f" ± {metrics[f'{prefix}/steps_sd']:.0f}"
            reached = results[name]["reached"][results[name]["best"]]
            if not all(reached):
                steps += f" ({sum(reached)} of {len(reached)} arrived)"
            cells.append(f"{steps} at {metrics[f'{prefix}/learning_rate']:g}")
        rows.append([title, *cells])
    headers = ["", *(SURFACES[problem].title if problem in SURFACES else "Images" for problem in table)]
    return pictures.table(headers, rows, "Steps to the target loss, at the best learning rate")
