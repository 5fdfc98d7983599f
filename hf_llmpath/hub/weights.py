"""Looks at a model folder before anything reads or sends it: a complete safetensors file and nothing pickled."""

import json
from math import prod
from pathlib import Path
from typing import Any

from ..errors import UserError

WEIGHTS = "model.safetensors"
INDEX = WEIGHTS + ".index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")  # a bare pickle; the zip archive that torch.save writes


def check_model_folder(path: Path | str) -> None:
    """Checks that a model can be loaded from `path` and that no pickle would be read.

    Raises:
        UserError: not a folder; config.json missing or unreadable; weights missing, truncated or pickled.
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


def load_model(auto_class: str, folder: Path | str, **options: Any) -> Any:
    """The model in `folder`, in evaluation mode.

    Args:
        auto_class: name of the Auto class that loads it.
        options: of its `from_pretrained`.

    Raises:
        UserError: what `check_model_folder` raises; weights of other sizes than config.json says.
    """
    import transformers

    check_model_folder(folder)
    try:
        return getattr(transformers, auto_class).from_pretrained(folder, **options).eval()
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise UserError(
            f"{folder}: the weights are not of the sizes in config.json; save or train the model again"
        ) from None


def load_pair(auto_class: str, folder: Path | str) -> tuple[Any, Any]:
    """The model in `folder`, in evaluation mode, and its tokenizer.

    Raises:
        UserError: what `load_model` raises; no tokenizer, or that of another model.
    """
    import transformers

    from ..data.tokenizers.subwords import require_fitting

    folder = Path(folder)
    model = load_model(auto_class, folder)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError):
        raise UserError(
            f"{folder} has no tokenizer; put the one there that was saved with the model"
        ) from None
    require_fitting(tokenizer, model.config, f"the model in {folder.name}/")
    return model, tokenizer


def parameter_count(path: Path | str) -> int:
    """Number of weights in the model folder `path`, read from the headers of its weight files.

    Raises:
        UserError: weights missing, truncated or pickled.
    """
    return sum(prod(shape) for file in weight_files(Path(path)) for shape in _shapes(file).values())


def weight_files(path: Path) -> list[Path]:
    """The weight files of a model folder: one, or those that the index of a sharded model lists.

    Raises:
        UserError: a file that ought to be there is not, or there are only pickled weights.
    """
    sharded = (path / INDEX).exists()
    names = sorted(set(read_json(path / INDEX)["weight_map"].values())) if sharded else [WEIGHTS]
    for name in names:
        if not (path / name).is_file():
            pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLED)
            if pickles:
                raise UserError(
                    f"{path} has only pickled weights ({', '.join(pickles)}), which can run code when they are read; "
                    f"save them again as {WEIGHTS} with model.save_pretrained"
                )
            raise UserError(f"{path} has no {name}; its weights are missing: save or train the model again")
    return [path / name for name in names]


def read_json(path: Path) -> dict:
    """A JSON file of a model folder.

    Raises:
        UserError: it is not there, or no JSON.
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
    """Name -> shape of every tensor; safetensors itself compares the header with the size of the file."""
    from safetensors import SafetensorError, safe_open

    with file.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(_PICKLE_STARTS) and int.from_bytes(start, "little") > file.stat().st_size:
        raise UserError(
            f"{file} is a pickle under another name; it is not read: save the model with save_pretrained"
        )
    try:
        with safe_open(file, framework="numpy") as tensors:
            return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        size = f"{file.stat().st_size:,} bytes"
        raise UserError(
            f"{file} ({size}) is truncated or damaged ({error}); save or train the model again"
        ) from None
