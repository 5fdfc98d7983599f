"""Aligning a chatbot by low-rank updates alone: LoRA next to weights in 32 bits, QLoRA (Dettmers et al.
2023) next to weights in 4.

    policy = low_rank_policy(folder, rank=8, four_bits=True)
    train_dpo(policy, None, ...)             # or another method of trl_trainers.py
    model = with_updates(folder, policy)     # a plain model in 32 bits again

The reference is the policy without its updates.
"""

from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModelForCausalLM

from ...deploy.quantization import quantized
from ...training.adaptation import with_lora


def low_rank_policy(folder: Path, rank: int, four_bits: bool = False) -> Any:
    """The language model in `folder` with low-rank updates of its linear layers; only the updates learn.

    Args:
        folder: a saved model in 32 bits.
        rank: rank of the updates.
        four_bits: whether the frozen weights are held in 4 bits (nf4).

    Returns:
        a `peft.PeftModel`.

    Raises:
        UserError: there is no layer that can be held in 4 bits.
    """
    model = quantized(folder, "nf4") if four_bits else AutoModelForCausalLM.from_pretrained(folder)
    return with_lora(model, rank)


def with_updates(folder: Path, policy: Any) -> nn.Module:
    """The model in `folder`, in its saved precision, with the updates of `policy` added to its weights."""
    import peft

    rank = policy.peft_config["default"].r
    plain = with_lora(AutoModelForCausalLM.from_pretrained(folder), rank)
    peft.set_peft_model_state_dict(plain, peft.get_peft_model_state_dict(policy))
    return plain.merge_and_unload().requires_grad_(True)
