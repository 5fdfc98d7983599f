"""Defines the configuration of the word-vector model."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict

from .configuration_common import LLMPathConfig, require_positive


@strict
class LLMPathWord2VecConfig(LLMPathConfig):
    """The configuration of `LLMPathWord2VecModel`.

    Args:
        vocab_size (`int`, *optional*, defaults to 2000): number of words.
        hidden_size (`int`, *optional*, defaults to 100): width of a word vector.
        objective (`str`, *optional*, defaults to `"skipgram"`): what the vectors learn: `"skipgram"`
            predicts the neighbors from the word, `"cbow"` the word from the mean of its neighbors (Mikolov
            et al. 2013), and `"glove"` the logarithm of how often two words occur together (Pennington et
            al. 2014).
        pad_token_id, unk_token_id (`int`, *optional*): special tokens.
    """

    model_type = "llmpath-word2vec"
    attribute_map: ClassVar[dict[str, str]] = {"vector_size": "hidden_size"}

    vocab_size: int = 2000
    hidden_size: int = 100
    objective: Literal["skipgram", "cbow", "glove"] = "skipgram"
    pad_token_id: int | None = 0
    unk_token_id: int | None = 1

    def validate_sizes(self):
        require_positive(self, "vocab_size", "hidden_size")
