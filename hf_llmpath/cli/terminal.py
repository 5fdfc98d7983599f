"""Defines the look of the command line: progress on stderr, tables on stdout, one line per error.

This module loads only rich and the standard library, so `llmpath --help` and `llmpath list` answer at once.
"""

import json
import shlex
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..charts.wording import duration
from ..runs import NoProgress

RUNS = Path("runs")  # parent of the run folders, unless --output-dir names another folder

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_REDRAW = 0.1  # seconds from one drawing of the progress bar to the next


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=1))


def print_error(message: object, error: BaseException | None = None) -> None:
    """Prints one line on stderr, below the traceback of `error` if it is given."""
    if error is not None:
        err.print(Text("".join(traceback.format_exception(error))), soft_wrap=True, style="dim")
    line = " ".join(str(message).split())
    err.print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def note(text: str, style: str = "dim") -> None:
    """Prints a remark on stderr."""
    err.print(text, style=style, soft_wrap=True, markup=False)


def command_line(*words: str, output_dir: Path = RUNS) -> str:
    """Returns an `llmpath` command that can be pasted into a shell."""
    folder = [] if output_dir == RUNS else ["--output-dir", str(output_dir)]
    return shlex.join(["llmpath", *words, *folder])


def heading(text: str, console: Console = out) -> None:
    console.print(Text(text, style="bold"), soft_wrap=True)


def print_lines(lines: Iterable[Text]) -> None:
    for line in lines:
        out.print(line, soft_wrap=True)


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Prints names in one column and next to them their values, each on one line, even if it is long."""
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        out.print(Text.assemble((f"{name:<{width}}", "dim"), value), soft_wrap=True)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = (), **options: Any
) -> Table:
    """Returns a table with a rule under its header; `right` lists the columns that are aligned right."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", **options)
    for index, name in enumerate(columns):
        result.add_column(name, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        result.add_row(*row)
    return result


def size(count: float) -> str:
    """Formats a number of bytes with its unit."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


class Pace:
    """Measures how far a training is, how fast it runs, and how long it will still take.

    A resumed training starts at a later step, so its speed counts only the steps of this process.
    """

    def __init__(self, name: str, total: int):
        self.name, self.total, self.step = name, total, 0
        self.values: dict[str, float] = {}
        self._began = time.monotonic()
        self._first: tuple[int, float] | None = None

    def update(self, step: int, values: dict[str, float]) -> None:
        self.step = step
        self.values.update(values)
        if self._first is None:  # the clock starts after the first step, which is often slower
            self._first = step, time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def seconds_left(self) -> float | None:
        if self._first is None or self.step == self._first[0]:
            return None
        first, then = self._first
        return (time.monotonic() - then) / (self.step - first) * (self.total - self.step)

    @property
    def measured(self) -> list[str]:
        """Loss and speed as text."""
        words = []
        if "loss" in self.values:
            loss = self.values["loss"]
            words.append(f"loss {loss:.3f}" if abs(loss) < 1e4 else f"loss {loss:.2e}")
        if "tokens_per_second" in self.values:
            words.append(f"{self.values['tokens_per_second'] / 1000:,.0f}k tokens/s")
        return words

    @property
    def left(self) -> str:
        return "" if self.seconds_left is None else f"{duration(self.seconds_left)} left"

    def summary(self) -> str:
        return ", ".join([f"{self.step:,} steps", *self.measured, duration(self.seconds)])


class LineProgress(NoProgress):
    """A progress display for a file or a pipe, where nothing can be redrawn: prints a line now and then."""

    def __init__(self, interval: float = 10.0):
        self.interval = interval  # seconds
        self._pace: Pace | None = None
        self._last = time.monotonic()

    @contextmanager
    def task(self, name: str, total: int) -> Iterator["LineProgress"]:
        self._pace, self._last = Pace(name, total), time.monotonic()
        yield self
        self.say(f"{name}: {self._pace.summary()}")

    def update(self, step: int, **values: float) -> None:
        pace = self._pace
        if pace is None:
            return
        pace.update(step, values)
        if time.monotonic() - self._last >= self.interval:
            self._last = time.monotonic()
            words = [f"step {step:,} of {pace.total:,}", *pace.measured, pace.left]
            self.say(f"{pace.name}: {', '.join(filter(None, words))}")

    def say(self, text: str) -> None:
        err.print(Text(f"  {text}", style="dim"), soft_wrap=True)

    def close(self) -> None:
        """Ends the display."""


class BarProgress(LineProgress):
    """A progress display for a terminal: a bar during a training, a line after it, a spinner in between."""

    def __init__(self) -> None:
        super().__init__()
        self._live: Live | None = None
        self._redrawn = 0.0
        self._between = err.status(Text("working", style="dim"), spinner_style="cyan")
        self._between.start()

    @contextmanager
    def task(self, name: str, total: int) -> Iterator["BarProgress"]:
        self._between.stop()  # rich shows one live display at a time
        self._pace = Pace(name, total)
        with Live(self._bar(), console=err, transient=True, auto_refresh=False) as self._live:
            yield self
        err.print(
            Text.assemble(("  ✓ ", "green"), f"{name:<14} ", (self._pace.summary(), "dim")), soft_wrap=True
        )
        self._between.start()

    def update(self, step: int, **values: float) -> None:
        self._pace.update(step, values)
        if time.monotonic() - self._redrawn >= _REDRAW or step == self._pace.total:
            self._redrawn = time.monotonic()
            self._live.update(self._bar(), refresh=True)

    def _bar(self) -> Table:
        pace = self._pace
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        bar = ProgressBar(pace.total, pace.step)
        words = [Text(text, style="dim") for text in (*pace.measured, pace.left) if text]
        cells = [f"  {pace.name}", bar, f"{pace.step:,}/{pace.total:,}", *words]
        for cell in cells:
            grid.add_column(no_wrap=True, ratio=1 if cell is bar else None)
        grid.add_row(*cells)
        return grid

    def close(self) -> None:
        self._between.stop()


def progress() -> LineProgress:
    """Returns the progress display that suits stderr."""
    return BarProgress() if err.is_terminal and not err.is_dumb_terminal else LineProgress()
