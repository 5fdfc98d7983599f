"""What all our configurations share: unknown arguments are errors, and the Auto classes of a model travel
with it.
"""

import dataclasses
import difflib
from typing import ClassVar

from transformers import GenerationConfig, PreTrainedConfig

# Arguments that transformers itself passes or stores beside the fields of a configuration.
_OF_TRANSFORMERS = frozenset(
    [
        "attn_implementation",
        "auto_map",
        "custom_pipelines",
        "experts_implementation",
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "per_layer_config",
        "quantization_config",
        "torch_dtype",
    ]
)


class LLMPathConfig(PreTrainedConfig):
    """Base of our configurations.

    Raises:
        ValueError: an argument that this configuration does not have; names the nearest one that it has. In a
            configuration read from a file, only near misses are errors: newer libraries may have stored more.
    """

    auto_classes: ClassVar[
        dict[str, str]
    ] = {}  # Auto class -> "module.Class"; filled from the table of models

    def __post_init__(self, **kwargs):
        self._refuse_unknown(kwargs)
        if self.auto_classes:
            kwargs["auto_map"] = dict(self.auto_classes)
        super().__post_init__(**kwargs)

    def _refuse_unknown(self, arguments):
        fields = [field.name for field in dataclasses.fields(self)]
        known = {*_OF_TRANSFORMERS, *self.attribute_map, *GenerationConfig().to_dict()}
        for name in arguments:
            if name in known or name.startswith("_"):
                continue
            near = difflib.get_close_matches(name, fields, n=1, cutoff=0.75)
            if near or self.transformers_version is None:
                hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(self._own_fields())}"
                raise ValueError(f"{type(self).__name__} has no argument '{name}'; {hint}")

    @classmethod
    def _own_fields(cls):
        inherited = {field.name for field in dataclasses.fields(LLMPathConfig)}
        return [field.name for field in dataclasses.fields(cls) if field.name not in inherited]


def require_positive(config: PreTrainedConfig, *names: str) -> None:
    """Raises `ValueError` for a size below 1."""
    for name in names:
        if (value := getattr(config, name)) < 1:
            raise ValueError(f"{name} ({value}) must be at least 1")


def require_probability(config: PreTrainedConfig, *names: str) -> None:
    """Raises `ValueError` for a dropout outside [0, 1)."""
    for name in names:
        if not 0 <= (value := getattr(config, name)) < 1:
            raise ValueError(f"{name} ({value}) must be at least 0 and below 1")
