"""Exports the model of a run to ONNX, quantizes it, and measures it in every form.

The commands `llmpath export`, `llmpath quantize`, and `llmpath bench` call this module.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from ..data.sources import load_texts
from ..errors import UserError
from ..hub.model_folder import check_model_folder, load_model, load_pair
from ..runs import RunFolder
from .onnx_export import export_onnx, quantize_onnx
from .quantization import MOST_ERROR, auto_class_of, compare, load_quantized, quantized, typical_inputs
from .speed import measure
from .variants import build_forms

HELD_OUT = 64  # windows of held-out text, and tokens in each
PROMPT = 8  # tokens


def export(folder: RunFolder, name: str | None = None, int8: bool = False) -> list[dict[str, Any]]:
    """Exports the main model to `onnx/model.onnx`, or the further model `name` to `onnx/NAME.onnx`.

    Args:
        folder: the run folder.
        name: a further model of the run; the main model by default.
        int8: whether to write a second file, `..._int8.onnx`, with the matrices in 8-bit integers.

    Returns:
        For each file its `path`, `megabytes`, `max_difference` from the model, and `agreement` with it (see
        `Exported`).
    """
    source, stem = _checked(folder.model_folder(name)), name or "model"
    target = folder.onnx_dir / f"{stem}.onnx"
    files = [export_onnx(source, target)]
    if int8:
        files.append(quantize_onnx(target, folder.onnx_dir / f"{stem}_int8.onnx", source))
    return [asdict(file) | {"path": str(file.path)} for file in files]


def quantize(folder: RunFolder, scheme: Any, name: str | None = None) -> list[dict[str, Any]]:
    """Quantizes the main model to `quantized/SCHEME/`, or the model `name` to `quantized/NAME-SCHEME/`.

    The quantized model is compared with the original, then saved, loaded again, and compared with the state
    before it was saved.

    Returns:
        One entry with `path`, `relative_error`, `agreement`, `megabytes`, `megabytes_before`, `layers`.

    Raises:
        UserError: the quantized model differs too much from the original, or it changes when it is saved;
            nothing is kept.
    """
    source = _checked(folder.model_folder(name))
    original = load_model(auto_class_of(source), source)
    small = quantized(source, scheme)
    inputs = typical_inputs(original)
    check = compare(original, small, inputs, MOST_ERROR[scheme])
    target = folder.quantized(scheme if name is None else f"{name}-{scheme}")
    # An earlier quantized model stays in place until the new one has passed every check.
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        small.save_pretrained(temporary)
        for file in source.glob("tokenizer*"):
            shutil.copy2(file, temporary)
        check_model_folder(temporary)
        with torch.no_grad():
            before, after = small(**inputs).logits, load_quantized(temporary)(**inputs).logits
        if not torch.equal(before, after):  # the same weights and kernels give the same logits, bit for bit
            raise UserError(f"the model in {scheme} changes when it is saved; it was not kept")
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    measured = ("relative_error", "agreement", "megabytes", "megabytes_before", "layers")
    return [{"path": str(target), **{number: getattr(check, number) for number in measured}}]


def measure_forms(folder: RunFolder, tokens: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measures the decoder of a run, and its student if there is one, in every form.

    Args:
        tokens: number of tokens written in each measurement.
        repeats: number of measurements of each form, whose median is reported.

    Returns:
        Name of the form -> the fields of `speed.Row`.

    Raises:
        UserError: the model is not a decoder with a cache of keys and values.
    """
    _checked(folder.model_dir)
    if (kind := auto_class_of(folder.model_dir)) != "AutoModelForCausalLM":
        raise UserError(
            f"{folder.model_dir} is loaded by {kind}; only a decoder (AutoModelForCausalLM) can be measured"
        )
    prompt, held_out = _held_out(folder)
    path = folder.model("student")
    student = load_model("AutoModelForCausalLM", path) if path.is_dir() else None
    forms, _ = build_forms(folder.model_dir, folder.onnx_dir, num_beams=4, student=student)
    return {name: asdict(row) for name, row in measure(forms, prompt, held_out, tokens, repeats).items()}


def _checked(path: Path) -> Path:
    """Checks the model folder `path` for pickles and broken files and turns off progress bars for loading."""
    check_model_folder(path)
    transformers.utils.logging.disable_progress_bar()
    return path


def _held_out(folder: RunFolder) -> tuple[Tensor, Tensor]:
    """Returns a prompt `(1, tokens)` and windows `(windows, tokens)` of the run's validation text."""
    settings = folder.report["settings"]
    _, tokenizer = load_pair("AutoModelForCausalLM", folder.model_dir)
    # 2,000 texts are enough for the windows; a large set need not be tokenized as a whole.
    texts = load_texts(settings["dataset"], text_column=settings.get("text_column")).validation
    ids = [token for text in texts[:2000] for token in tokenizer(text, verbose=False)["input_ids"]]
    length = min(HELD_OUT, len(ids))  # a very short text gives one short window
    rows = min(HELD_OUT, len(ids) // length)
    # (windows * tokens,) -> (windows, tokens)
    held_out = torch.tensor(ids[: rows * length]).view(rows, length)
    return held_out[:1, :PROMPT], held_out
