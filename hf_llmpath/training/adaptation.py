"""Which weights of a pretrained model learn further, and how fast: freezing, layer-wise rates, low-rank
updates.
"""

from typing import Any

import torch
from torch import nn

from ..errors import UserError
from .muon import Muon

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EVERY_LINEAR = (*ATTENTION, "up_proj", "down_proj")


def depths(model: nn.Module) -> dict[str, int]:
    """How far up each weight of an encoder with a head is: 0 for the embeddings, 1, 2, ... for the layers,
    and one more for what comes after the last layer."""
    layers = len(model.model.layers)
    depth = {}
    for name, _ in model.named_parameters():
        inner = name.removeprefix("model.")
        is_layer = inner.startswith("layers.") and name != inner
        is_embedding = inner.startswith("embeddings.") and name != inner
        depth[name] = int(inner.split(".")[1]) + 1 if is_layer else 0 if is_embedding else layers + 1
    return depth


def freeze(model: nn.Module, layers: int) -> nn.Module:
    """Stops the embeddings and the first `layers` layers from learning, in place (Howard & Ruder 2018
    thaw them one by one).

    Raises:
        UserError: more layers than the model has.
    """
    count = len(model.model.layers)
    if not 0 <= layers <= count:
        raise UserError(f"{layers} layers cannot be frozen; the encoder has {count}")
    depth = depths(model)
    for name, parameter in model.named_parameters():
        if depth[name] <= layers:
            parameter.requires_grad_(False)
    return model


def layer_wise(
    model: nn.Module, learning_rate: float, decay: float, weight_decay: float = 0.0, adam_beta2: float = 0.999
) -> torch.optim.AdamW:
    """AdamW with a rate that falls from each layer to the one below (discriminative fine-tuning, Howard &
    Ruder 2018, section 3.1):

        η_{l-1} = η_l · decay

    The head learns at `learning_rate`, the last layer at `learning_rate · decay`, the embeddings slowest.
    Norms and biases have no weight decay, as in Trainer.
    """
    top = len(model.model.layers) + 1
    groups = _by_depth(model)
    return torch.optim.AdamW(
        [
            {
                "params": weights,
                "lr": learning_rate * decay ** (top - depth),
                "weight_decay": weight_decay if is_matrix else 0.0,
            }
            for (depth, is_matrix), weights in sorted(groups.items(), key=lambda item: item[0])
        ],
        lr=learning_rate,
        betas=(0.9, adam_beta2),
    )


def layer_wise_muon(
    model: nn.Module,
    learning_rate: float,
    adam_learning_rate: float,
    decay: float = 1.0,
    weight_decay: float = 0.0,
) -> Muon:
    """Muon for the matrices of the layers, AdamW for embeddings, norms, biases and the head. Both rates
    fall by `decay` from each layer to the one below, as in `layer_wise`; they are the same everywhere if it
    is 1."""
    top = len(model.model.layers) + 1
    groups = []
    for (depth, is_matrix), weights in sorted(_by_depth(model).items(), key=lambda item: item[0]):
        is_hidden = is_matrix and 0 < depth < top
        groups.append(
            {
                "params": weights,
                "lr": (learning_rate if is_hidden else adam_learning_rate) * decay ** (top - depth),
                "weight_decay": weight_decay if is_hidden else 0.0,
                "use_muon": is_hidden,
            }
        )
    return Muon(groups)


def _by_depth(model: nn.Module) -> dict[tuple[int, bool], list[nn.Parameter]]:
    """The weights that learn, by how far up they are and whether they have two dimensions or more."""
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    depth = depths(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((depth[name], parameter.ndim > 1), []).append(parameter)
    return groups


def with_lora(
    model: nn.Module, rank: int, head: str | None = None, targets: tuple[str, ...] = EVERY_LINEAR
) -> Any:
    """The model with low-rank updates to its frozen weights, `W + (α / r) B A` (Hu et al. 2021, equation
    3), by peft.

    Args:
        model: an encoder with a head, or a language model.
        rank: r, the rows of A and the columns of B; α is 2 r.
        head: name of the new layer on top, which learns in full; None for a language model, whose head is
            not new.
        targets: names of the linear layers that get an update.

    Returns:
        a `peft.PeftModel`; `merge_and_unload()` gives back a plain model of the same values.
    """
    import peft

    of_kind: dict[str, Any] = {"modules_to_save": [head]} if head else {"task_type": "CAUSAL_LM"}
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(targets), **of_kind
    )
    return peft.get_peft_model(model, config)


def trainable_share(model: nn.Module) -> tuple[int, float]:
    """Number of weights that learn, and their share of all weights that the model has without low-rank
    updates.
    """
    named = dict(model.named_parameters())
    learning = sum(value.numel() for value in named.values() if value.requires_grad)
    added = sum(
        value.numel() for name, value in named.items() if "lora_" in name or "modules_to_save" in name
    )
    return learning, learning / (sum(value.numel() for value in named.values()) - added)
