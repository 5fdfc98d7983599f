"""Quantizes models to 8 and 4 bits with bitsandbytes, checks them against the original, and loads them again.

    model = quantized("runs/14-inference/model", "int8")
    model.save_pretrained("runs/14-inference/quantized/int8")
    model = load_quantized("runs/14-inference/quantized/int8")

`"int8"` is LLM.int8 (Dettmers et al. 2022): 8-bit integers with a scale per row, and outliers in 16 bits.
`"nf4"` has 4 bits: sixteen quantiles of a normal distribution, with a scale per 64 weights (Dettmers et
al. 2023). Both schemes replace the `nn.Linear` layers except the head; embeddings and norms keep their
precision.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

from ..decoding.generation import sample
from ..errors import UserError, nearest
from ..hub.model_folder import check_model_folder

Scheme = Literal["int8", "nf4"]
SCHEMES: tuple[Scheme, ...] = ("int8", "nf4")
BLOCK = 64  # weights of a row that share a scale in 4 bits
# Largest relative error of the logits that rounding explains; above it, something is wrong with the weights.
MOST_ERROR = {"int8": 0.1, "nf4": 0.3}

# bitsandbytes logs at each call that it computes in 16 bits.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@dataclass(frozen=True)
class QuantizationCheck:
    """The comparison of a quantized model with the original.

    Attributes:
        relative_error: norm of the difference of the logits, divided by the norm of the original logits.
        agreement: share of the positions whose likeliest token is the same.
        megabytes, megabytes_before: memory that the weights take, quantized and original.
        layers: number of linear layers that were replaced.
    """

    relative_error: float
    agreement: float
    megabytes: float
    megabytes_before: float
    layers: int


def quantized(folder: Path | str, scheme: Scheme, auto_class: str | None = None) -> Any:
    """Loads the model in `folder` with its linear layers in 8 or 4 bits, in evaluation mode.

    Args:
        folder: folder of a model in 32 bits.
        scheme: `"int8"` or `"nf4"`.
        auto_class: the Auto class that loads the model; derived from its config if None.

    Raises:
        UserError: the scheme is unknown, no layer can be quantized, or the model is already quantized.
    """
    folder = Path(folder)
    if scheme not in SCHEMES:
        raise UserError(
            f"unknown scheme '{scheme}'{nearest(scheme, SCHEMES)}; there are {' and '.join(SCHEMES)}"
        )
    check_model_folder(folder)
    if "quantization_config" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        raise UserError(f"{folder} is quantized already; name the folder of the original")
    loader = getattr(transformers, auto_class or auto_class_of(folder))
    original = loader.from_pretrained(folder)
    require_linear_layers(original, scheme)
    config = BitsAndBytesConfig(load_in_8bit=True)
    if scheme == "nf4":
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.float32,
            llm_int8_skip_modules=layers_left_alone(original),
        )
    model = loader.from_pretrained(folder, quantization_config=config, dtype=torch.float32)
    return without_cpu_packing(model.eval())


def load_quantized(folder: Path | str, auto_class: str | None = None) -> Any:
    """Loads a quantized model as it was saved, in evaluation mode.

    Raises:
        UserError: the model in `folder` is not quantized.
    """
    folder = Path(folder)
    if "quantization_config" not in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        raise UserError(f"{folder} is not quantized; AutoModel loads it")
    loader = getattr(transformers, auto_class or auto_class_of(folder))
    return without_cpu_packing(loader.from_pretrained(folder, dtype=torch.float32).eval())


def without_cpu_packing(model: Any) -> Any:
    """Keeps 4-bit layers from rearranging their weights at the first use; returns the model.

    On processors with AVX512-BF16, bitsandbytes (0.50) packs the weights for its own kernel. After that,
    saved weights cannot be read back, and gradients and sizes that are not multiples of 32 fail. Without
    packing, all of this works.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def compare(original: Any, small: Any, inputs: dict[str, Tensor], most_error: float) -> QuantizationCheck:
    """Compares the logits of both models on the same inputs.

    Raises:
        UserError: the logits are not finite, or their relative error is more than `most_error`.
    """
    with torch.no_grad():
        expected, logits = original(**inputs).logits.float(), small(**inputs).logits.float()
    error = float((logits - expected).norm() / expected.norm())  # ‖logits - expected‖ / ‖expected‖
    if not error <= most_error:  # unlike `>`, this refuses NaN too
        raise UserError(
            f"the quantized model's logits are {error:.1%} away from the original's, more than "
            f"{most_error:.0%}: "
            "it is not the same model any more; int8 loses less than nf4, and small layers lose more than "
            "large ones"
        )
    return QuantizationCheck(
        error,
        float((logits.argmax(-1) == expected.argmax(-1)).float().mean()),
        small.get_memory_footprint() / 1e6,
        original.get_memory_footprint() / 1e6,
        len(quantized_layers(small)),
    )


def typical_inputs(model: Any) -> dict[str, Tensor]:
    """Returns the inputs on which a model and its copy are compared; they are the same each time.

    A decoder gets 8 texts of 24 tokens that it wrote itself, because texts that it would never write say
    little about it. Other models get as many random tokens, or 32 random images.

    Raises:
        UserError: the model reads neither tokens nor images.
    """
    generator = torch.Generator().manual_seed(0)
    if model.main_input_name == "input_ids":
        length = min(24, getattr(model.config, "max_position_embeddings", 24))
        ids = torch.randint(0, model.config.vocab_size, (8, length), generator=generator)  # (batch, length)
        if type(model).__name__.endswith("ForCausalLM"):
            written = sample(
                model,
                ids[:, :1],  # (batch, 1): each text begins with a random token
                max_new_tokens=length - 1,
                eos_token_id=model.config.vocab_size,  # no token has this id: no text ends early
                generator=generator,
            )
            return {"input_ids": written}
        return {"input_ids": ids, **({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})}
    if model.main_input_name == "pixel_values" and model.config.image_size:
        size = model.config.image_size
        # (batch, channels, height, width)
        return {"pixel_values": torch.rand(32, 1, size, size, generator=generator)}
    raise UserError(
        f"{type(model).__name__} reads neither tokens nor images; it cannot be checked after quantizing"
    )


def quantized_layers(model: nn.Module) -> list[str]:
    """Returns the names of the layers in 8 or 4 bits."""
    return [
        name
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear8bitLt", "Linear4bit")
    ]


def layers_left_alone(model: Any) -> list[str]:
    """Returns the names of the linear layers that stay in 32 bits in the 4-bit scheme.

    These are the head and the layers whose number of inputs is not a multiple of a block of 64. On a CPU,
    bitsandbytes (0.50) reads the scales of the latter row by row, although it wrote them across rows, and
    restores wrong weights (an error of 70 % instead of 9 %).
    """
    head = _head_of(model)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (module is head or module.in_features % BLOCK)
    ]


def _head_of(model: Any) -> nn.Module | None:
    return getattr(model, "get_output_embeddings", lambda: None)()


def require_linear_layers(model: Any, scheme: Scheme) -> None:
    """Checks that a scheme has layers to quantize.

    Raises:
        UserError: the model has no linear layer except the head (the message names the layers that hold the
            weights) or, for 4 bits, none whose number of inputs is a multiple of 64.
    """
    head = _head_of(model)
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}
    if not linear:
        holding = sorted(
            {type(m).__name__ for m in model.modules() if any(True for _ in m.parameters(recurse=False))}
        )
        raise UserError(
            f"{type(model).__name__} has no layer that bitsandbytes can quantize: it takes "
            f"nn.Linear, except the "
            f"head; the weights here are in {', '.join(holding)}"
        )
    if scheme == "nf4" and not set(linear) - set(layers_left_alone(model)):
        sizes = sorted({module.in_features for module in linear.values()})
        raise UserError(
            f"nf4 scales blocks of {BLOCK} weights; no layer here has a multiple of {BLOCK} inputs (they "
            f"have {', '.join(map(str, sizes))}): use int8, or train with such sizes"
        )


def auto_class_of(folder: Path) -> str:
    """Returns the Auto class that loads the model in `folder`, judging by the name of its architecture.

    Raises:
        UserError: the config names no architecture that an Auto class loads.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = (config.get("architectures") or [""])[0]
    for ending, auto_class in (
        ("ForCausalLM", "AutoModelForCausalLM"),
        ("ForConditionalGeneration", "AutoModelForSeq2SeqLM"),
        ("ForMaskedLM", "AutoModelForMaskedLM"),
        ("ForSequenceClassification", "AutoModelForSequenceClassification"),
        ("ForTokenClassification", "AutoModelForTokenClassification"),
        ("ForQuestionAnswering", "AutoModelForQuestionAnswering"),
        ("ForImageClassification", "AutoModelForImageClassification"),
        ("Model", "AutoModel"),
    ):
        if name.endswith(ending):
            return auto_class
    raise UserError(f"{folder}/config.json names no architecture that an Auto class loads ('{name}')")
