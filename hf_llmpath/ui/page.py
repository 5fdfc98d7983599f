"""Defines the layout that the pages of all stages share.

    with stage_page(STAGE, folder) as page:
        prompt = gr.Textbox(...)
        page.examples(prompt, ["Once", "Anna said"])
        page.remember(prompt=prompt)
        page.on_ready(show, [prompt], [picture])
    return page.blocks

A page consists, from top to bottom, of the header; the controls that need no run (`with page.always:`); the
offer to train, if there is no run; the controls of the stage; and numbers, figures, lesson, code, and the
snippet that loads the model. The run folder is read whenever the page is opened and when a training ends, so
the same process also shows a run that appears later.
"""

import base64
import importlib
import inspect
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from html import escape
from pathlib import Path
from typing import Any, ClassVar, Protocol

import gradio as gr

from ..charts.wording import duration, measured, number, target, words
from ..errors import UserError
from ..hub.model_folder import snippet_of_run
from ..runs import RunFolder
from ..stages.stage import Concept, Stage
from . import pictures
from .pictures import Markup

_WATCH_INTERVAL = 0.5  # seconds between two pictures of a training
_STATES = {"complete": "trained", "stopped": "stopped, can be continued", "none": "not trained yet"}


class PageTraining(Protocol):
    """A training of a stage in this process, as a page sees it.

    Attributes:
        slug: slug of the stage.
        running: whether the training is under way.
        stopped: whether it was stopped before its end.
        error: one line that says why the training failed; empty if it did not.
    """

    slug: str
    error: str
    stopped: bool

    @property
    def running(self) -> bool: ...

    def picture(self) -> str: ...

    def stop(self) -> None: ...


class PageTrainer(Protocol):
    """The interface of the object that trains stages for pages. The app provides it."""

    def start(self, stage: Stage, folder: RunFolder, resume: bool = False) -> PageTraining: ...

    def current(self) -> PageTraining | None: ...


def html(value: str = "", **options: Any) -> gr.HTML:
    """Returns a component for our own markup, free of Gradio's text styles."""
    return gr.HTML(value, apply_default_css=False, js_on_load=None, **options)


class Page:
    """The page of a stage, as the stage's `demo.build` sees it.

    Attributes:
        stage, folder: the stage and its run folder.
        model_id: the repository on the Hub that the run comes from, or None for a local run.
        blocks: the Gradio page.
        always: column that is visible with and without a run; `with page.always:` fills it.
        trainer: object that trains a stage from its page; the app sets it for all pages.
    """

    always: gr.Column
    trainer: ClassVar[PageTrainer | None] = None

    def __init__(self, stage: Stage, folder: RunFolder, model_id: str | None):
        self.stage, self.folder, self.model_id = stage, folder, model_id
        self._complete_at_first = folder.is_complete
        self.blocks = gr.Blocks(title=f"{stage.title} · hf_llmpath", analytics_enabled=False)
        self._set_up: list[tuple[Callable, Sequence[Any], Sequence[Any]]] = []
        self._ready: list[tuple[Callable, Sequence[Any], Sequence[Any]]] = []
        self._remembered: dict[str, Any] = {}

    def examples(self, target: Any, texts: Sequence[str], label: str = "Examples") -> None:
        """Adds buttons that put a text into `target`; this happens in the browser, without the server."""
        with gr.Row(elem_classes="lp-chips"):
            html(f'<span class="lp lp-note">{label}</span>', min_width=0)
            for text in texts:
                button = gr.Button(text if len(text) <= 36 else text[:35].rstrip() + "…", size="sm")
                button.click(None, None, target, js=f"() => {json.dumps(text)}", api_visibility="private")

    def set_up(self, function: Callable, outputs: Sequence[Any]) -> None:
        """Calls `function` once the page has a run, before the address is read and before any `on_ready`.

        It is meant for the choices and limits of controls that depend on the run, and for pictures that never
        change.
        """
        self._set_up.append((function, [], list(outputs)))

    def on_ready(self, function: Callable, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Calls `function` when a page with a run is opened, and when a training on the page has ended."""
        self._ready.append((function, list(inputs), list(outputs)))

    def on_change(
        self, triggers: Sequence[Any], function: Callable, inputs: Sequence[Any], outputs: Sequence[Any]
    ) -> None:
        """Calls `function` when a trigger changes (the last change wins) and when the page is ready."""
        # Readiness is one more trigger of the same event. With `always_last`, an event runs one call at a
        # time, so no outdated answer arrives after a newer one.
        times_ready = gr.State(0)
        gr.on(
            [component.change for component in (*triggers, times_ready)],
            self._if_trained(function, outputs),
            list(inputs),
            list(outputs),
            trigger_mode="always_last",
            show_progress="hidden",
            concurrency_limit=4,
            api_name=function.__name__,
        )
        self.on_ready(lambda times: times + 1, [times_ready], [times_ready])

    def remember(self, **components: Any) -> None:
        """Keeps the values of these components in the address of the page: `?prompt=Once&seed=3`."""
        self._remembered.update(components)

    def writer(
        self,
        function: Callable,
        inputs: Sequence[Any],
        outputs: Callable[[], Sequence[Any]],
        label: str = "Write",
    ) -> None:
        """Adds a button that streams the values of a generator to the page, and a button that stops it.

        Args:
            function: the generator; it takes the values of `inputs` and yields values for the outputs.
            inputs: the controls.
            outputs: function that adds the output components below the buttons and returns them.
            label: text of the first button.
        """
        with gr.Row(elem_classes="lp-buttons"):
            write = gr.Button(label, variant="primary", min_width=120)
            stop = gr.Button("Stop", interactive=False, min_width=80)
        filled = list(outputs())
        toggle = lambda busy: (gr.Button(interactive=not busy), gr.Button(interactive=busy))  # noqa: E731
        quiet = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
        # The buttons change in events of their own: a canceled stream could not switch them back.
        begun = write.click(lambda: toggle(True), None, [write, stop], **quiet)
        streaming = {"show_progress": "hidden", "concurrency_limit": 4, "api_name": function.__name__}
        writing = begun.then(telling_stream(function), list(inputs), filled, **streaming)
        writing.then(lambda: toggle(False), None, [write, stop], **quiet)
        stop.click(lambda: toggle(False), None, [write, stop], cancels=[writing], **quiet)

    # `stage_page` calls the methods below.

    def _training_offer(self) -> tuple[Any, ...]:
        with gr.Column(visible=not self._complete_at_first, elem_classes="lp-trainbox") as offer:
            text = html(_offer())
            with gr.Row(elem_classes="lp-buttons"):
                train = gr.Button("Train it here", variant="primary", min_width=150)
                resume = gr.Button(
                    "Continue the stopped run", visible=self.folder.state == "stopped", min_width=150
                )
                stop = gr.Button("Stop", interactive=False, min_width=80)
            live = html(elem_id=f"{self.stage.slug}-training")
        return offer, text, train, resume, stop, live

    def _watch(self, resume: bool) -> Iterator[list[Any]]:
        """Starts a training and yields updates of text, train, resume, stop, and live until it ends."""
        try:
            if self.trainer is None:
                raise UserError(f"this page cannot train; use: llmpath run {self.stage.slug}")
            training = self.trainer.start(self.stage, self.folder, resume)
        except UserError as error:
            yield [_offer(str(error)), *[gr.skip()] * 4]
            return
        yield from self._follow(training)

    def _current_training(self) -> PageTraining | None:
        training = self.trainer.current() if self.trainer is not None else None
        return training if training is not None and training.slug == self.stage.slug else None

    def _rejoin(self) -> Iterator[list[Any]]:
        if (training := self._current_training()) is not None:
            yield from self._follow(training)
        else:
            yield [gr.skip()] * 5

    def _follow(self, training: PageTraining) -> Iterator[list[Any]]:
        off, on = gr.Button(interactive=False), gr.Button(interactive=True)
        yield [_offer(), off, off, on, training.picture()]
        while training.running:
            time.sleep(_WATCH_INTERVAL)
            yield [*[gr.skip()] * 4, training.picture()]
        resume = gr.Button(interactive=True, visible=RunFolder(self.folder.path).state == "stopped")
        yield [_offer(training.error), on, resume, off, training.picture() if training.stopped else ""]

    def _stop_training(self) -> gr.Button:
        if (training := self._current_training()) is not None:
            training.stop()
        return gr.Button(interactive=False)

    def _close(self, offer: tuple[Any, ...], demo: gr.Column, head: gr.HTML) -> None:
        column, text, train, resume, stop, live = offer
        numbers = self._accordions()

        def refresh() -> list[Any]:
            folder = RunFolder(self.folder.path)
            complete = folder.is_complete
            # Only changes are sent, because an update may undo what the visitor is typing.
            unchanged = complete == self._complete_at_first
            return [
                _header(self.stage, folder, self.model_id),
                gr.skip() if unchanged else gr.Column(visible=not complete),
                gr.skip() if unchanged else gr.Column(visible=complete),
                _numbers(folder),
                gr.Button(visible=folder.state == "stopped"),
            ]

        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        shown = [head, column, demo, numbers, resume]
        watched = [text, train, resume, stop, live]
        if self._remembered:
            self._read_address(self.blocks.load, list(self._remembered))
        # The order matters: a training under way comes first, then the page shows its run, then `set_up`
        # gives the controls their choices, and only then does `on_ready` use the values of the controls.
        opened = self.blocks.load(self._rejoin, None, watched, concurrency_limit=None, **quiet)
        opened = self._then(self._set_up, opened.then(refresh, None, shown, **quiet), quiet)
        # `set_up` may have reset these controls, so they are read from the address a second time.
        changed = {output._id for _, _, outputs in self._set_up for output in outputs}
        if again := [name for name, control in self._remembered.items() if control._id in changed]:
            opened = self._read_address(opened.then, again)
        self._then(self._ready, opened, quiet)
        for button, continues in ((train, False), (resume, True)):
            event = button.click(
                partial(self._watch, continues), None, watched, concurrency_limit=None, **quiet
            )
            self._then(self._set_up + self._ready, event.then(refresh, None, shown, **quiet), quiet)
        stop.click(self._stop_training, None, stop, **quiet)
        self._write_address()

    def _then(self, calls: Sequence[tuple], event: Any, quiet: dict[str, Any]) -> Any:
        for function, inputs, outputs in calls:
            event = event.then(self._if_trained(function, outputs), inputs, outputs, **quiet)
        return event

    def _if_trained(self, function: Callable, outputs: Sequence[Any]) -> Callable:
        def call(*values: Any) -> Any:
            if RunFolder(self.folder.path).is_complete:
                return telling(function)(*values)
            return gr.skip() if len(outputs) == 1 else [gr.skip()] * len(outputs)

        return call

    def _read_address(self, event: Callable, names: Sequence[str]) -> Any:
        """Sets the controls `names` from the address with which the page was opened.

        The script runs in the browser, at once. An answer from the server could arrive when the visitor is
        already typing, and would undo that.
        """
        controls = [self._remembered[name] for name in names]
        script = _READ_ADDRESS % json.dumps([_expected(name, self._remembered[name]) for name in names])
        return event(None, controls, controls, js=script, api_visibility="private")

    def _write_address(self) -> None:
        names, controls = list(self._remembered), list(self._remembered.values())
        script = _WRITE_ADDRESS % json.dumps(names)
        for control in controls:
            control.change(None, controls, None, js=script, api_visibility="private")

    def _accordions(self) -> gr.HTML:
        with gr.Accordion("Numbers of the run", open=True):
            numbers = html(_numbers(self.folder))
        with gr.Accordion("Pictures of the run", open=False) as figures:
            gallery = html()
        draw = lambda: _figures(RunFolder(self.folder.path))  # noqa: E731
        figures.expand(draw, None, gallery, show_progress="hidden", api_visibility="private")
        with gr.Accordion("Lesson", open=False):
            gr.Markdown(_lesson(self.stage))
        with gr.Accordion("Show the code", open=False):
            for concept in self.stage.concepts:
                with gr.Accordion(concept.name, open=False):
                    gr.Markdown(source_of(concept))
        with gr.Accordion("Load this model", open=False):
            gr.Markdown(f"```python\n{snippet_of_run(self.stage, self.folder, self.model_id)}```")
        return numbers


def _offer(problem: str = "") -> str:
    trouble = f'<p><span class="lp-pill bad">did not work</span> {escape(problem)}</p>' if problem else ""
    return (
        '<div class="lp lp-section"><h2 style="margin-top:0">No trained model here yet</h2>'
        "<p>Train the quick preset on this machine: a minute or two on two CPU cores, no download. "
        f"Its numbers and pictures appear when it is done.</p>{trouble}</div>"
    )


def telling(function: Callable) -> Callable:
    """Wraps a function so that the page shows the one line of a `UserError`."""

    @wraps(function)
    def call(*values: Any) -> Any:
        try:
            return function(*values)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return call


def telling_stream(function: Callable) -> Callable:
    """Wraps a generator so that the page shows the one line of a `UserError`."""

    @wraps(function)
    def call(*values: Any) -> Iterator[Any]:
        try:
            yield from function(*values)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return call


# Replaces the values that the address names, provided that they are valid for their controls. The address of
# the moment of opening is kept, because later changes of the controls rewrite the current one.
_READ_ADDRESS = """(...values) => {
  window.openedWith ??= new URLSearchParams(location.search);
  const read = %s.map(({name, low, high, choices}, i) => {
    const text = window.openedWith.get(name);
    if (text === null || (choices && !choices.includes(text))) return values[i];
    if (low === undefined) return text;
    const number = Number(text);
    return text.trim() && number >= low && number <= high ? number : values[i];
  });
  return read.length === 1 ? read[0] : read;
}"""
_WRITE_ADDRESS = """(...values) => {
  const address = new URL(location.href);
  %s.forEach((name, i) => address.searchParams.set(name, values[i] ?? ''));
  history.replaceState(null, '', address);
}"""


def _expected(name: str, control: Any) -> dict[str, Any]:
    """Describes which values a control takes: numbers from `low` to `high`, one of `choices`, or any text."""
    if isinstance(control, gr.Slider | gr.Number):
        return {"name": name, "low": control.minimum, "high": control.maximum}
    if isinstance(control, gr.Radio | gr.Dropdown):
        return {"name": name, "choices": [value for _, value in control.choices]}
    return {"name": name}


@contextmanager
def stage_page(stage: Stage, folder: RunFolder, model_id: str | None = None) -> Iterator[Page]:
    """Builds the page of a stage; the body of the `with` statement fills its middle."""
    page = Page(stage, folder, model_id)
    with page.blocks:
        head = html(_header(stage, folder, model_id))
        page.always = gr.Column()
        offer = page._training_offer()
        with gr.Column(visible=page._complete_at_first) as demo:
            yield page
        if not page.always.children:
            page.always.unrender()
        page._close(offer, demo, head)


# What a page shows of a stage and its run


def section(title: str, text: str = "") -> str:
    """Returns a heading with a sentence under it."""
    body = f"<p>{escape(text)}</p>" if text else ""
    return f'<div class="lp lp-section"><h2>{escape(title)}</h2>{body}</div>'


def main_number(folder: RunFolder) -> tuple[str, float, float | None] | None:
    """Returns name, value, and baseline of the run's main number, or None if no run is complete."""
    if not folder.is_complete:
        return None
    report = folder.report
    name = report["main"]
    return name, report["metrics"][name], report["baselines"].get(name)


def _header(stage: Stage, folder: RunFolder, model_id: str | None = None) -> str:
    """Returns the header: phase, number, title, and summary; the state of the run; its main number."""
    facts = [("run", pill(folder))]
    if (main := main_number(folder)) is not None:
        name, value, baseline = main
        compared = f" <small>baseline {number(baseline)}</small>" if baseline is not None else ""
        facts.append((words(name), Markup(number(value) + compared)))
        report = folder.report
        facts.append(("trained in", Markup(duration(report["seconds"]))))
        facts.append(("preset", Markup(escape(str(report["preset"])))))
    if model_id:
        facts.append(("model", Markup(escape(model_id))))
    cells = "".join(
        f'<div class="lp-fact"><dt>{escape(name)}</dt><dd>{value}</dd></div>' for name, value in facts
    )
    phase = f"{escape(stage.phase)} · stage {stage.number}"
    return (
        f'<header class="lp lp-header"><div class="lp-phase">{phase}</div>'
        f'<h1>{escape(stage.title)}</h1><p class="lp-summary">{escape(stage.summary)}</p>'
        f'<dl class="lp-facts">{cells}</dl></header>'
    )


def pill(folder: RunFolder) -> Markup:
    """Returns a small label with the state of a run."""
    # A complete run counts as trained even if a later run was stopped in the same folder.
    state = folder.state
    tone = " good" if folder.is_complete else ""
    text = _STATES["complete" if folder.is_complete and state == "stopped" else state]
    return Markup(f'<span class="lp-pill{tone}">{text}</span>')


def _numbers(folder: RunFolder) -> str:
    """Returns the goals, then every measured number with its baseline, then the origin of the numbers."""
    if not folder.is_complete:
        return '<p class="lp lp-empty">The numbers appear when the stage has been trained.</p>'
    report = folder.report
    metrics, baselines = report["metrics"], report["baselines"]
    goals = ""
    if report["goals"]:
        rows = [_goal_row(goal) for goal in report["goals"]]
        goals = section("Goals") + pictures.table(
            ["what", "measured", "goal", ""], rows, "Goals of this stage"
        )
    rows = []
    for name, value in metrics.items():
        if not name.endswith(("_sd", "_seeds")) and not isinstance(value, list | dict):
            baseline = number(baselines[name]) if name in baselines else "·"
            rows.append([words(name), measured(metrics, name), baseline])
    rows += [[words(name), "·", number(value)] for name, value in baselines.items() if name not in metrics]
    table = pictures.table(["metric", "model", "baseline"], rows, "Measured numbers")
    return goals + section("Measured") + table + _provenance(report)


def _goal_row(goal: dict[str, Any]) -> list[str]:
    tone, verdict = ("good", "met") if goal["met"] else ("bad", "missed")
    mark = Markup(f'<span class="lp-pill {tone}">{verdict}</span>')
    return [words(goal["name"]), number(goal["value"]), target(goal), mark]


def compared(metrics: dict[str, Any], models: dict[str, str], caption: str, prefix: str = "") -> str:
    """Returns a table of the metrics named `PREFIX/MODEL/METRIC`: a row per metric, a column per model.

    Args:
        metrics: name -> measured value.
        models: name of a model in the metrics -> name to show.
        caption: caption of the table; the text before a colon heads the first column.
        prefix: beginning of the names that the table shows, with its slash.
    """
    values = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    keys = [key for key in models if any(name.startswith(key + "/") for name in values)]
    rows = []
    for metric in dict.fromkeys(name.partition("/")[2] for name in values if name.partition("/")[0] in keys):
        if not metric.endswith(("_sd", "_seeds")):
            names = [f"{key}/{metric}" for key in keys]
            rows.append([words(metric), *(measured(values, n) if n in values else "·" for n in names)])
    title, _, _ = caption.partition(":")
    return pictures.table([title, *(models[key] for key in keys)], rows, caption)


def _provenance(report: dict[str, Any]) -> str:
    line = (
        f"Data {report['dataset'].get('name', '')}, preset {report['preset']}, seed {report['seed']}; "
        f"{duration(report['seconds'])} on {report['hardware']}, {report['peak_memory_mb']:,.0f} MB."
    )
    return (
        f'<p class="lp lp-note" style="margin-top:12px">{escape(line)} Reproduce with:</p>'
        f'<p class="lp lp-source">{escape(report["command"])}</p>'
    )


def _figures(folder: RunFolder) -> str:
    """Returns the pictures of the run, as its card shows them."""
    shown = ""
    for path in folder.figures:
        name, data = escape(words(path.stem)), base64.b64encode(path.read_bytes()).decode()
        shown += (
            f'<figure class="lp lp-figure"><figcaption>{name}</figcaption>'
            f'<img src="data:image/png;base64,{data}" alt="Picture of the run: {name}"></figure>'
        )
    if not shown:
        return '<p class="lp lp-empty">This run drew no pictures.</p>'
    return f'<div class="lp lp-gallery">{shown}</div>'


def _lesson(stage: Stage) -> str:
    """Returns the stage's lesson without its title, which the page already shows."""
    text = stage.lesson
    return text.partition("\n")[2].lstrip() if text.startswith("# ") else text


def resolve(path: str) -> Any:
    """Returns the object at the dotted path `package.module.Class.attribute`.

    Raises:
        ModuleNotFoundError: no beginning of the path is a module.
    """
    # The longest beginning that can be imported is the module; the remaining names are attributes.
    names = path.split(".")
    for end in range(len(names), 0, -1):
        module = ".".join(names[:end])
        try:
            item = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or ""):  # the module exists, but lacks a dependency
                raise
            continue
        for name in names[end:]:
            item = getattr(item, name)
        return item
    raise ModuleNotFoundError(f"no module in '{path}'")


def source_of(concept: Concept) -> str:
    """Returns the path and line where a concept is implemented, and its code, as Markdown."""
    item = inspect.unwrap(resolve(concept.implementation))
    lines, first = inspect.getsourcelines(item)
    package = inspect.getmodule(item).__name__.partition(".")[0]
    root = Path(importlib.import_module(package).__file__).parents[1]
    path = Path(inspect.getsourcefile(item)).relative_to(root).as_posix()
    code = inspect.cleandoc("".join(lines)) if lines[0].startswith(" ") else "".join(lines)
    return f"`{path}:{max(first, 1)}`\n\n```python\n{code.rstrip()}\n```"
