"""What a stage of the path is: a folder with a `STAGE` and the modules that do its work."""

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
        name: the field's term for it.
        implementation: dotted path of a class or function of this package.
    """

    name: str
    implementation: str


@dataclass(frozen=True)
class Stage:
    """A stage of the path. Its code is loaded only when it is needed: listing the path costs nothing.

    Attributes:
        number: position on the path, 1 to 17.
        slug: short name for the command line.
        title: name for people.
        phase: the phase that it belongs to.
        summary: one sentence about what the learner sees.
        model_type: type of the trained model, a key of the model table.
        auto_class: the Auto class that loads `model/`.
        main: the metric that `llmpath list` shows, a key of `metrics`.
        concepts: what the stage teaches.
        settings: dataclass of the stage's settings.
        package: dotted name of the stage's package. It has `train.train(settings, run)`,
            `charts.draw(run_folder) -> list of paths`, `demo.build(run_folder) -> gradio.Blocks` and
            `lesson.md`.
        prompt: a text that its model can read, for the code that shows how to use it; by default a
            beginning that it can continue.
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
        """Name of the run folder and of the Space: `07-rnn`."""
        return f"{self.number:02d}-{self.slug}"

    @property
    def source(self) -> Path:
        """The folder of the stage's code."""
        return Path(__file__).parent / self.package.rpartition(".")[2]

    @property
    def lesson(self) -> str:
        return (self.source / "lesson.md").read_text(encoding="utf-8")

    def module(self, name: str) -> ModuleType:
        """The stage's module `train`, `charts` or `demo`."""
        return importlib.import_module(f"{self.package}.{name}")

    def train(self, settings: Settings, run: Any) -> None:
        self.module("train").train(settings, run)

    def draw(self, folder: Any) -> list[Path]:
        return self.module("charts").draw(folder)

    def demo(self, folder: Any) -> Any:
        return self.module("demo").build(folder)
