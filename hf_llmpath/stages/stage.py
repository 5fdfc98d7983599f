"""Describes a stage of the path: a package with a `STAGE` and the modules that do its work."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..settings import Settings


@dataclass(frozen=True)
class Concept:
    """A key concept of a stage and the object that implements it.

    Attributes:
        name: the field's term for the concept.
        implementation: the dotted path of a class or function in this package.
    """

    name: str
    implementation: str


@dataclass(frozen=True)
class Stage:
    """A stage of the path. Its code is loaded only when it is needed, so listing the path is cheap.

    Attributes:
        number: the position on the path, 1 to 17.
        slug: the short name used on the command line.
        title: the name shown to people.
        phase: the phase of the path to which the stage belongs.
        summary: one sentence about what the learner sees.
        model_type: the type of the trained model, a key of the model table.
        auto_class: the Auto class that loads `model/`.
        main: the metric that `llmpath list` shows, a key of `metrics`.
        concepts: the concepts that the stage teaches.
        settings: the dataclass of the stage's settings.
        package: the dotted name of the stage's package. It has `train.train(settings, run)`,
            `charts.draw(run_folder) -> list of paths`, `demo.build(run_folder) -> gradio.Blocks`, and
            `lesson.md`.
        prompt: a text that the model can read, for the code that shows how to use it; if None, the beginning
            of a text that the model can continue.
    """

    number: int
    slug: str
    title: str
    phase: str
    summary: str
    model_type: str
    auto_class: str
    main: str
    concepts: tuple[Concept, ...]
    settings: type[Settings]
    package: str
    prompt: str | None = None

    @property
    def folder_name(self) -> str:
        """The name of the run folder and of the Space, such as `07-rnn`."""
        return f"{self.number:02d}-{self.slug}"

    @property
    def source(self) -> Path:
        """The folder of the stage's code."""
        return Path(__file__).parent / self.package.rpartition(".")[2]

    @property
    def lesson(self) -> str:
        return (self.source / "lesson.md").read_text(encoding="utf-8")

    def module(self, name: str) -> ModuleType:
        """Imports and returns the stage's module `train`, `charts`, or `demo`."""
        return importlib.import_module(f"{self.package}.{name}")

    def train(self, settings: Settings, run: Any) -> None:
        self.module("train").train(settings, run)

    def draw(self, folder: Any) -> list[Path]:
        return self.module("charts").draw(folder)

    def demo(self, folder: Any) -> Any:
        return self.module("demo").build(folder)
