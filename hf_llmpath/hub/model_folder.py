"""Checks model folders before anything reads or sends them, loads them, and shows the code that loads them.

Every model of this package is loaded here, and a folder that is not a complete safetensors model never
reaches `from_pretrained`.
"""

import json
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import UserError

if TYPE_CHECKING:
    from ..runs import RunFolder
    from ..stages.stage import Stage

WEIGHTS = "model.safetensors"
INDEX = WEIGHTS + ".index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")  # a bare pickle; the zip archive that torch.save writes


# Checking


def check_model_folder(path: Path | str) -> None:
    """Checks that a model can be loaded from `path` and that no pickle would be read.

    Raises:
        UserError: `path` is not a folder; config.json is missing or unreadable; or weights are missing,
            truncated, or pickled.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(
            f"no model folder {path}; train a stage first, or name a folder that save_pretrained wrote"
        )
    if not path.is_dir():
        raise UserError(f"{path} is a file; name the folder that save_pretrained wrote")
    read_json(path / "config.json")
    for file in weight_files(path):
        _shapes(file)


def parameter_count(path: Path | str) -> int:
    """Returns the number of weights in the model folder `path`, read from the headers of its weight files.

    Raises:
        UserError: weights are missing, truncated, or pickled.
    """
    return sum(prod(shape) for file in weight_files(Path(path)) for shape in _shapes(file).values())


def weight_files(path: Path) -> list[Path]:
    """Returns the weight files of a model folder: one, or all that the index of a sharded model lists.

    Raises:
        UserError: a file is missing, or the folder has only pickled weights.
    """
    sharded = (path / INDEX).exists()
    names = sorted(set(read_json(path / INDEX)["weight_map"].values())) if sharded else [WEIGHTS]
    for name in names:
        if not (path / name).is_file():
            pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLED)
            if pickles:
                raise UserError(
                    f"{path} has only pickled weights ({', '.join(pickles)}), which can run code when they "
                    f"are read; save them again as {WEIGHTS} with model.save_pretrained"
                )
            raise UserError(f"{path} has no {name}; its weights are missing: save or train the model again")
    return [path / name for name in names]


def read_json(path: Path) -> dict:
    """Returns the content of a JSON file in a model folder.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} has no {path.name}; name a folder that save_pretrained wrote"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable as JSON ({error})") from None


def _shapes(file: Path) -> dict[str, list[int]]:
    """Returns name -> shape of every tensor in a weight file, without reading the tensors.

    Raises:
        UserError: the file is a pickle, truncated, or damaged. (safetensors compares the header with the size
            of the file.)
    """
    from safetensors import SafetensorError, safe_open

    with file.open("rb") as stream:
        start = stream.read(8)
    # A safetensors file begins with the size of its header, 8 bytes in little-endian order. Only a size
    # beyond the end of the file proves a pickle, because a valid file may happen to begin like one.
    if start.startswith(_PICKLE_STARTS) and int.from_bytes(start, "little") > file.stat().st_size:
        raise UserError(
            f"{file} is a pickle under another name and is not read; save the model with save_pretrained"
        )
    try:
        with safe_open(file, framework="numpy") as tensors:
            return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        size = f"{file.stat().st_size:,} bytes"
        raise UserError(
            f"{file} ({size}) is truncated or damaged ({error}); save or train the model again"
        ) from None


# Loading


def load_model(auto_class: str, folder: Path | str, **options: Any) -> Any:
    """Loads the model in `folder`, in evaluation mode.

    Args:
        auto_class: name of the Auto class that loads the model.
        options: arguments of `from_pretrained`.

    Raises:
        UserError: `check_model_folder` refuses the folder, or the sizes of the weights differ from
            config.json.
    """
    import transformers

    check_model_folder(folder)
    try:
        return getattr(transformers, auto_class).from_pretrained(folder, **options).eval()
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):  # transformers' advice where sizes differ
            raise
        raise UserError(
            f"{folder}: the weights do not have the sizes in config.json; save or train the model again"
        ) from None


def load_pair(auto_class: str, folder: Path | str) -> tuple[Any, Any]:
    """Loads the model in `folder`, in evaluation mode, and its tokenizer.

    Raises:
        UserError: `load_model` raises it, or the tokenizer is missing or belongs to another model.
    """
    import transformers

    folder = Path(folder)
    model = load_model(auto_class, folder)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError):
        raise UserError(
            f"{folder} has no tokenizer; copy the one that was saved with the model into it"
        ) from None
    require_fitting(tokenizer, model.config, f"the model in {folder.name}/")
    return model, tokenizer


def require_fitting(tokenizer: Any, config: Any, where: str = "this model") -> None:
    """Checks that the model can have been trained with `tokenizer`.

    Raises:
        UserError: the tokenizer belongs to another model: the number of tokens differs from the number of
            embeddings, or special tokens have different ids.
    """
    advice = "it is the tokenizer of another model; use the one that was saved with the model"
    if len(tokenizer) != config.vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer):,} tokens and {where} {config.vocab_size:,}: {advice}"
        )
    for name in ("pad_token_id", "mask_token_id"):
        expected, actual = getattr(config, name, None), getattr(tokenizer, name, None)
        if expected is not None and expected != actual:
            raise UserError(f"{name} is {actual} in the tokenizer and {expected} in {where}: {advice}")


Loaded = TypeVar("Loaded")
# `from_pretrained` changes the state of the whole process while it runs. If two calls run at once, a model
# may end with weights that were never filled in; and pages load models in several threads.
_ONE_AT_A_TIME = threading.Lock()


def loaded(make: Callable[..., Loaded], folder: Path, *arguments: str) -> Loaded:
    """Returns `make(*arguments, folder)`, and calls it again only after a file in `folder` has changed.

    Raises:
        UserError: a weight file is missing, truncated, or a pickle, or `make` raises it.
    """
    from transformers.utils import logging

    check_model_folder(folder)
    changed = max(path.stat().st_mtime_ns for path in folder.iterdir())
    with _ONE_AT_A_TIME:
        logging.disable_progress_bar()  # a model of a megabyte loads at once
        return _make(make, folder, arguments, changed)


@lru_cache(maxsize=24)  # `changed` is part of the key: a newer file misses the cache
def _make(make: Callable[..., Loaded], folder: Path, arguments: tuple[str, ...], changed: int) -> Loaded:
    return make(*arguments, folder)


# The code that loads a model


_TOKENIZER = 'tokenizer = AutoTokenizer.from_pretrained("{source}"{trust})\n'
_MODEL = 'model = {auto_class}.from_pretrained("{source}"{trust})\n'
_WRITE = (
    "from transformers import {auto_class}, AutoTokenizer\n\n"
    + _TOKENIZER
    + _MODEL
    + """inputs = tokenizer("{prompt}", return_tensors="pt")
output = model.generate(**inputs, {generation})
print(tokenizer.decode(output[0], skip_special_tokens=True))
"""
)
_CLASSIFY = """from transformers import pipeline

use = pipeline("{task}", model="{source}"{trust})
print(use("A lovely place, but the tea was cold."))
"""
_POINTS = (
    "import torch\nfrom transformers import {auto_class}\n\n"
    + _MODEL
    + "points = torch.rand(4, {input_size})\nprint(model(pixel_values=points).logits)\n"
)
_SCRIPTS = {
    "CausalLM": _WRITE.replace("{generation}", "max_new_tokens=200, do_sample=True, temperature=0.8"),
    "Seq2SeqLM": _WRITE.replace("{generation}", "max_new_tokens=60, num_beams=4"),
    "ImageClassification": """from PIL import Image
from transformers import pipeline

image = Image.new("L", ({image_size}, {image_size}))  # or your own: Image.open("digit.png")
classify = pipeline("image-classification", model="{source}"{trust})
print(classify(image))
""",
    "MaskedLM": """from transformers import pipeline

fill = pipeline("fill-mask", model="{source}"{trust})
print(fill(f"The tea was {{fill.tokenizer.mask_token}}."))
""",
    "QuestionAnswering": """from transformers import pipeline

answer = pipeline("question-answering", model="{source}"{trust})
context = "Wren sold a red ball there, and told nobody. On Sunday, Otto went to the mill."
print(answer(question="What did Wren sell?", context=context, top_k=3))
""",
    "SequenceClassification": _CLASSIFY.replace("{task}", "text-classification"),
    "TokenClassification": _CLASSIFY.replace("{task}", "token-classification"),
    "TimeSeriesPrediction": "import torch\nfrom transformers import {auto_class}\n\n"
    + _MODEL
    + "values = torch.linspace(100, 200, {series}).unsqueeze(0)\nprint(model.forecast(values, horizon=12))\n",
}
_DESCRIBE = "from transformers import {auto_class}\n\n" + _MODEL + "print(model.config)\n"


def load_snippet(
    auto_class: str,
    source: str,
    config: Mapping[str, Any] | None = None,
    prompt: str = "Once",
    trust: bool = False,
) -> str:
    """Returns a script that loads the model at `source` and uses it; cards, pages, and the terminal show it.

    Args:
        auto_class: the Auto class of transformers that loads the model.
        source: a local folder or a repository on the Hub.
        config: the model's config.json; the script for some models depends on it.
        prompt: a text that the model can read.
        trust: whether the script is for a machine without hf_llmpath, where it runs the code that lies next
            to the weights.
    """
    config = config or {}
    script = _SCRIPTS.get(auto_class.removeprefix("AutoModelFor"), _DESCRIBE)
    if config.get("input_size") and auto_class == "AutoModelForImageClassification":
        script = _POINTS
    script = script.format(
        auto_class=auto_class,
        source=source,
        prompt=prompt,
        trust=", trust_remote_code=True" if trust else "",
        input_size=config.get("input_size"),
        image_size=config.get("image_size", 28),
        series=max(config.get("lags_sequence") or [1]) + 12,  # enough values for the longest lag
    )
    return script if trust else f"import hf_llmpath  # registers the models with transformers\n{script}"


def snippet_of_run(stage: "Stage", folder: "RunFolder", model_id: str | None = None) -> str:
    """Returns the script for the model of a run, which loads from the repository `model_id` if it is given.

    Raises:
        UserError: config.json cannot be read.
    """
    file = folder.model_dir / "config.json"
    config = read_json(file) if file.exists() else {}
    return load_snippet(
        stage.auto_class, model_id or folder.model_dir.as_posix(), config, stage.prompt or "Once"
    )
