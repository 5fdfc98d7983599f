"""Aligns a chatbot by low-rank updates: LoRA on 32-bit weights, QLoRA (Dettmers et al. 2023) on 4-bit ones.

    policy = low_rank_policy(folder, rank=8, four_bits=True)
    train_dpo(policy, None, ...)             # or another method of trl_trainers.py
    model = with_updates(folder, policy)     # a plain model in 32 bits again

The reference model is the policy with its updates switched off.
"""

from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModelForCausalLM

from ...deploy.quantization import quantized
from ...training.adaptation import with_lora


def low_rank_policy(folder: Path, rank: int, four_bits: bool = False) -> Any:
    """Loads the language model in `folder` and adds trainable low-rank updates to its frozen linear layers.

    Args:
        folder: a saved 32-bit model.
        rank: the rank of the updates.
        four_bits: whether the frozen weights are stored in 4 bits (nf4).

    Returns:
        A `peft.PeftModel`.

    Raises:
        UserError: If the model has no layer that can be stored in 4 bits.
    """
    model = quantized(folder, "nf4") if four_bits else AutoModelForCausalLM.from_pretrained(folder)
    return with_lora(model, rank)


def with_updates(folder: Path, policy: Any) -> nn.Module:
    """Loads the model in `folder` at its saved precision and adds the updates of `policy` to its weights."""
    import peft

    # 4-bit weights cannot take up the updates without rounding, so the updates move to a copy in 32 bits.
    rank = policy.peft_config["default"].r
    plain = with_lora(AutoModelForCausalLM.from_pretrained(folder), rank)
    peft.set_peft_model_state_dict(plain, peft.get_peft_model_state_dict(policy))
    # W + (α / r) B A becomes the new W; `with_lora` froze W, but the result is a plain model again.
    return plain.merge_and_unload().requires_grad_(True)
