"""Reads and writes run folders; no other module knows their layout or writes there.

    runs/07-rnn/
      model/  models/NAME/  figures/                the last complete run
      metrics.json  history.jsonl  README.md
      onnx/  quantized/SCHEME/  bench/              made from its model afterwards
      checkpoints/                                  a run that is under way or was stopped
        run.json                                    what is being run
        parts/NAME/                                 one training (`Job`): its checkpoints, then its result
        new/                                        the results so far, moved up when the run is complete

A complete run is replaced only by another complete run. The new files wait in `checkpoints/new` until all of
them are there; then a marker is written, and only then are the files moved. If a process is killed during the
move, the marker stays, and the next process that opens the folder finishes the move.
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
# Entries that every metrics.json must have.
REPORTED = (
    "slug", "preset", "seed", "dataset", "metrics", "baselines", "goals", "main", "settings", "seconds",
)  # fmt: skip
_MARKER = "COMPLETE"


@dataclass(frozen=True)
class Goal:
    """A number that a stage promises, to be compared with the measured metric of the same name.

    Attributes:
        name: name of the metric.
        goal: the limit.
        higher_is_better: whether the metric must be at least, or else at most, the limit.
    """

    name: str
    goal: float
    higher_is_better: bool

    def against(self, metrics: dict[str, Any]) -> dict[str, Any]:
        value = metrics[self.name]
        met = value >= self.goal if self.higher_is_better else value <= self.goal
        return asdict(self) | {"value": value, "met": bool(met)}


def add_mean(metrics: dict[str, Any], name: str, values: list[float]) -> None:
    """Adds the mean of the values of several seeds to the metrics, under `name`.

    With two or more values, it also adds the sample standard deviation as `NAME_sd` and the values as
    `NAME_seeds`.
    """
    metrics[name] = statistics.fmean(values)
    if len(values) > 1:
        metrics |= {f"{name}_sd": statistics.stdev(values), f"{name}_seeds": values}


def write_text(path: Path, text: str) -> None:
    """Writes under a temporary name and then renames, so readers see either the old file or the new one."""
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
    """Moves a stopped run that is not resumed to `checkpoints.stopped`; returns whether there was one.

    Only one stopped run is kept: it replaces an earlier one in the same place.
    """
    stopped = (checkpoints / "run.json").exists()
    if stopped:
        _replace(checkpoints, checkpoints.with_name("checkpoints.stopped"))
        progress.say(f"the stopped run was set aside in {checkpoints.with_name('checkpoints.stopped')}")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return stopped


class RunFolder:
    """A run folder for reading; it need not exist yet. Opening it finishes a move that was interrupted."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._finish_move()

    def _finish_move(self) -> None:
        checkpoints = self.path / "checkpoints"
        new = checkpoints / "new"
        if not (new / _MARKER).exists():
            return
        # The marker lists the results of the run, because some may have been moved before the process died.
        complete = (new / _MARKER).read_text(encoding="utf-8").split()
        for name in RESULTS:
            if (new / name).exists():
                _replace(new / name, self.path / name)
            elif name not in complete:  # a result of an older run that the new run does not have
                _remove(self.path / name)
        # Deleted first: without run.json, a half-deleted folder does not count as a stopped run.
        (checkpoints / "run.json").unlink(missing_ok=True)
        shutil.rmtree(checkpoints)

    @property
    def state(self) -> str:
        """`"complete"`, `"none"`, or `"stopped"` (resumable; an older complete run may be there as well)."""
        if (self.path / "checkpoints" / "run.json").exists():
            return "stopped"
        return "complete" if self.is_complete else "none"

    @property
    def stopped(self) -> dict[str, Any] | None:
        """The identity of the run that was stopped here (`slug`, `preset`, `settings`, ...), or None."""
        path = self.path / "checkpoints" / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @property
    def is_complete(self) -> bool:
        return (self.path / "metrics.json").exists()

    @property
    def report(self) -> dict[str, Any]:
        """The content of metrics.json: stage, slug, preset, seed, dataset, metrics, baselines, goals, ...

        Raises:
            UserError: the folder has no complete run, or its metrics.json is damaged.
        """
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
        """The slug of the complete run's stage; None without such a run or if its metrics.json is damaged."""
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
        """Returns the folder of the further model `name`."""
        return self.path / "models" / name

    def model_folder(self, name: str | None) -> Path:
        """Returns the folder of the main model, or of the further model `name`.

        Raises:
            UserError: the run has no model of that name; the message lists the names.
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
        """The folder of `llmpath export`. Its files carry the hash of the model that they were made from."""
        return self.path / "onnx"

    def quantized(self, scheme: str) -> Path:
        """Returns the folder into which `llmpath quantize` writes the model in `scheme`."""
        return self.path / "quantized" / scheme

    @property
    def bench_dir(self) -> Path:
        """The folder into which `llmpath bench` writes its measurements."""
        return self.path / "bench"

    @property
    def figures(self) -> list[Path]:
        return sorted((self.path / "figures").glob("*.png"))

    def figure_data(self, name: str, earlier: str | None = None) -> Any:
        """Returns the data that the run saved for the picture `name`, or under its `earlier` name.

        Raises:
            FileNotFoundError: the run saved no such data.
        """
        path = self.path / "figures" / f"{name}.json"
        if earlier and not path.exists():
            path = path.with_stem(earlier)
        return json.loads(path.read_text(encoding="utf-8"))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The entries of history.jsonl, one per logged step: `part`, `step`, `loss`, ..."""
        path = self.path / "history.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


class Job:
    """One training of a run. It is done once: a resumed run reads the result of a finished training back.

    Attributes:
        folder: folder of the checkpoints, the history, and in the end the result.
        name: name of the training within its run.
        progress: display that shows how far the training is.
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
        """Saves the trained model, with its tokenizer or processor, in `model_dir`."""
        _save_model(self.model_dir, model, *processors)

    def once(self, work: "Callable[[Job], dict[str, Any]]") -> dict[str, Any]:
        """Returns the result of `work` (JSON: numbers, texts, lists), computed once and then read back.

        `work` trains in this folder and saves its model with `save_model`. After a stop it is called again.
        Its checkpoints are deleted once it has returned.
        """
        if not self.done:
            self.finish(work(self))
        return self.result

    def finish(self, result: dict[str, Any], model: Any = None, tokenizer: Any = None) -> dict[str, Any]:
        """Saves the result (and the model) and deletes the checkpoints; returns the result as read back."""
        if model is not None:
            self.save_model(model, tokenizer)
        write_json(self.folder / "result.json", result)  # last, because it marks the training as done
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
    """A progress display that shows nothing, and the interface of every progress display."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator["NoProgress"]:
        """Surrounds one training of `total` steps."""
        yield self

    def update(self, step: int, **values: float) -> None:
        """Receives the values of a step: `loss`, `tokens_per_second`, ..."""

    def say(self, text: str) -> None:
        """Shows a line to the person who is waiting."""


class Run:
    """A run folder for writing. `Run.start` makes it, and the `train` function of a stage receives it.

    Attributes:
        folder: the run folder.
        identity: what is being run: stage, slug, preset, settings, command.
        new: folder in which the results wait until the run is complete.
        progress: progress display (see `NoProgress`).
        jobs: the trainings of the run so far.
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
        """Opens a run folder for a new run, or to resume the run that was stopped there.

        Args:
            folder: the run folder; it is created if need be.
            identity: what is to be run: stage, slug, preset, settings, command.
            resume: whether to continue the stopped run.
            progress: progress display; none by default.
            renamed: earlier name of a setting -> its current name or names, for a run that an older version
                began.

        Raises:
            UserError: `folder` is a file, cannot be written to, or belongs to another stage; there is
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
        # Results are written anew; only the trainings in parts/ are continued.
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
        # A run that an older version began lacks the settings that were added since; those are not compared.
        settings = {name: value for _, name, value in under_new_names(before["settings"], renamed)}
        for name, value in identity["settings"].items():
            then = settings.get(name)
            # A round trip through JSON turns tuples into lists, as in the stored settings.
            if name in settings and json.loads(json.dumps(value)) != then:
                raise UserError(
                    f"--resume needs the settings of the stopped run: {name} was {then}, is {value}"
                )
        return before | {"settings": identity["settings"]}

    def job(self, name: str) -> Job:
        """Returns the training `name` of this run, and creates its folder."""
        folder = self.checkpoints / "parts" / name
        folder.mkdir(parents=True, exist_ok=True)
        job = Job(folder, name, self.progress)
        if name not in [known.name for known in self.jobs]:
            self.jobs.append(job)
        return job

    def once(self, name: str, work: Callable[[Job], dict[str, Any]]) -> dict[str, Any]:
        """Returns the result of the training `name`, which is trained once (see `Job.once`)."""
        return self.job(name).once(work)

    def save_model(self, model: Any, *processors: Any, name: str | None = None) -> Path:
        """Saves the model and its tokenizer or processor in `model/` or `models/NAME`; returns the folder."""
        folder = self.new / "model" if name is None else self.new / "models" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        _save_model(folder, model, *processors)
        return folder

    def save_figure_data(self, name: str, data: Any) -> None:
        """Saves the data from which the picture `name` is drawn, as JSON."""
        write_json(self.new / "figures" / f"{name}.json", data)

    def report(
        self,
        dataset: dict[str, Any],
        metrics: dict[str, Any],
        baselines: dict[str, float],
        goals: list[Goal],
        main: str,
    ) -> None:
        """Keeps the measurements of the run for `write_report`.

        Args:
            dataset: name and properties of the data.
            metrics: name -> measured value.
            baselines: name of a metric -> value to compare it with.
            goals: limits that the metrics should meet.
            main: the key of `metrics` (and of `baselines`, if it has one) that stands for the whole run.
        """
        self._report = {
            "dataset": dataset,
            "metrics": metrics,
            "baselines": baselines,
            "goals": [goal.against(metrics) for goal in goals],
            "main": main,
        }

    @property
    def seconds(self) -> float:
        """Seconds spent on this run, without the time between stop and resume."""
        return self._seconds_before + time.perf_counter() - self._began

    def pause(self) -> None:
        """Records the time spent by a run that stops here and can be resumed.

        If nothing has been trained yet, the folder is restored, with the run that had been stopped there.
        """
        if not any(self.checkpoints.glob("parts/*/*")):
            shutil.rmtree(self.checkpoints)
            if self._has_set_aside:
                os.replace(self.folder / "checkpoints.stopped", self.checkpoints)
            return
        write_json(self.checkpoints / "run.json", self.identity | {"seconds": self.seconds})

    def write_report(self) -> dict[str, Any]:
        """Writes metrics.json and history.jsonl to the waiting results, and returns the report."""
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
        """Replaces the last complete run with the results of this run."""
        # The marker makes the results final; opening the folder then moves them.
        write_text(self.new / _MARKER, "\n".join(name for name in RESULTS if (self.new / name).exists()))
        return RunFolder(self.folder)


def check_writable(folder: Path) -> None:
    """Creates `folder` and checks that it can be written to.

    Raises:
        UserError: the path or a folder above it is a file, or nothing can be written there.
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
