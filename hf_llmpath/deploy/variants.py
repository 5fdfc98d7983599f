"""Builds the forms of a trained decoder that are compared: ways to decode, quantized, ONNX, distilled."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from ..decoding.bare_steps import BareStepper
from .onnx_export import export_onnx, exported_before, quantize_onnx
from .onnx_generation import OnnxDecoder
from .quantization import MOST_ERROR, SCHEMES, compare, quantized, typical_inputs
from .speed import REFERENCE, Form, bare, eager, onnx, with_beams


def build_forms(
    folder: Path, onnx_folder: Path, num_beams: int, student: Any = None
) -> tuple[dict[str, Form], dict[str, float]]:
    """Builds every form of a model and checks it against the original.

    Args:
        folder: folder of the model.
        onnx_folder: folder for the ONNX files; files made from the same weights are used again.
        num_beams: number of beams of the beam search.
        student: a smaller model that was distilled from this one, or None.

    Returns:
        The forms by name, and the results of the checks by name: `int8/relative_error`,
        `onnx/max_difference`, ...

    Raises:
        UserError: a form differs too much from the original.
    """
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    forms = {"no cache": eager(model, use_cache=False), REFERENCE: eager(model)}
    if BareStepper.fits(model):
        forms["bare steps"] = bare(model)
    forms[f"beam search, {num_beams} beams"] = with_beams(model, num_beams)
    checks: dict[str, float] = {}
    inputs = typical_inputs(model)
    for scheme in SCHEMES:
        small = quantized(folder, scheme)
        check = compare(model, small, inputs, MOST_ERROR[scheme])
        checks[f"{scheme}/relative_error"] = check.relative_error
        forms[scheme] = eager(small)
    plain, small_file = onnx_folder / "model.onnx", onnx_folder / "model_int8.onnx"
    exported = exported_before(folder, plain) or export_onnx(folder, plain)
    in_8_bits = exported_before(folder, small_file) or quantize_onnx(plain, small_file, folder)
    checks["onnx/max_difference"] = exported.max_difference
    for name, file in (("ONNX", exported), ("ONNX int8", in_8_bits)):
        forms[name] = onnx(OnnxDecoder(file.path, folder), file.megabytes, model.config.vocab_size)
    if student is not None:
        forms["student"] = eager(student.eval())
    return forms, checks
