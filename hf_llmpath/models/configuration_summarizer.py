"""Defines the configuration of the recurrent encoder-decoder with attention."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict

from .configuration_common import LLMPathConfig, require_positive, require_probability


@strict
class LLMPathSummarizerConfig(LLMPathConfig):
    """The configuration of `LLMPathSummarizerModel` and its head.

    Args:
        cell (`str`, *optional*, defaults to `"gru"`): the recurrent cell of encoder and decoder: `"gru"`,
            `"lstm"`, or `"rnn"`.
        attention (`str`, *optional*, defaults to `"dot"`): how a query is compared with a key: `"dot"`
            (scaled dot product), `"additive"` (Bahdanau et al. 2015), or `"none"`. With `"none"`, the decoder
            reads only the encoder's final state, at every step (Cho et al. 2014).
        copy_mechanism (`bool`, *optional*, defaults to `True`): whether a gate lets the decoder copy the
            source tokens that it attends to (See et al. 2017); needs attention.
        vocab_size (`int`, *optional*, defaults to 512): number of tokens in source and target.
        embedding_size (`int`, *optional*, defaults to 128): width of the token embeddings.
        hidden_size (`int`, *optional*, defaults to 256): number of units in a decoder layer, and in both
            directions of an encoder layer together; an even number.
        num_hidden_layers (`int`, *optional*, defaults to 1): number of layers in the encoder, and in the
            decoder.
        dropout (`float`, *optional*, defaults to 0.0): dropout on the embeddings and on the output of each
            layer.
        initializer_range (`float`, *optional*, defaults to 0.1): half width of the uniform distribution
            from which the embeddings are drawn.
        forget_bias (`float`, *optional*, defaults to 1.0): initial bias of an LSTM's forget gate.
        tie_word_embeddings (`bool`, *optional*, defaults to `True`): whether the output layer shares the
            weights of the embeddings.
        decoder_start_token_id, bos_token_id, eos_token_id, pad_token_id (`int`, *optional*): special tokens.
    """

    model_type = "llmpath-summarizer"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache"]

    cell: Literal["rnn", "lstm", "gru"] = "gru"
    attention: Literal["dot", "additive", "none"] = "dot"
    copy_mechanism: bool = True
    vocab_size: int = 512
    embedding_size: int = 128
    hidden_size: int = 256
    num_hidden_layers: int = 1
    dropout: float | int = 0.0
    initializer_range: float | int = 0.1
    forget_bias: float | int = 1.0
    tie_word_embeddings: bool = True
    is_encoder_decoder: bool = True
    use_cache: bool = True
    decoder_start_token_id: int | None = 1
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    pad_token_id: int | None = 0

    def validate_architecture(self):
        require_positive(self, "vocab_size", "hidden_size", "embedding_size", "num_hidden_layers")
        require_probability(self, "dropout")
        if self.hidden_size % 2:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be even: half of it reads in each direction"
            )
        if self.copy_mechanism and self.attention == "none":
            raise ValueError(
                "copy_mechanism copies what is attended to: attention='none' needs copy_mechanism=False"
            )
