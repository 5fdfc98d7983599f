"""The shared heads: every classifier names a label that is no class."""

import pytest
import torch

from hf_llmpath import (
    LLMPathBertConfig,
    LLMPathBertForSequenceClassification,
    LLMPathBertForTokenClassification,
    LLMPathGPTConfig,
    LLMPathGPTForSequenceClassification,
    LLMPathTransformerConfig,
    LLMPathTransformerForSequenceClassification,
)

SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_labels": 3,
}


@pytest.mark.parametrize(
    "kind, config, shape",
    [
        (LLMPathBertForSequenceClassification, LLMPathBertConfig, (2,)),
        (LLMPathBertForTokenClassification, LLMPathBertConfig, (2, 5)),
        (LLMPathGPTForSequenceClassification, LLMPathGPTConfig, (2,)),
        (LLMPathTransformerForSequenceClassification, LLMPathTransformerConfig, (2,)),
    ],
)
def test_a_label_beyond_the_classes_is_named(kind, config, shape):
    model, ids = kind(config(**SIZES, intermediate_size=16)), torch.randint(20, (2, 5))
    labels = torch.zeros(shape, dtype=torch.long)
    assert torch.isfinite(model(ids, labels=labels).loss)
    labels.view(-1)[-1] = 3
    with pytest.raises(ValueError, match=r"^label 3 is no class; labels run from 0 to 2$"):
        model(ids, labels=labels)
