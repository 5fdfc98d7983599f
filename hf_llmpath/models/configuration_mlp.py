"""Defines the configuration of the multi-layer perceptron."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_common import LLMPathConfig, require_positive, require_probability


@strict
class LLMPathMLPConfig(LLMPathConfig):
    """The configuration of `LLMPathMLPModel` and `LLMPathMLPForImageClassification`.

    The input is either an image (`image_size`, `num_channels`) or a vector (`input_size`), never both.

    Args:
        input_size (`int`, *optional*): number of features of a vector input, such as 2 for points in a plane.
        image_size (`int`, *optional*): height and width of an image input; 28 if neither it nor
            `input_size` is given.
        num_channels (`int`, *optional*, defaults to 1): channels of an image input.
        hidden_sizes (`list[int]`, *optional*, defaults to `[128]`): number of units of each hidden layer;
            `[]` for no hidden layer.
        hidden_act (`str`, *optional*, defaults to `"relu"`): `"sigmoid"`, `"tanh"`, `"relu"`, `"gelu"` or
            `"linear"`.
        initialization (`str`, *optional*, defaults to `"he"`): variance of the initial weights:
            2 / fan_in for `"he"` (He et al. 2015, eq. 10), 2 / (fan_in + fan_out) for `"xavier"` (Glorot &
            Bengio 2010, eq. 12), the square of `initializer_range` for `"normal"`. Biases start at 0.
        initializer_range (`float`, *optional*, defaults to 0.05): standard deviation of
            `initialization="normal"`.
        normalization (`str`, *optional*, defaults to `"none"`): the normalization between weights and
            activation of each hidden layer: `"none"`, `"batch"` (Ioffe & Szegedy 2015) or `"layer"` (Ba et
            al. 2016).
        norm_eps (`float`, *optional*, defaults to 1e-5): added to the variance in the normalization.
        dropout (`float`, *optional*, defaults to 0.0): dropout after each hidden layer.
        input_dropout (`float`, *optional*, defaults to 0.0): dropout on the input.
        residual (`bool`, *optional*, defaults to `False`): each hidden layer whose input and output have the
            same size adds its input to its output (He et al. 2016). The initial weights of such layers are
            divided by the square root of their number, which keeps the sum of many layers from growing.
    """

    model_type = "llmpath-mlp"

    input_size: int | None = None
    image_size: int | None = None
    num_channels: int = 1
    hidden_sizes: list[int] | None = None
    hidden_act: Literal["sigmoid", "tanh", "relu", "gelu", "linear"] = "relu"
    initialization: Literal["he", "xavier", "normal"] = "he"
    initializer_range: float | int = 0.05
    normalization: Literal["none", "batch", "layer"] = "none"
    norm_eps: float | int = 1e-5
    dropout: float | int = 0.0
    input_dropout: float | int = 0.0
    residual: bool = False

    def __post_init__(self, **kwargs):
        if self.input_size is None and self.image_size is None:
            self.image_size = 28
        if self.hidden_sizes is None:
            self.hidden_sizes = [128]
        super().__post_init__(**kwargs)

    @property
    def num_features(self) -> int:
        """Returns how many numbers the first layer reads for each example."""
        return self.input_size or self.num_channels * (self.image_size or 0) ** 2

    @property
    def num_hidden_layers(self) -> int:
        return len(self.hidden_sizes or [])

    @property
    def residual_layers(self) -> list[bool]:
        """Returns, for each hidden layer, whether it adds its input to its output."""
        outputs = self.hidden_sizes or []
        inputs = [self.num_features, *outputs][: len(outputs)]  # each layer reads the previous one's output
        return [self.residual and before == after for before, after in zip(inputs, outputs, strict=True)]

    def validate_architecture(self):
        if self.input_size is not None and self.image_size is not None:
            raise ValueError(
                f"give input_size ({self.input_size}) for vectors or image_size ({self.image_size}) for "
                "images, not both"
            )
        require_positive(self, "num_channels", "input_size" if self.image_size is None else "image_size")
        if self.hidden_sizes and min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_sizes ({self.hidden_sizes}) must hold integers of at least 1")
        require_probability(self, "dropout", "input_dropout")
        for name in ("initializer_range", "norm_eps"):
            if (value := getattr(self, name)) <= 0:
                raise ValueError(f"{name} ({value}) must be above 0")
