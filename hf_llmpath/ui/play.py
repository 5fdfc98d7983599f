"""Adds play, pause, step, and reset to anything on a page that changes step by step."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import gradio as gr

FRAME = 0.05  # seconds from picture to picture
CHART_FRAME = 0.25  # seconds from chart to chart: drawing one takes longer than a frame
LONGEST_PLAY = 600  # seconds after which playing pauses, because the visitor may have left
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
NOW = QUIET | {"queue": False}  # without the queue, an event is answered at once, also during playing


class Playable(Protocol):
    """The interface of an object that can be played.

    Attributes:
        step: number of steps taken.
        pace, frame: steps and seconds from one picture to the next.
        player: token of the event that advances the object at the moment, or None. An event whose token was
            replaced stops.
        over: whether no further step is possible.
    """

    step: int
    pace: int
    frame: float
    player: object | None

    @property
    def over(self) -> bool: ...

    def advance(self, steps: int) -> None: ...

    def again(self) -> None:
        """Returns to the start."""


class Transport:
    """The buttons Play, Step, and Reset in a `row`; a page adds them first and connects them later."""

    def __init__(self, slug: str):
        with gr.Row(elem_classes="lp-buttons") as self.row:
            self.play = gr.Button("Play", variant="primary", min_width=100, elem_id=f"{slug}-play")
            self.step = gr.Button("Step", min_width=70)
            self.reset = gr.Button("Reset", min_width=70)

    def connect(self, live: gr.State, picture: gr.HTML, draw: Callable[[Any], str]) -> None:
        """Connects the buttons.

        Args:
            live: state that holds a `Playable`, one for each open page.
            picture: component that shows the picture.
            draw: function that draws a `Playable`.
        """

        def one_step(playable: Playable) -> str:
            if not playable.player:  # while it plays, it already takes steps
                playable.advance(1)
            return draw(playable)

        def again(playable: Playable) -> str:
            playable.player = None
            playable.again()
            return draw(playable)

        def run(playable: Playable) -> Iterator[tuple[Any, Any]]:
            yield from played(playable, draw)

        several = QUIET | {"trigger_mode": "multiple"}  # a second click on Play must arrive, to pause
        self.play.click(run, live, [self.play, picture], concurrency_limit=16, **several)
        self.step.click(one_step, live, picture, queue=False, **several)
        self.reset.click(again, live, picture, **NOW)


def played(live: Playable, draw: Callable[[Any], str]) -> Iterator[tuple[Any, Any]]:
    """Plays an object until it is over, or pauses it if it is playing; yields Play buttons and pictures."""
    if live.player:
        live.player = None
        yield gr.skip(), gr.skip()
        return
    me = live.player = object()  # a token that no other event can have
    yield gr.Button("Pause"), gr.skip()
    last = time.perf_counter() + LONGEST_PLAY
    try:
        while live.player is me and not live.over and time.perf_counter() < last:
            due = time.perf_counter() + live.frame
            live.advance(live.pace)
            yield gr.skip(), draw(live)
            time.sleep(max(0.0, due - time.perf_counter()))
    finally:  # also when the page is closed, which ends this generator
        if live.player is me:
            live.player = None
    yield gr.Button("Play"), draw(live)


class SlowChart:
    """A chart in a live picture that is redrawn only a few times per second while the picture plays."""

    def __init__(self) -> None:
        self._html, self._due = "", 0.0

    def html(self, live: Playable, draw: Callable[[], Any]) -> str:
        """Returns `draw().html()`, or the previous chart if it is recent."""
        if not live.player or time.perf_counter() >= self._due:
            self._html = draw().html(small=True)
            self._due = time.perf_counter() + CHART_FRAME
        return self._html
