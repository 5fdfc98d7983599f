"""Play, pause, step and reset, for whatever changes step by step on a page."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import gradio as gr

FRAME = 0.05  # seconds from picture to picture, where there is no reason for more
LONGEST_PLAY = 600  # seconds, after which it pauses by itself: somebody may have left
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
NOW = QUIET | {"queue": False}  # answered at once, also while something plays


class Playable(Protocol):
    """What can be played.

    Attributes:
        step: steps taken.
        pace, frame: steps and seconds from picture to picture.
        player: who moves it on just now, or nobody; who is no longer the player stops.
        over: whether it cannot go on.
    """

    step: int
    pace: int
    frame: float
    player: object | None

    @property
    def over(self) -> bool: ...

    def advance(self, steps: int) -> None: ...

    def again(self) -> None:
        """Back to the start."""


class Transport:
    """The three buttons in a `row`. Put them on the page first, connect them when the picture is there."""

    def __init__(self, slug: str):
        with gr.Row(elem_classes="lp-buttons") as self.row:
            self.play = gr.Button("Play", variant="primary", min_width=100, elem_id=f"{slug}-play")
            self.step = gr.Button("Step", min_width=70)
            self.reset = gr.Button("Reset", min_width=70)

    def connect(self, live: gr.State, picture: gr.HTML, draw: Callable[[Any], str]) -> None:
        """`live` holds what is played, one for each open page; `draw` makes its picture."""

        def one_step(found: Playable) -> str:
            if not found.player:
                found.advance(1)
            return draw(found)

        def again(found: Playable) -> str:
            found.player = None
            found.again()
            return draw(found)

        def run(found: Playable) -> Iterator[tuple[Any, Any]]:
            yield from played(found, draw)

        several = QUIET | {"trigger_mode": "multiple"}  # the second click pauses what the first one started
        self.play.click(run, live, [self.play, picture], concurrency_limit=16, **several)
        self.step.click(one_step, live, picture, queue=False, **several)
        self.reset.click(again, live, picture, **NOW)


def played(live: Playable, draw: Callable[[Any], str]) -> Iterator[tuple[Any, Any]]:
    """Plays until it is over, or pauses what plays: states of the button and pictures."""
    if live.player:
        live.player = None
        yield gr.skip(), gr.skip()
        return
    me = live.player = object()
    yield gr.Button("Pause"), gr.skip()
    last = time.perf_counter() + LONGEST_PLAY
    try:
        while live.player is me and not live.over and time.perf_counter() < last:
            due = time.perf_counter() + live.frame
            live.advance(live.pace)
            yield gr.skip(), draw(live)
            time.sleep(max(0.0, due - time.perf_counter()))
    finally:  # also when the page is closed
        if live.player is me:
            live.player = None
    yield gr.Button("Play"), draw(live)
