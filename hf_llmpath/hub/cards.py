"""Writes model cards: fills the templates in `model_cards/` with the measurements of a run.

Every number on a card comes from metrics.json, config.json, or the header of the weight file. None is typed
by hand.
"""

import json
import re
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..charts.wording import measured, number, target
from ..data.sources import EMBEDDED
from ..runs import RunFolder
from . import resource
from .model_folder import load_snippet, parameter_count, read_json

if TYPE_CHECKING:
    from ..stages.stage import Stage

TASKS = {  # head of a model class -> pipeline tag of the Hub
    "CausalLM": "text-generation",
    "ConditionalGeneration": "summarization",
    "ImageClassification": "image-classification",
    "MaskedLM": "fill-mask",
    "QuestionAnswering": "question-answering",
    "SequenceClassification": "text-classification",
    "TimeSeriesPrediction": "time-series-forecasting",
    "TokenClassification": "token-classification",
}
_AUTO_HEADS = {"ConditionalGeneration": "Seq2SeqLM"}  # heads whose Auto class has another name
PROMPTS = ("The ", "the ", "a")
HUB_IDS = {"tiny_shakespeare": "karpathy/tiny_shakespeare"}  # corpora that a run recognizes by their content
# Defaults for entries that a metrics.json may lack.
_OPTIONAL: dict[str, Any] = {"baselines": {}, "goals": [], "settings": {}, "versions": {}}
_OPTIONAL["peak_memory_mb"] = None


def render(stage: "Stage", folder: Path, model_id: str | None = None) -> str:
    """Returns the card of the run in `folder`: Markdown with metadata, ready to be its README.md.

    Args:
        stage: the stage; its template is `model_cards/NN-slug.md`.
        folder: a folder with `metrics.json`, `model/` and, if the run has them, `models/` and `figures/`.
        model_id: the repository from which the snippets load the model; the local model folder by default.

    Raises:
        UserError: the folder has no metrics.json, or a model folder in it cannot be read.
    """
    folder = Path(folder)
    report = _OPTIONAL | RunFolder(folder).report
    others = [SavedModel.read(path) for path in sorted((folder / "models").glob("*")) if path.is_dir()]
    model = SavedModel.read(folder / "model")
    templates = resource("model_cards")
    text = (templates / "base.md").read_text(encoding="utf-8")
    base = jinja2.Template(text, trim_blocks=True, lstrip_blocks=True)
    card = ModelCard.from_template(
        _metadata(stage, report, model, others),
        template_str=(templates / f"{stage.folder_name}.md").read_text(encoding="utf-8"),
        base=base,
        stage=stage,
        model=model,
        others=others,
        model_id=model_id,
        run_path=_final_folder(folder).as_posix(),
        prompt=stage.prompt or _prompt(folder / "model"),
        rows=metric_rows(report["metrics"], report["baselines"]),
        measured=list(dict.fromkeys(map(_plain_name, report["metrics"]))),
        figures=sorted(path.name for path in (folder / "figures").glob("*.png")),
        figure_data={path.stem: json.loads(path.read_text()) for path in (folder / "figures").glob("*.json")},
        shown=number,
        target=target,
        **{name: report[name] for name in report if name not in ("stage", "slug")},
    )
    # Sections of the template that stay empty leave blank lines behind.
    return re.sub(r"\n{3,}", "\n\n", str(card).rstrip()) + "\n"


@dataclass(frozen=True)
class SavedModel:
    """A model folder, as the card describes it.

    Attributes:
        name: name of the folder.
        config: content of config.json.
        parameters: number of weights in the safetensors header.
    """

    name: str
    config: dict[str, Any]
    parameters: int

    @classmethod
    def read(cls, path: Path) -> "SavedModel":
        return cls(path.name, read_json(path / "config.json"), parameter_count(path))

    @property
    def architecture(self) -> str:
        return (self.config.get("architectures") or [""])[0]

    @property
    def head(self) -> str:
        """The head of the architecture, such as `CausalLM` for `LLMPathRNNForCausalLM`."""
        return self.architecture.rpartition("For")[2]

    @property
    def auto_class(self) -> str:
        """The Auto class that loads the model."""
        if "For" not in self.architecture:
            return "AutoModel"
        return f"AutoModelFor{_AUTO_HEADS.get(self.head, self.head)}"

    def snippet(self, source: str, prompt: str = "", trust: bool = False) -> str:
        """Returns a script that loads the model from `source` and uses it."""
        return load_snippet(self.auto_class, source, self.config, prompt, trust).rstrip()

    def differences(self, other: "SavedModel", names: list[str]) -> str:
        """Lists those of the named entries of config.json whose values differ from the ones of `other`."""
        shown = [n for n in names if n in self.config and self.config[n] != other.config.get(n)]
        return ", ".join(f"{name} {number(self.config[name])}" for name in shown)


def metric_rows(metrics: dict[str, Any], baselines: dict[str, float]) -> list[tuple[str, str, str]]:
    """Returns `(name, value, baseline)` for each row of the table; a standard deviation joins its mean."""
    return [
        (name, measured(metrics, name), number(baselines[name]) if name in baselines else "")
        for name, value in metrics.items()
        if isinstance(value, Real) and not (name.endswith("_sd") and name[:-3] in metrics)
    ]


def eval_results(report: dict[str, Any], model: SavedModel, others: list[SavedModel]) -> list[EvalResult]:
    """Returns one entry of the card's metadata per number in `metrics`, under the same name.

    `lstm/validation_loss` belongs to the model `lstm`. A prefix that names no model (`adding/...`) stands for
    a separate task. The values of the single seeds accompany their mean.
    """
    by_name = {other.name: other for other in others}
    results = []
    for name, value in report["metrics"].items():
        if not isinstance(value, Real):
            continue
        prefix = name.partition("/")[0] if "/" in name else None
        about = by_name.get(prefix, model) if prefix else model
        task = TASKS.get(about.head, "other") if prefix is None or prefix in by_name else "other"
        # A prefix with another task, such as "adding", also names the data of that task.
        other_data = prefix is not None and task != TASKS.get(model.head)
        dataset = prefix if other_data else report["dataset"]["name"]
        short = dataset if dataset.count("/") < 2 else Path(dataset).name
        seeds = report["metrics"].get(f"{name}_seeds")
        results.append(
            EvalResult(
                task_type=task,
                dataset_type=re.sub(r"[^\w./-]+", "-", short),  # an identifier, without spaces
                dataset_name=dataset,
                dataset_split=None if other_data else "validation",
                metric_type=name.rpartition("/")[2],
                metric_name=name,
                metric_value=value,
                metric_args={"seeds": seeds} if seeds else None,
            )
        )
    return results


def _metadata(
    stage: "Stage", report: dict[str, Any], model: SavedModel, others: list[SavedModel]
) -> ModelCardData:
    dataset = report["dataset"]
    on_hub = _hub_dataset(dataset)
    english = dataset["name"].startswith("world/") or dataset["name"] in ("tiny_shakespeare", "names")
    cell = model.config.get("cell")
    tags = ["hf-llmpath", "from-scratch", "education", stage.model_type, stage.slug]
    return ModelCardData(
        language="en" if english else None,
        license="apache-2.0",
        library_name="hf-llmpath",
        tags=tags + [cell] * (cell is not None),
        pipeline_tag=TASKS.get(model.head),
        datasets=[on_hub] if on_hub else None,
        model_name=f"llmpath-{stage.folder_name}",
        eval_results=eval_results(report, model, others),
    )


def _hub_dataset(dataset: dict[str, Any]) -> str | None:
    """Returns the id of the data set on the Hub, or None for an embedded set or a local file."""
    source = dataset.get("source", dataset["name"])
    if dataset["name"] in HUB_IDS:
        return HUB_IDS[dataset["name"]]
    if dataset.get("embedded") or source in EMBEDDED or Path(source).expanduser().exists():
        return None
    name = source.partition(":")[0]  # without the configuration that may follow the id
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def _plain_name(name: str) -> str:
    """Shortens the name of a metric to its kind.

    `lstm/validation_loss_sd` becomes `validation_loss`, `gradient_norm_lag_63` becomes `gradient_norm_lag_N`.
    """
    last = name.rpartition("/")[2].removesuffix("_sd").removesuffix("_seeds")
    return re.sub(r"_\d+$", "_N", last)


def _prompt(model: Path) -> str:
    """Returns a prompt for the snippets that the model's tokenizer can encode, or an empty one."""
    file = model / "tokenizer.json"
    vocabulary = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"] if file.exists() else {}
    return next((text for text in PROMPTS if all(character in vocabulary for character in text)), "")


def _final_folder(folder: Path) -> Path:
    """Returns the path that `folder` will have when the run is complete."""
    waiting = folder.name == "new" and folder.parent.name == "checkpoints"
    return folder.parent.parent if waiting else folder
