"""Trains stages from their pages: one at a time in this process, resumable, watched by any number of pages.

The training belongs to the process and not to the page that started it, so a page that is reloaded shows it
again. The app hands this module to the pages as their `trainer`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

from ..charts.plots import line_chart
from ..charts.wording import duration, words
from ..errors import UserError
from ..runs import NoProgress, RunFolder
from ..stages import runner
from ..stages.stage import Stage

_POINTS = 160  # points of a curve on a page, about


class LiveTraining(NoProgress):
    """A training of the quick preset in a thread of its own, and the progress that it has reported so far.

    Attributes:
        slug: slug of the stage that is trained.
        error: one line that says why the training failed; empty if it did not.
        running: whether the training is under way.
        stopped: whether it was stopped before its end.
    """

    def __init__(self, stage: Stage, folder: Path, resume: bool = False):
        self.stage, self.slug, self.folder, self.resume = stage, stage.slug, folder, resume
        self.error, self.stopped = "", False
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._task, self._total, self._step, self._task_began = "", 0, 0, 0.0
        self._speed: float | None = None
        self._line = "Getting ready"
        self._curves: dict[str, list[tuple[int, float]]] = {}
        self._thread = threading.Thread(target=self._run, name=f"training {self.slug}", daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> "LiveTraining":
        self._thread.start()
        return self

    def join(self) -> None:
        """Waits until the training ends."""
        self._thread.join()

    def stop(self) -> None:
        """Asks the training to end after its current step; the run can be resumed."""
        self._stop.set()

    def _run(self) -> None:
        try:
            runner.run_stage(
                self.stage, preset="quick", output_dir=self.folder.parent, resume=self.resume, progress=self
            )
        except KeyboardInterrupt:  # from `update` or `say`, after `stop`
            self.stopped = True
        except UserError as error:
            self.error = str(error)
        except Exception as error:
            self.error = f"training failed: {type(error).__name__}: {error}"
            # The page shows one line; the traceback goes to stderr, where the server's operator looks.
            details = (type(error), error, error.__traceback__, self._thread)
            threading.excepthook(threading.ExceptHookArgs(details))

    @contextmanager
    def task(self, name: str, total: int) -> Iterator["LiveTraining"]:
        with self._lock:
            self._task, self._total, self._step, self._task_began = name, total, 0, time.monotonic()
        yield self

    def update(self, step: int, **values: float) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt  # a stop works like Ctrl-C, for which every training is prepared
        with self._lock:
            self._step = step
            self._speed = values.get("tokens_per_second", self._speed)
            if "loss" in values:
                curve = self._curves.setdefault(self._task or "loss", [])
                if not curve or curve[-1][1] != values["loss"]:  # logged every few steps, repeated in between
                    curve.append((step, float(values["loss"])))

    def say(self, text: str) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        with self._lock:
            self._line = text

    def picture(self) -> str:
        """Returns the progress bar, the time left, and the loss so far, as HTML."""
        with self._lock:
            task, total, step, line, speed = self._task, self._total, self._step, self._line, self._speed
            curves = {name: _thinned(points) for name, points in self._curves.items()}
            seconds = time.monotonic() - self._task_began
        facts = [f"{duration(time.monotonic() - self._began)} so far"]
        if step and total:
            facts.append(f"step {step:,} of {total:,}")
            facts.append(f"{duration(seconds * (total - step) / step)} left of this part")
        if speed:
            facts.append(f"{speed:,.0f} tokens per second")
        name = words(task) or line
        label = f"Progress of {escape(name)}"
        bar = f'<progress max="{max(total, 1)}" value="{step}" aria-label="{label}"></progress>'
        series = {words(key): tuple(zip(*points, strict=True)) for key, points in curves.items() if points}
        chart = line_chart(series, "Training loss", "step").html(small=True) if series else ""
        return (
            f'<div class="lp lp-progress"><p><strong>{escape(name)}</strong><br><span class="lp-note">'
            f"{escape(' · '.join(facts))}</span></p>{bar}{chart}</div>"
        )


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    stride = max(1, len(points) // _POINTS)
    return points[::stride] + points[-1:]  # the newest point must not be thinned out


_current: LiveTraining | None = None
_one_at_a_time = threading.Lock()


def current() -> LiveTraining | None:
    """Returns the training that is under way in this process, or None."""
    return _current if _current is not None and _current.running else None


def start(stage: Stage, folder: RunFolder, resume: bool = False) -> LiveTraining:
    """Starts the quick preset of `stage`, or returns its training if that is already under way.

    Raises:
        UserError: another stage is being trained.
    """
    global _current
    with _one_at_a_time:
        under_way = current()
        if under_way is None:
            _current = LiveTraining(stage, folder.path, resume).start()
            return _current
    if under_way.slug == stage.slug:
        return under_way
    raise UserError(
        f"{under_way.stage.title} is being trained; wait for it to finish, or stop it on its page"
    )
