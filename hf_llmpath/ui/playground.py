"""Defines the playground: points in the plane, and a small network whose training can be played and paused.

    with page.always:
        playground(page, Design(shape="xor"), rate=0.3)

The NumPy engine trains the network in the process that serves the page, one network for each open page. The
playground needs no trained run.
"""

from typing import Any

import gradio as gr

from ..data.points import SHAPES
from ..scratch.network import ACTIVATIONS
from .live_network import OPTIMIZERS, Design, LiveNetwork
from .network_picture import network_picture
from .page import Page, html
from .play import NOW, Transport

SPEEDS = (1, 5, 20, 100)  # steps from one picture to the next
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def playground(page: Page, design: Design, rate: float, speed: int = 5) -> None:
    """Puts a playground on the page.

    Args:
        page: the page.
        design: the initial design; the visitor can change everything except `squared`.
        rate: initial learning rate, one of `RATES`.
        speed: initial number of steps from one picture to the next, one of `SPEEDS`.
    """
    slug = page.stage.slug
    first = LiveNetwork(design, rate, speed)
    live = gr.State(first)
    with gr.Row(elem_classes="lp-playground"):
        with gr.Column(scale=3, min_width=300):
            transport = Transport(slug)
            picture = html(network_picture(first), elem_id="playground")
        with gr.Column(scale=1, min_width=250, elem_classes="lp-panel"):
            shape = gr.Radio(SHAPES, value=design.shape, label="Points")
            layers = gr.Slider(0, 4, value=design.layers, step=1, label="Hidden layers")
            units = gr.Slider(1, 8, value=design.units, step=1, label="Units in each")
            activation = gr.Dropdown(list(ACTIVATIONS), value=design.activation, label="Activation")
            optimizer = gr.Dropdown(list(OPTIMIZERS), value=design.optimizer, label="Optimizer")
            # The slider moves over the indices of RATES, because a slider has no logarithmic scale.
            power = gr.Slider(
                0,
                len(RATES) - 1,
                value=RATES.index(rate),
                step=1,
                label=_rate_label(rate),
                elem_id=f"{slug}-rate",
                elem_classes="lp-named",
            )
            noise = gr.Slider(0, 0.5, value=design.noise, step=0.05, label="Noise on the points")
            seed = gr.Number(
                design.seed, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id=f"{slug}-seed"
            )
            pace = gr.Dropdown(SPEEDS, value=speed, label="Steps from picture to picture")
    designing = [shape, noise, seed, layers, units, activation, optimizer]
    page.remember(points=shape, layers=layers, units=units, activation=activation, noise=noise, seed=seed)
    page.remember(optimizer=optimizer, rate=power)

    def designed(
        shape: str, noise: float, seed: int | None, layers: int, units: int, activation: str, optimizer: str
    ) -> Design:
        return Design(shape, noise, seed or 0, int(layers), int(units), activation, optimizer, design.squared)

    def changed(network: LiveNetwork, *values: Any) -> str:
        """Starts a new network if the design has changed. It plays if the old network was playing."""
        wanted = designed(*values)
        if wanted != network.design:
            network.rebuild(wanted)
        return gr.skip() if network.player else network_picture(network)

    def paced(network: LiveNetwork, power: int, pace: int) -> tuple[gr.Slider, str]:
        """Changes rate and pace; a network that is playing takes them over at once."""
        network.pace = int(pace)
        network.set_rate(RATES[int(power)])
        picture = gr.skip() if network.player else network_picture(network)
        return gr.Slider(label=_rate_label(network.rate)), picture

    gr.on(
        [control.change for control in designing],  # type: ignore[attr-defined]
        changed,
        [live, *designing],
        picture,
        trigger_mode="always_last",
        **NOW,
    )
    gr.on(
        [power.change, pace.change],
        paced,
        [live, power, pace],
        [power, picture],
        trigger_mode="always_last",
        **NOW,
    )
    transport.connect(live, picture, network_picture)


def _rate_label(rate: float) -> str:
    return f"Learning rate: {rate:g}"
