"""The run folder: this is the one module that knows its layout and writes there.

    runs/07-rnn/
      model/  models/NAME/  figures/                the last complete run
      metrics.json  history.jsonl  README.md
      onnx/  quantized/SCHEME/  bench/              made from its model afterwards
      checkpoints/                                  a run that is under way or was stopped
        run.json                                    what is being run
        parts/NAME/                                 one training (`Job`): its checkpoints, then its result
        new/                                        the results so far, moved up when the run is complete

A complete run is replaced only by another complete one. The new files wait in `checkpoints/new` until all of
them are there; then a marker is written, and only then are they moved. If a process is killed during the
move, the marker stays, and whoever opens the folder next finishes the move.
"""

import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import UserError, nearest
from .machine import hardware, peak_memory_mb, versions
from .settings import under_new_names

RESULTS = ("model", "models", "figures", "history.jsonl", "README.md", "metrics.json")
# What every metrics.json has.
REPORTED = (
    "slug", "preset", "seed", "dataset", "metrics", "baselines", "goals", "main", "settings", "seconds",
)  # fmt: skip
_MARKER = "COMPLETE"


@dataclass(frozen=True)
class Goal:
    """A number that a stage promises, checked against the measured metric of that name."""

    name: str
    goal: float
    higher_is_better: bool

    def against(self, metrics: dict[str, Any]) -> dict[str, Any]:
        value = metrics[self.name]
        met = value >= self.goal if self.higher_is_better else value <= self.goal
        return asdict(self) | {"value": value, "met": bool(met)}


def add_mean(metrics: dict[str, Any], name: str, values: list[float]) -> None:
    """Adds the mean over seeds as `name`; with two or more, also the standard deviation as `NAME_sd` and the
    values as `NAME_seeds`.
    """
    metrics[name] = statistics.fmean(values)
    if len(values) > 1:
        metrics |= {f"{name}_sd": statistics.stdev(values), f"{name}_seeds": values}


def write_text(path: Path, text: str) -> None:
    """Writes to a temporary name next to `path`, then renames: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def _replace(source: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    os.replace(source, target)


def _remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _set_aside(checkpoints: Path, progress: "NoProgress") -> bool:
    """Keeps a stopped run that is not resumed, once, next to the new one; returns whether there was one."""
    stopped = (checkpoints / "run.json").exists()
    if stopped:
        _replace(checkpoints, checkpoints.with_name("checkpoints.stopped"))
        progress.say(f"the stopped run was set aside in {checkpoints.with_name('checkpoints.stopped')}")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return stopped


class RunFolder:
    """A run folder to read from. `path` need not exist yet."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._finish_move()

    def _finish_move(self) -> None:
        checkpoints = self.path / "checkpoints"
        new = checkpoints / "new"
        if not (new / _MARKER).exists():
            return
        complete = (new / _MARKER).read_text(encoding="utf-8").split()
        for name in RESULTS:
            if (new / name).exists():
                _replace(new / name, self.path / name)
            elif name not in complete:  # left by an older run
                _remove(self.path / name)
        # From here on, what is left of the folder is no longer a stopped run.
        (checkpoints / "run.json").unlink(missing_ok=True)
        shutil.rmtree(checkpoints)

    @property
    def state(self) -> str:
        """`"complete"`, `"stopped"` (can be resumed; an older complete run may be there too) or `"none"`."""
        if (self.path / "checkpoints" / "run.json").exists():
            return "stopped"
        return "complete" if self.is_complete else "none"

    @property
    def stopped(self) -> dict[str, Any] | None:
        """What was being run when a run stopped here (`slug`, `preset`, `settings`, ...), or None."""
        path = self.path / "checkpoints" / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def is_complete(self) -> bool:
        return (self.path / "metrics.json").exists()

    @property
    def report(self) -> dict[str, Any]:
        """metrics.json: stage, slug, preset, seed, dataset, metrics, baselines, goals, main, seconds, ..."""
        path = self.path / "metrics.json"
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"no complete run in {self.path}; train it with: llmpath run {self.slug}"
            ) from None
        except json.JSONDecodeError as error:
            raise UserError(f"{path} is not readable as JSON ({error}); run the stage again") from None
        missing = [name for name in REPORTED if not isinstance(report, dict) or name not in report]
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}; run the stage again")
        return report

    @property
    def slug_of_report(self) -> str | None:
        """The stage of the complete run; None if there is none or its metrics.json is damaged."""
        try:
            return self.report.get("slug")
        except UserError:
            return None

    @property
    def slug(self) -> str:
        return self.path.name.partition("-")[2] or self.path.name

    @property
    def metrics(self) -> dict[str, Any]:
        return self.report["metrics"]

    @property
    def model_dir(self) -> Path:
        return self.path / "model"

    def model(self, name: str) -> Path:
        """Folder of the model `name` of several."""
        return self.path / "models" / name

    def model_folder(self, name: str | None) -> Path:
        """The folder of the main model, or of the model `name`.

        Raises:
            UserError: there is no model of that name; the line lists the names.
        """
        if name is None:
            return self.model_dir
        names = sorted(path.name for path in (self.path / "models").glob("*") if path.is_dir())
        if name not in names:
            known = f"there are: {', '.join(names)}" if names else "it has only the main one"
            raise UserError(f"{self.path} has no model '{name}'{nearest(name, names)}; {known}")
        return self.model(name)

    @property
    def onnx_dir(self) -> Path:
        """Where `llmpath export` writes. The files carry the hash of the model that they were made from."""
        return self.path / "onnx"

    def quantized(self, scheme: str) -> Path:
        """Where `llmpath quantize` writes the model in `scheme`."""
        return self.path / "quantized" / scheme

    @property
    def bench_dir(self) -> Path:
        """Where `llmpath bench` writes what it measured."""
        return self.path / "bench"

    @property
    def figures(self) -> list[Path]:
        return sorted((self.path / "figures").glob("*.png"))

    def figure_data(self, name: str, earlier: str | None = None) -> Any:
        """What the run saved for the picture `name`, which older versions may have called `earlier`."""
        path = self.path / "figures" / f"{name}.json"
        if earlier and not path.exists():
            path = path.with_stem(earlier)
        return json.loads(path.read_text(encoding="utf-8"))

    @property
    def history(self) -> list[dict[str, Any]]:
        """One entry per logging step: `part`, `step`, `loss`, ..."""
        path = self.path / "history.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


class Job:
    """One training of a run, done once: after a stop, a finished one is read back instead of repeated.

    Attributes:
        folder: where its checkpoints, its history and, in the end, its result lie.
        name: of the training, within its run.
        progress: shows how far it is.
    """

    def __init__(self, folder: Path, name: str, progress: "NoProgress | None" = None):
        self.folder, self.name, self.progress = folder, name, progress or NoProgress()

    @property
    def done(self) -> bool:
        return (self.folder / "result.json").exists()

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.folder / "result.json").read_text(encoding="utf-8"))

    @property
    def model_dir(self) -> Path:
        return self.folder / "model"

    def save_model(self, model: Any, *processors: Any) -> None:
        """Keeps the trained model, with its tokenizer or processor, in `model_dir`."""
        _save_model(self.model_dir, model, *processors)

    def once(self, work: "Callable[[Job], dict[str, Any]]") -> dict[str, Any]:
        """What `work` returns (JSON: numbers, texts, lists), computed once and read back from then on.

        `work` trains in this folder, keeps its model with `save_model`, and may be called again after a
        stop. Its checkpoints are deleted when it has returned.
        """
        if not self.done:
            self.finish(work(self))
        return self.result

    def finish(self, result: dict[str, Any], model: Any = None, tokenizer: Any = None) -> dict[str, Any]:
        """Keeps the result (and the model), drops the checkpoints; returns the result as it will be read."""
        if model is not None:
            self.save_model(model, tokenizer)
        write_json(self.folder / "result.json", result)
        for checkpoint in self.folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        return self.result


def _save_model(folder: Path, model: Any, *processors: Any) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    for processor in processors:
        if processor is not None:
            processor.save_pretrained(temporary)
    _replace(temporary, folder)


class NoProgress:
    """Progress that nobody watches, and the interface of every progress display."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator["NoProgress"]:
        """Entered around one training of `total` steps."""
        yield self

    def update(self, step: int, **values: float) -> None:
        """Called after a step with `loss`, `tokens_per_second`, ..."""

    def say(self, text: str) -> None:
        """Shows a line to the person who is waiting."""


class Run:
    """A run folder to write to. Made by `Run.start`; a stage's `train` gets one.

    Attributes:
        folder: the run folder.
        new: where results wait until the run is complete.
        progress: shows progress (see `NoProgress`).
    """

    def __init__(self, folder: Path, identity: dict[str, Any], progress: NoProgress):
        self.folder, self.identity, self.progress = folder, identity, progress
        self.checkpoints = folder / "checkpoints"
        self.new = self.checkpoints / "new"
        self.jobs: list[Job] = []
        self._report: dict[str, Any] = {}
        self._has_set_aside = False
        self._began = time.perf_counter()
        self._seconds_before = identity.get("seconds", 0.0)

    @classmethod
    def start(
        cls,
        folder: Path,
        identity: dict[str, Any],
        resume: bool = False,
        progress: NoProgress | None = None,
        renamed: Mapping[str, str | tuple[str, ...]] | None = None,
    ) -> "Run":
        """Opens `folder` for the run that `identity` describes (stage, slug, preset, settings, command).

        `renamed` maps earlier names of settings to the current ones: a stopped run may have noted those.

        Raises:
            UserError: `folder` is no folder, cannot be written to, or belongs to another stage; there is
                nothing to resume; or the stopped run had other settings.
        """
        check_writable(folder)
        current = RunFolder(folder)
        slug = current.slug_of_report
        if slug not in (None, identity["slug"]):
            raise UserError(f"{folder} is a run folder of stage '{slug}', not of '{identity['slug']}'")
        set_aside = False
        if resume:
            identity = cls._check_resume(current, identity, renamed or {})
        else:
            set_aside = _set_aside(folder / "checkpoints", progress or NoProgress())
        run = cls(folder, identity, progress or NoProgress())
        run._has_set_aside = set_aside
        shutil.rmtree(run.new, ignore_errors=True)
        run.new.mkdir(parents=True)
        write_json(run.checkpoints / "run.json", identity)
        return run

    @staticmethod
    def _check_resume(
        folder: RunFolder, identity: dict[str, Any], renamed: Mapping[str, str | tuple[str, ...]]
    ) -> dict[str, Any]:
        before = folder.stopped
        if before is None:
            raise UserError(f"nothing to resume in {folder.path}; run without --resume")
        if before["slug"] != identity["slug"]:
            raise UserError(
                f"{folder.path} is a run folder of stage '{before['slug']}', not of '{identity['slug']}'"
            )
        # A stopped run lacks the settings that were added after it.
        settings = {name: value for _, name, value in under_new_names(before["settings"], renamed)}
        for name, value in identity["settings"].items():
            then = settings.get(name)
            if name in settings and json.loads(json.dumps(value)) != then:
                raise UserError(
                    f"--resume needs the settings of the stopped run: {name} was {then}, is {value}"
                )
        return before | {"settings": identity["settings"]}

    def job(self, name: str) -> Job:
        """The training `name` of this run."""
        folder = self.checkpoints / "parts" / name
        folder.mkdir(parents=True, exist_ok=True)
        job = Job(folder, name, self.progress)
        if name not in [known.name for known in self.jobs]:
            self.jobs.append(job)
        return job

    def once(self, name: str, work: Callable[[Job], dict[str, Any]]) -> dict[str, Any]:
        """What the training `name` returns, trained once (see `Job.once`)."""
        return self.job(name).once(work)

    def save_model(self, model: Any, *processors: Any, name: str | None = None) -> Path:
        """Saves the model and its tokenizer or processor into `model/`, or into `models/NAME`."""
        folder = self.new / "model" if name is None else self.new / "models" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        _save_model(folder, model, *processors)
        return folder

    def save_figure_data(self, name: str, data: Any) -> None:
        """Saves what the picture `name` is drawn from (JSON)."""
        write_json(self.new / "figures" / f"{name}.json", data)

    def report(
        self,
        dataset: dict[str, Any],
        metrics: dict[str, Any],
        baselines: dict[str, float],
        goals: list[Goal],
        main: str,
    ) -> None:
        """Takes what the run measured; `main` is a key of `metrics` and of `baselines` if it has one."""
        self._report = {
            "dataset": dataset,
            "metrics": metrics,
            "baselines": baselines,
            "goals": [goal.against(metrics) for goal in goals],
            "main": main,
        }

    @property
    def seconds(self) -> float:
        """Time spent on this run, without the time between stop and resume."""
        return self._seconds_before + time.perf_counter() - self._began

    def pause(self) -> None:
        """Notes the time spent by a run that stops here and can be resumed. If nothing has been trained yet,
        the folder is left as it was, with the run that was stopped there before.
        """
        if not any(self.checkpoints.glob("parts/*/*")):
            shutil.rmtree(self.checkpoints)
            if self._has_set_aside:
                os.replace(self.folder / "checkpoints.stopped", self.checkpoints)
            return
        write_json(self.checkpoints / "run.json", self.identity | {"seconds": self.seconds})

    def write_report(self) -> dict[str, Any]:
        """Writes metrics.json and history.jsonl into the waiting results."""
        identity = self.identity
        report = {
            "stage": identity["stage"],
            "slug": identity["slug"],
            "preset": identity["preset"],
            "seed": identity["settings"]["seed"],
            **self._report,
            "settings": identity["settings"],
            "seconds": round(self.seconds, 2),
            "peak_memory_mb": peak_memory_mb(),
            "versions": versions(),
            "hardware": hardware(),
            "command": identity["command"],
        }
        lines = []
        for job in self.jobs:
            history = job.folder / "history.jsonl"
            if history.exists():
                rows = map(json.loads, history.read_text(encoding="utf-8").splitlines())
                lines += [json.dumps({"part": job.name} | row) for row in rows]
        write_text(self.new / "history.jsonl", "".join(line + "\n" for line in lines))
        write_json(self.new / "metrics.json", report)
        return report

    def write_card(self, text: str) -> None:
        """Writes the model card."""
        write_text(self.new / "README.md", text)

    def commit(self) -> RunFolder:
        """Replaces the last complete run with the results of this one."""
        write_text(self.new / _MARKER, "\n".join(name for name in RESULTS if (self.new / name).exists()))
        return RunFolder(self.folder)


def check_writable(folder: Path) -> None:
    """Creates `folder` and checks that it can be written to.

    Raises:
        UserError: it (or a folder above it) is a file, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink(missing_ok=True)  # another process may probe at the same time
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{folder} cannot be a folder: a file is in the way; choose another --output-dir"
        ) from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --output-dir") from None
