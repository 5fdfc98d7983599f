"""Implements a multi-layer perceptron of any depth, for images and for vectors.

    model = AutoModelForImageClassification.from_pretrained("runs/04-deep-networks/model")
    pipeline("image-classification", model="runs/04-deep-networks/model")("digit.png")

Every hidden layer takes the same four steps (weights, normalization, activation, and dropout), with an
optional shortcut around all four.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, ImageClassifierOutput
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_mlp import LLMPathMLPConfig
from .layers_heads import wrong_labels_named
from .layers_regularization import BatchNorm, Dropout, LayerNorm
from .ops_products import linear

ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": F.gelu,  # x Φ(x), with the exact normal distribution function
    "linear": lambda x: x,
}


class Dense(nn.Linear):
    """Equals `nn.Linear` in weights, values, and gradients, but uses the faster kernel of ops_products.py.

    Attributes:
        init_scale: multiplies the standard deviation of the initial weights.
    """

    def __init__(self, inputs: int, outputs: int, init_scale: float = 1.0):
        super().__init__(inputs, outputs)
        self.init_scale = init_scale

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class MLPLayer(GradientCheckpointingLayer):
    """Maps x `(batch, in)` to y = dropout(f(norm(W x + b))) `(batch, out)`; a residual layer adds x."""

    def __init__(self, config: LLMPathMLPConfig, inputs: int, outputs: int, residual: bool):
        super().__init__()
        # The more residual layers there are, the smaller they start, or their sum would grow with the depth.
        self.linear = Dense(inputs, outputs, 1 / math.sqrt(sum(config.residual_layers)) if residual else 1.0)
        self.norm: nn.Module = {
            "batch": lambda: BatchNorm(outputs, eps=config.norm_eps),
            "layer": lambda: LayerNorm(outputs, eps=config.norm_eps),
            "none": nn.Identity,
        }[config.normalization]()
        self.activation = ACTIVATIONS[config.hidden_act]
        self.dropout = Dropout(config.dropout)
        self.residual = residual
        # Checkpointing reruns the layer in the backward pass, so batch norm would count each batch twice.
        self.may_run_twice = config.normalization != "batch"

    @property
    def gradient_checkpointing(self) -> bool:
        return self.may_run_twice and self.__dict__.get("_checkpointing", False)

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, value: bool) -> None:
        self.__dict__["_checkpointing"] = value

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(self.activation(self.norm(self.linear(x))))  # (batch, in) -> (batch, out)
        return x + y if self.residual else y


class LLMPathMLPPreTrainedModel(PreTrainedModel):
    """Sets the initial weights by `config.initialization` (Glorot & Bengio 2010, He et al. 2015)."""

    config: LLMPathMLPConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["MLPLayer"]
    _can_record_outputs = {"hidden_states": MLPLayer}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Dense):
            fan_out, fan_in = module.weight.shape  # (out, in)
            std = {
                "he": math.sqrt(2 / fan_in),
                "xavier": math.sqrt(2 / (fan_in + fan_out)),
                "normal": self.config.initializer_range,
            }[self.config.initialization]
            init.normal_(module.weight, 0.0, std * module.init_scale)
            init.zeros_(module.bias)
        elif isinstance(module, BatchNorm | LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            if isinstance(module, BatchNorm):  # from_pretrained leaves missing buffers uninitialized
                init.zeros_(module.running_mean)
                init.ones_(module.running_var)
                init.zeros_(module.num_batches_tracked)
        else:
            super()._init_weights(module)


class LLMPathMLPModel(LLMPathMLPPreTrainedModel):
    """The input dropout and the hidden layers, without an output layer."""

    def __init__(self, config: LLMPathMLPConfig):
        super().__init__(config)
        outputs = config.hidden_sizes or []
        inputs = [config.num_features, *outputs][: len(outputs)]  # each layer reads the previous one's output
        sizes = zip(inputs, outputs, config.residual_layers, strict=True)
        self.input_dropout = Dropout(config.input_dropout)
        self.layers = nn.ModuleList([MLPLayer(config, *size) for size in sizes])
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(self, pixel_values: Tensor, **kwargs) -> BaseModelOutput:
        """Runs the hidden layers.

        Args:
            pixel_values: `(batch, channels, height, width)`, or any other shape with as many numbers per
                example as the first layer reads, such as `(batch, features)` for points.

        Returns:
            `last_hidden_state` `(batch, hidden_sizes[-1])`. `hidden_states` are the input, then the output of
            each layer.

        Raises:
            ValueError: the examples have another number of features.
        """
        x = pixel_values.flatten(1)  # (batch, channels, height, width) -> (batch, features)
        if x.shape[1] != self.config.num_features:
            expected, side = f"{self.config.num_features} features", self.config.image_size
            if side is not None:
                expected = f"{self.config.num_channels} x {side} x {side} values"
            raise ValueError(
                f"an example has shape {tuple(pixel_values.shape[1:])}; this model reads {expected}"
            )
        x = self.input_dropout(x)
        for layer in self.layers:
            x = layer(x)  # (batch, hidden_sizes[i])
        return BaseModelOutput(last_hidden_state=x)


class LLMPathMLPForImageClassification(LLMPathMLPPreTrainedModel):
    """The hidden layers and a linear output layer, for classes, for one yes-or-no logit, or for numbers."""

    def __init__(self, config: LLMPathMLPConfig):
        super().__init__(config)
        self.model = LLMPathMLPModel(config)
        features = config.hidden_sizes[-1] if config.hidden_sizes else config.num_features
        self.classifier = Dense(features, config.num_labels)  # type: ignore[arg-type]
        self.post_init()

    @can_return_tuple
    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs) -> ImageClassifierOutput:
        """Computes `logits` `(batch, num_labels)`, and the loss of `classification_loss` if there are labels.

        Args:
            pixel_values: `(batch, channels, height, width)` or `(batch, features)`.
            labels: class numbers `(batch,)`, where -100 is skipped; 0 or 1 `(batch,)` if the model has one
                logit; numbers `(batch, num_labels)` for the `problem_type` `"regression"` or
                `"multi_label_classification"`.
        """
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        outputs = self.model(pixel_values, **kwargs)
        logits = self.classifier(outputs.last_hidden_state)  # (batch, num_labels)
        loss = None
        if labels is not None:
            loss = classification_loss(logits, labels, self.config.problem_type, num_items_in_batch)
        return ImageClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


def classification_loss(
    logits: Tensor, labels: Tensor, problem_type: str | None = None, num_items: int | Tensor | None = None
) -> Tensor:
    """Returns the mean loss over the batch.

    Args:
        logits: `(batch, num_labels)`.
        labels: class numbers `(batch,)`, or numbers in the shape of the logits, or `(batch,)` for one logit.
        problem_type: `"single_label_classification"` selects the cross-entropy of the softmax, or of the
            sigmoid (binary cross-entropy) for one logit. `"multi_label_classification"` selects the binary
            cross-entropy of each logit, and `"regression"` the squared error. By default, integer labels
            select the first. Other labels select `"regression"` for one logit and
            `"multi_label_classification"` for several.
        num_items: divides the sum in place of the number of labels, for a batch that comes in pieces.

    Raises:
        ValueError: a label is not a class (on a GPU, its kernel fails instead).
    """
    if problem_type is None:
        for_numbers = "regression" if logits.shape[-1] == 1 else "multi_label_classification"
        problem_type = for_numbers if labels.is_floating_point() else "single_label_classification"
    # If a batch comes in pieces, each piece adds its sum, divided by the number of labels in the whole batch.
    reduction = "mean" if num_items is None else "sum"
    if problem_type == "single_label_classification" and logits.shape[-1] > 1:
        with wrong_labels_named(labels, logits.shape[-1]):
            loss = F.cross_entropy(logits, labels, reduction=reduction)
    else:
        # One logit uses the binary cross-entropy, even if its labels are the class numbers 0 and 1.
        loss_of = F.mse_loss if problem_type == "regression" else F.binary_cross_entropy_with_logits
        # Labels of one logit: (batch,) -> (batch, 1).
        loss = loss_of(logits, labels.to(logits.dtype).view_as(logits), reduction=reduction)
    return loss if num_items is None else loss / num_items
