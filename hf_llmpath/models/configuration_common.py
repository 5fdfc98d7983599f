"""Defines the base class of all configurations: it refuses unknown arguments and carries the Auto classes."""

import dataclasses
import difflib
from typing import Any, ClassVar

from transformers import GenerationConfig, PreTrainedConfig
from transformers.activations import ACT2FN

# Arguments that transformers itself passes or stores in addition to the fields of a configuration.
_OF_TRANSFORMERS = {
    "attn_implementation", "auto_map", "custom_pipelines", "experts_implementation", "model_type",
    "name_or_path", "num_labels", "output_attentions", "per_layer_config", "quantization_config",
    "torch_dtype",
}  # fmt: skip


class LLMPathConfig(PreTrainedConfig):
    """The base class of this package's configurations.

    If a model has an `intermediate_size` and none is given, it becomes four times `hidden_size`.

    Raises:
        ValueError: an argument is unknown; the message names the nearest known one. In a configuration that
            is read from a file, only near misses are errors, because newer versions of the libraries may have
            stored more fields.
    """

    # Maps an Auto class to "module.Class"; `registration.py` fills it from the table of models.
    auto_classes: ClassVar[dict[str, str]] = {}

    def __post_init__(self, **kwargs):
        self._refuse_unknown(kwargs)
        if self.auto_classes:
            kwargs["auto_map"] = dict(self.auto_classes)
        if getattr(self, "intermediate_size", 0) is None:
            self.intermediate_size = 4 * self.hidden_size
        super().__post_init__(**kwargs)

    def _refuse_unknown(self, arguments):
        fields = [field.name for field in dataclasses.fields(self)]
        known = {*_OF_TRANSFORMERS, *self.attribute_map, *GenerationConfig().to_dict()}
        for name in arguments:
            if name in known or name.startswith("_"):
                continue
            near = difflib.get_close_matches(name, fields, n=1, cutoff=0.75)
            # A configuration file sets transformers_version; a configuration made in code does not.
            if near or self.transformers_version is None:
                hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(self._own_fields())}"
                raise ValueError(f"{type(self).__name__} has no argument '{name}'; {hint}")

    @classmethod
    def _own_fields(cls):
        inherited = {field.name for field in dataclasses.fields(LLMPathConfig)}
        return [field.name for field in dataclasses.fields(cls) if field.name not in inherited]


def require_positive(config: PreTrainedConfig, *names: str) -> None:
    """Raises `ValueError` if a size is below 1."""
    for name in names:
        if (value := getattr(config, name)) < 1:
            raise ValueError(f"{name} ({value}) must be at least 1")


def require_probability(config: PreTrainedConfig, *names: str) -> None:
    """Raises `ValueError` if a dropout is outside [0, 1)."""
    for name in names:
        if not 0 <= (value := getattr(config, name)) < 1:
            raise ValueError(f"{name} ({value}) must be at least 0 and below 1")


def require_activation(config: Any, *own: str) -> None:
    """Raises `ValueError` if `hidden_act` is neither in transformers' `ACT2FN` nor one of `own`."""
    if config.hidden_act not in (*own, *ACT2FN):
        names = ", ".join([*own, *sorted(ACT2FN)])
        raise ValueError(f"hidden_act ('{config.hidden_act}') must be one of: {names}")


def require_heads(config: Any) -> None:
    """Raises `ValueError` if the number of heads does not divide `hidden_size`, or if the positions are
    rotary and the head size is odd, so that its coordinates do not form pairs."""
    size, heads = config.hidden_size, config.num_attention_heads
    if size % heads:
        raise ValueError(f"hidden_size ({size}) must be a multiple of num_attention_heads ({heads})")
    if config.position_embedding_type == "rotary" and size // heads % 2:
        raise ValueError(
            f"rotary positions need an even head size; hidden_size ({size}) / num_attention_heads ({heads}) "
            f"is {size // heads}"
        )
