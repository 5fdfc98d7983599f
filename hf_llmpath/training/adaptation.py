"""Chooses which weights of a pretrained model keep learning, and how fast.

The module offers three methods: freezing, layer-wise learning rates, and low-rank updates.
"""

from typing import Any

import torch
from torch import nn

from ..errors import UserError
from .muon import Muon

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EVERY_LINEAR = (*ATTENTION, "up_proj", "down_proj")


def depths(model: nn.Module) -> dict[str, int]:
    """Returns the depth of each weight of an encoder with a head.

    The depth is 0 for the embeddings, 1, 2, ... for the layers, and one more for everything after the last
    layer.
    """
    layers = len(model.model.layers)
    depth = {}
    for name, _ in model.named_parameters():
        inner = name.removeprefix("model.")
        # Weights of the head keep their names, even if they begin like those of the encoder.
        is_layer = inner.startswith("layers.") and name != inner
        is_embedding = inner.startswith("embeddings.") and name != inner
        depth[name] = int(inner.split(".")[1]) + 1 if is_layer else 0 if is_embedding else layers + 1
    return depth


def freeze(model: nn.Module, layers: int) -> nn.Module:
    """Freezes the embeddings and the first `layers` layers, in place.

    Howard & Ruder 2018 thaw the layers one by one.

    Raises:
        UserError: `layers` is negative or larger than the number of layers in the model.
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
    """Makes an AdamW whose rate falls from each layer to the one below.

    This is discriminative fine-tuning (Howard & Ruder 2018, section 3.1):

        η_{l-1} = η_l · decay

    The head learns at `learning_rate`, the last layer at `learning_rate · decay`, and the embeddings most
    slowly. Norms and biases have no weight decay, as in Trainer.
    """
    top = len(model.model.layers) + 1
    groups = _by_depth(model)
    return torch.optim.AdamW(
        [
            {
                "params": weights,
                "lr": learning_rate * decay ** (top - depth),  # η_l = η · decay^(top - l)
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
    """Makes a Muon for the matrices of the layers, with AdamW for embeddings, norms, biases, and the head.

    Both rates fall by the factor `decay` from each layer to the one below, as in `layer_wise`; with a decay
    of 1, they are the same everywhere.
    """
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
    """Groups the weights that learn by their depth and by whether they have two or more dimensions."""
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    depth = depths(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((depth[name], parameter.ndim > 1), []).append(parameter)
    return groups


def with_lora(
    model: nn.Module, rank: int, head: str | None = None, targets: tuple[str, ...] = EVERY_LINEAR
) -> Any:
    """Adds low-rank updates to the frozen weights of a model with peft: `W + (α / r) B A`.

    Hu et al. 2021, equation 3.

    Args:
        model: an encoder with a head, or a language model.
        rank: r, the number of rows of A and of columns of B; α is 2 r.
        head: name of the new layer on top, all of whose weights learn; None for a language model, whose
            head is not new.
        targets: names of the linear layers that get an update.

    Returns:
        A `peft.PeftModel`; its `merge_and_unload()` returns a plain model that computes the same values.
    """
    import peft

    of_kind: dict[str, Any] = {"modules_to_save": [head]} if head else {"task_type": "CAUSAL_LM"}
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(targets), **of_kind
    )
    return peft.get_peft_model(model, config)


def trainable_share(model: nn.Module) -> tuple[int, float]:
    """Counts the weights that learn and computes their share of all weights of the original model.

    The low-rank updates and the copy of the head that peft adds are not part of the original model.
    """
    named = dict(model.named_parameters())
    learning = sum(value.numel() for value in named.values() if value.requires_grad)
    added = sum(
        value.numel() for name, value in named.items() if "lora_" in name or "modules_to_save" in name
    )
    return learning, learning / (sum(value.numel() for value in named.values()) - added)
