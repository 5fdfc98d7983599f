"""What `llmpath export`, `quantize` and `bench` do with the model of a run."""

import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from ..deploy import onnx_export
from ..deploy.quantization import (
    MOST_ERROR,
    auto_class_of,
    compare,
    load_quantized,
    quantized,
    typical_inputs,
)
from ..deploy.speed import measure
from ..deploy.variants import build_forms
from ..errors import UserError
from ..hub.model_folder import check_model_folder, load_model, load_pair
from ..runs import RunFolder, write_json

HELD_OUT, PROMPT = 64, 8  # windows of held-out text, tokens of the prompt


def export(folder: RunFolder, name: str | None = None, int8: bool = False) -> list[dict[str, Any]]:
    """Writes `onnx/model.onnx` (and `model_int8.onnx`), of a further model `onnx/NAME.onnx`; returns for
    each file `path`, `megabytes`, `max_difference` and `agreement` with the model."""
    source, stem = _checked(folder.model_folder(name)), name or "model"
    target = folder.onnx_dir / f"{stem}.onnx"
    made = [onnx_export.export_onnx(source, target)]
    if int8:
        made.append(onnx_export.quantize_onnx(target, folder.onnx_dir / f"{stem}_int8.onnx", source))
    return [
        {
            "path": str(one.path),
            "megabytes": one.megabytes,
            "max_difference": one.max_difference,
            "agreement": one.agreement,
        }
        for one in made
    ]


def quantize(folder: RunFolder, scheme: Any, name: str | None = None) -> list[dict[str, Any]]:
    """Writes `quantized/SCHEME/` (of a further model `quantized/NAME-SCHEME/`): compared with the
    original, saved, loaded again and compared with what was saved; returns `path`, `relative_error`,
    `agreement`, `megabytes`, `megabytes_before`, `layers`.

    Raises:
        UserError: it is too far from the original, or does not come back as it was saved; nothing is kept
            then.
    """
    source = _checked(folder.model_folder(name))
    original = load_model(auto_class_of(source), source)
    small = quantized(source, scheme)
    inputs = typical_inputs(original)
    check = compare(original, small, inputs, MOST_ERROR[scheme])
    target = folder.quantized(scheme if name is None else f"{name}-{scheme}")
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        small.save_pretrained(temporary)
        for file in source.glob("tokenizer*"):
            shutil.copy2(file, temporary)
        check_model_folder(temporary)
        with torch.no_grad():
            before, after = small(**inputs).logits, load_quantized(temporary)(**inputs).logits
        if not torch.equal(before, after):
            raise UserError(f"the model in {scheme} does not come back as it was saved; it was not kept")
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    numbers = {
        n: getattr(check, n)
        for n in ("relative_error", "agreement", "megabytes", "megabytes_before", "layers")
    }
    return [{"path": str(target), **numbers}]


def bench(folder: RunFolder, tokens: int, repeats: int) -> tuple[dict[str, dict[str, float]], Path]:
    """Measures the decoder of a run in every form, and its student if it has one; writes
    `bench/inference.json` and `.png`.

    Returns:
        The rows by name of the form, and the picture.

    Raises:
        UserError: a model that is no decoder with a cache of keys and values.
    """
    from ..charts.style import save
    from ..charts.trade_off import forms_picture

    _checked(folder.model_dir)
    if (kind := auto_class_of(folder.model_dir)) != "AutoModelForCausalLM":
        raise UserError(
            f"{folder.model_dir} is loaded by {kind}; what is measured is a decoder (AutoModelForCausalLM)"
        )
    prompt, held_out = _held_out(folder)
    student = folder.model("student")
    forms, _ = build_forms(
        folder.model_dir,
        folder.onnx_dir,
        num_beams=4,
        student=load_model("AutoModelForCausalLM", student) if student.is_dir() else None,
    )
    rows = {name: row.as_dict() for name, row in measure(forms, prompt, held_out, tokens, repeats).items()}
    write_json(folder.bench_dir / "inference.json", rows)
    return rows, save(forms_picture(rows), folder.bench_dir / "inference.png")


def _checked(path: Path) -> Path:
    """The model folder `path`, of which no pickle and no broken file will be read; the library's bars
    stay out of our output.
    """
    check_model_folder(path)
    transformers.utils.logging.disable_progress_bar()
    return path


def _held_out(folder: RunFolder) -> tuple[Tensor, Tensor]:
    """A prompt and windows of the validation text that the run was trained beside."""
    from ..data.sources import load_texts

    settings = folder.report["settings"]
    _, tokenizer = load_pair("AutoModelForCausalLM", folder.model_dir)
    texts = load_texts(settings["dataset"], text_column=settings.get("text_column")).validation
    ids = [token for text in texts[:2000] for token in tokenizer(text, verbose=False)["input_ids"]]
    length = min(64, len(ids))
    rows = min(HELD_OUT, len(ids) // length)
    held_out = torch.tensor(ids[: rows * length]).view(rows, length)
    return held_out[:1, :PROMPT], held_out
