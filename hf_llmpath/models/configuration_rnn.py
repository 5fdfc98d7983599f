"""Defines the configuration of the recurrent language model and of the recurrent series model."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict

from .configuration_common import LLMPathConfig, require_positive, require_probability


@strict
class LLMPathRNNConfig(LLMPathConfig):
    """The configuration of `LLMPathRNNModel` and its heads.

    Args:
        cell (`str`, *optional*, defaults to `"lstm"`): the recurrent cell: `"rnn"`, `"lstm"` or `"gru"`.
        vocab_size (`int`, *optional*, defaults to 128): number of tokens; 0 for a model without token
            embeddings.
        embedding_size (`int`, *optional*): width of the token embeddings; `hidden_size` if not given.
        hidden_size (`int`, *optional*, defaults to 128): number of units in a recurrent layer.
        num_hidden_layers (`int`, *optional*, defaults to 1): number of recurrent layers.
        dropout (`float`, *optional*, defaults to 0.0): dropout on the embeddings and after each recurrent
            layer.
        initializer_range (`float`, *optional*, defaults to 0.1): half width of the uniform distribution
            from which the embeddings are drawn.
        forget_bias (`float`, *optional*, defaults to 1.0): initial bias of an LSTM's forget gate; a positive
            bias makes the cell remember until it learns to forget (Jozefowicz et al. 2015).
        tie_word_embeddings (`bool`, *optional*, defaults to `False`): whether the output layer shares the
            weights of the embeddings; needs `embedding_size == hidden_size`.
        lags_sequence (`list[int]`, *optional*, defaults to `[1]`): (series model) which earlier values,
            counted back from the one to forecast, are the inputs of a step.
        log_values (`bool`, *optional*, defaults to `False`): (series model) whether the model works on the
            logarithms of the values.
        value_mean, value_std (`float`, *optional*, defaults to 0.0 and 1.0): (series model) mean and standard
            deviation of the training values, or of their logarithms, by which all values are standardized.
        bos_token_id, eos_token_id, pad_token_id (`int`, *optional*): special tokens.
    """

    model_type = "llmpath-rnn"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache"]

    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    vocab_size: int = 128
    embedding_size: int | None = None
    hidden_size: int = 128
    num_hidden_layers: int = 1
    dropout: float | int = 0.0
    initializer_range: float | int = 0.1
    forget_bias: float | int = 1.0
    tie_word_embeddings: bool = False
    use_cache: bool = True
    lags_sequence: list[int] | None = None
    log_values: bool = False
    value_mean: float | int = 0.0
    value_std: float | int = 1.0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs):
        if self.embedding_size is None:
            self.embedding_size = self.hidden_size
        if self.lags_sequence is None:
            self.lags_sequence = [1]
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        require_positive(self, "hidden_size", "embedding_size", "num_hidden_layers")
        require_probability(self, "dropout")
        if self.vocab_size < 0:
            raise ValueError(f"vocab_size ({self.vocab_size}) must be at least 0")
        if self.value_std <= 0:
            raise ValueError(f"value_std ({self.value_std}) must be above 0")
        if self.tie_word_embeddings and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"tie_word_embeddings needs embedding_size ({self.embedding_size}) equal to hidden_size "
                f"({self.hidden_size})"
            )
        if not self.lags_sequence or min(self.lags_sequence) < 1:
            raise ValueError(f"lags_sequence ({self.lags_sequence}) must hold integers of at least 1")
