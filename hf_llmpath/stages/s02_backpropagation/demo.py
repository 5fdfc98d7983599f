"""The page of stage 2: a small graph through which gradients flow back, and a playground with layers."""

import math
import threading
from typing import Any

import gradio as gr

from ...charts.plots import line_chart
from ...runs import RunFolder
from ...ui.live_network import Design, not_finite
from ...ui.page import html, section, stage_page
from ...ui.play import NOW, SlowChart, Transport
from ...ui.playground import playground
from . import STAGE
from .example import NUMBERS, graph, nodes
from .graph_picture import computation_graph

GIVEN = ("x1", "x2", "t")  # inputs and target, which are not learned
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
LONGEST = 400  # losses in the curve; older ones are dropped


class LiveGraph:
    """The lesson's example in motion: gradient steps, each preceded by a backward pass node by node.

    Attributes:
        numbers: the inputs, the target, and the weights.
        values: the graph of these numbers after its forward and backward pass.
        done: the number of results that have passed their gradient on.
        step, losses: the number of gradient steps taken, and the loss before each of them and now.
        rate: the learning rate.
        stopped: the reason why no further step is possible; empty if one is.
    """

    pace, frame = 1, 0.3  # steps, and seconds, from picture to picture

    def __init__(self, given: dict[str, float], rate: float):
        self.lock = threading.RLock()  # reentrant, because `advance` holds it when it calls `descend`
        self.player: object | None = None
        self.rate, self.chart = rate, SlowChart()
        self.start(given)

    def __deepcopy__(self, memo: dict) -> "LiveGraph":
        """Makes a new graph: Gradio copies the state for each open page, and a lock cannot be copied."""
        return LiveGraph({name: self.numbers[name] for name in GIVEN}, self.rate)

    def start(self, given: dict[str, float]) -> None:
        """Restores the weights of the lesson, with the given inputs and target."""
        with self.lock:
            self.numbers = NUMBERS | given
            self.step, self.stopped = 0, ""
            self.losses: list[float] = []
            self._forward()

    def again(self) -> None:
        self.start({name: self.numbers[name] for name in GIVEN})

    def _forward(self) -> None:
        self.values, self.done = graph(self.numbers), 0
        self.results = sum(bool(value.inputs) for value in self.values["L"].order())
        self.losses.append(self.values["L"].data)
        del self.losses[:-LONGEST]

    @property
    def over(self) -> bool:
        return bool(self.stopped)

    def advance(self, steps: int) -> None:
        """Takes steps, each of which passes one gradient on or, after the last one, moves the weights."""
        with self.lock:
            for _ in range(steps):
                if self.stopped:
                    return
                if self.done < self.results:
                    self.done += 1
                else:
                    self.descend()

    def descend(self) -> None:
        """Moves every weight, θ ← θ − η ∂L/∂θ, unless a number of the graph would no longer be finite."""
        with self.lock:
            if self.stopped:
                return
            moved = {
                name: number if name in GIVEN else number - self.rate * self.values[name].grad
                for name, number in self.numbers.items()
            }
            self.step += 1
            if not _is_finite(moved):
                self.stopped = not_finite(self.step, self.rate)
                return
            self.numbers = moved
            self._forward()


def _is_finite(numbers: dict[str, float]) -> bool:
    try:
        values = graph(numbers)
    except OverflowError:  # some operations on Python floats raise it instead of returning infinity
        return False
    return all(math.isfinite(value.data) and math.isfinite(value.grad) for value in values.values())


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """Builds the page; both parts of it work without a run."""
    with stage_page(STAGE, folder, model_id) as page, page.always:
        html(
            section(
                "The gradient flows back",
                "Two inputs, two tanh units, one output, squared error. Press Step: each result takes the "
                "gradient that came from the right (upstream) and passes it on to its inputs, multiplied "
                "by its own derivative (local). After the last result, the weights move.",
            )
        )
        _graph(page)
        html(
            section(
                "Playground",
                "The same with layers, on many points: plain gradient descent on the squared error. Raise "
                "the learning rate step by step. First the training is slow, then fast, then the loss "
                "jumps about, and in the end it overflows.",
            )
        )
        playground(page, Design(shape="moons", noise=0.1, layers=2, units=4, squared=True), rate=0.1, speed=5)
    return page.blocks


def _graph(page: Any) -> None:
    first = LiveGraph({name: NUMBERS[name] for name in GIVEN}, RATES[2])
    live = gr.State(first)
    with gr.Row(elem_classes="lp-panel"):
        given = [
            gr.Slider(-2, 2, value=NUMBERS[name], step=0.1, label=label, min_width=150)
            for name, label in (("x1", "Input x1"), ("x2", "Input x2"), ("t", "Target t"))
        ]
        power = gr.Slider(
            0, len(RATES) - 1, value=2, step=1, label=_label(RATES[2]), min_width=150, elem_classes="lp-named"
        )
    transport = Transport("graph")
    with transport.row:
        whole = gr.Button("Whole step", min_width=110)
    picture = html(draw(first), elem_id="graph", elem_classes="lp-scroll")

    def changed(graph: LiveGraph, *numbers: float) -> str:
        wanted = dict(zip(GIVEN, numbers, strict=True))
        if wanted != {name: graph.numbers[name] for name in GIVEN}:
            graph.start(wanted)
        return draw(graph)

    def paced(graph: LiveGraph, power: int) -> tuple[gr.Slider, str]:
        # A graph that stopped gets another chance with the new rate.
        graph.rate, graph.stopped = RATES[int(power)], ""
        return gr.Slider(label=_label(graph.rate)), draw(graph)

    def whole_step(graph: LiveGraph) -> str:
        graph.descend()
        return draw(graph)

    gr.on(
        [slider.change for slider in given],
        changed,
        [live, *given],
        picture,
        trigger_mode="always_last",
        **NOW,
    )
    power.change(paced, [live, power], [power, picture], trigger_mode="always_last", **NOW)
    whole.click(whole_step, live, picture, trigger_mode="multiple", **NOW)
    transport.connect(live, picture, draw)


def _label(rate: float) -> str:
    return f"Learning rate: {rate:g}"


def draw(live: LiveGraph) -> str:
    """Returns the graph and the loss over the latest steps, as HTML."""
    with live.lock:
        loss = live.values["L"].data
        stopped = f'<p class="lp-stopped" role="alert">{live.stopped}</p>' if live.stopped else ""
        status = (
            f'<p class="lp-status" data-step="{live.step}" data-loss="{loss:.6g}" data-done="{live.done}">'
            f"step {live.step:,} · loss {loss:.4g} · {live.done} of {live.results} gradients passed on</p>"
        )
        graph_figure = computation_graph(nodes(live.values), "The graph", live.done).html()
        # The last of the stored losses belongs to the current step.
        steps = range(live.step - len(live.losses) + 1, live.step + 1)
        curve = ""
        if live.step:
            curve = live.chart.html(live, lambda: line_chart({"loss": (steps, live.losses)}, "Loss", "step"))
    return f'<div class="lp lp-live">{status}{stopped}{graph_figure}{curve}</div>'
