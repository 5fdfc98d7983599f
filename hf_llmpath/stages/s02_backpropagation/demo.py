"""The page of stage 2: the gradient flows back through a small graph, and a playground with a learning
rate to overdo.
"""

import math
import threading
from typing import Any

import gradio as gr

from ...runs import RunFolder
from ...ui import pictures
from ...ui.live_network import Design, not_finite
from ...ui.page import html, stage_page
from ...ui.panels import section
from ...ui.play import NOW, Transport
from ...ui.playground import playground
from . import STAGE
from .example import NUMBERS, PLACES, graph
from .graph_picture import graph_picture

GIVEN = ("x1", "x2", "t")  # what is not learned
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
KEPT = 400  # losses in the curve


class LiveGraph:
    """The example of the lesson, one gradient step after the other, and within each the backward pass
    node by node.

    Attributes:
        numbers: inputs, target and weights.
        values: the graph of them, forward and backward done.
        done: results that have passed their gradient on.
        step, losses: gradient steps taken, and the loss before each.
        rate: learning rate.
        stopped: why it cannot go on; empty if it can.
    """

    pace, frame = 1, 0.3

    def __init__(self, given: dict[str, float], rate: float):
        self.lock = threading.RLock()
        self.player: object | None = None
        self.rate = rate
        self.start(given)

    def __deepcopy__(self, memo: dict) -> "LiveGraph":
        """Each page that is opened gets one of its own."""
        return LiveGraph({name: self.numbers[name] for name in GIVEN}, self.rate)

    def start(self, given: dict[str, float]) -> None:
        """The weights of the lesson and these inputs and target."""
        with self.lock:
            self.numbers = NUMBERS | given
            self.step, self.stopped, self.losses = 0, "", []
            self._forward()

    def again(self) -> None:
        self.start({name: self.numbers[name] for name in GIVEN})

    def _forward(self) -> None:
        self.values, self.done = graph(self.numbers), 0
        self.results = sum(bool(value.inputs) for value in self.values["L"].order())
        self.losses.append(self.values["L"].data)
        del self.losses[:-KEPT]

    @property
    def over(self) -> bool:
        return bool(self.stopped)

    def advance(self, steps: int) -> None:
        """Passes one gradient on; after the last, moves the weights against theirs."""
        with self.lock:
            for _ in range(steps):
                if self.stopped:
                    return
                if self.done < self.results:
                    self.done += 1
                else:
                    self.descend()

    def descend(self) -> None:
        """θ ← θ − η ∂L/∂θ for every weight. Weights that would make the loss infinite are not taken."""
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
    except OverflowError:
        return False
    return all(math.isfinite(value.data) and math.isfinite(value.grad) for value in values.values())


def build(folder: RunFolder, model_id: str | None = None) -> gr.Blocks:
    """The page; neither part needs a run."""
    with stage_page(STAGE, folder, model_id) as page, page.always:
        html(
            section(
                "The gradient flows back",
                "Two inputs, two tanh units, one output, squared error. Step: each result hands the gradient that came from "
                "the right (upstream) on to its inputs, times its own derivative (local). After the last one the weights "
                "move.",
            )
        )
        _graph(page)
        html(
            section(
                "Playground",
                "The same with layers, on many points: plain gradient descent on the squared error. Raise the learning rate "
                "step by step: first it is slow, then fast, then it jumps about, and then the loss overflows.",
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

    def changed(found: LiveGraph, *numbers: float) -> str:
        wanted = dict(zip(GIVEN, numbers, strict=True))
        if wanted != {name: found.numbers[name] for name in GIVEN}:
            found.start(wanted)
        return draw(found)

    def paced(found: LiveGraph, place: int) -> tuple[gr.Slider, str]:
        found.rate, found.stopped = RATES[int(place)], ""
        return gr.Slider(label=_label(found.rate)), draw(found)

    def whole_step(found: LiveGraph) -> str:
        found.descend()
        return draw(found)

    gr.on(
        [part.change for part in given], changed, [live, *given], picture, trigger_mode="always_last", **NOW
    )
    power.change(paced, [live, power], [power, picture], trigger_mode="always_last", **NOW)
    whole.click(whole_step, live, picture, trigger_mode="multiple", **NOW)
    transport.connect(live, picture, draw)


def _label(rate: float) -> str:
    return f"Learning rate: {rate:g}"


def draw(live: LiveGraph) -> str:
    """The graph, and the loss over the steps so far."""
    with live.lock:
        loss = live.values["L"].data
        told = f'<p class="lp-stopped" role="alert">{live.stopped}</p>' if live.stopped else ""
        status = (
            f'<p class="lp-status" data-step="{live.step}" data-loss="{loss:.6g}" data-done="{live.done}">'
            f"step {live.step:,} · loss {loss:.4g} · {live.done} of {live.results} gradients passed on</p>"
        )
        drawn = graph_picture(
            live.values,
            PLACES,
            live.done,
            "The graph",
            "in a box its value, under it ∂ the gradient of the loss with respect to it; × on an edge is the local "
            "derivative; amber positive, blue negative",
        )
        steps = range(live.step - len(live.losses) + 1, live.step + 1)
        curve = pictures.line_chart({"loss": (list(steps), live.losses)}, "Loss", "step") if live.step else ""
    return f'<div class="lp lp-live">{status}{told}{drawn}{curve}</div>'


__all__ = ["LiveGraph", "build", "draw"]
