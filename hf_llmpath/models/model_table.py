"""Holds the table of models, which registration, `auto_map`, the common tests, and the docs all read.

The table contains only names, so importing it loads neither torch nor transformers.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelRow:
    """A row of the table, which describes one model type.

    Attributes:
        model_type: `config.model_type`.
        config: `"module.Class"` of the configuration, within this folder.
        classes: maps each Auto class of transformers to `"module.Class"`.
        summary: a one-line description of the model.
        processors: maps the Auto class of a processor in this folder, such as `AutoImageProcessor`, to
            `"module.Class"`. The processor's `save_pretrained` writes its files.
    """

    model_type: str
    config: str
    classes: dict[str, str]
    summary: str
    processors: dict[str, str] = field(default_factory=dict)

    @property
    def auto_map(self) -> dict[str, str]:
        """Returns every Auto class and the class that it loads, as config.json lists them."""
        return {"AutoConfig": self.config, **self.classes, **self.processors}

    @property
    def modeling_module(self) -> str:
        """Returns the name of the module that holds the model classes."""
        return next(iter(self.classes.values())).partition(".")[0]


MODELS = (
    ModelRow(
        model_type="llmpath-rnn",
        config="configuration_rnn.LLMPathRNNConfig",
        classes={
            "AutoModel": "modeling_rnn.LLMPathRNNModel",
            "AutoModelForCausalLM": "modeling_rnn.LLMPathRNNForCausalLM",
            "AutoModelForTimeSeriesPrediction": "modeling_rnn.LLMPathRNNForTimeSeriesPrediction",
        },
        summary="RNN, LSTM or GRU language model and series forecaster",
    ),
    ModelRow(
        model_type="llmpath-mlp",
        config="configuration_mlp.LLMPathMLPConfig",
        classes={
            "AutoModel": "modeling_mlp.LLMPathMLPModel",
            "AutoModelForImageClassification": "modeling_mlp.LLMPathMLPForImageClassification",
        },
        summary="multi-layer perceptron for images and vectors",
        processors={"AutoImageProcessor": "image_processing_mlp.LLMPathMLPImageProcessor"},
    ),
    ModelRow(
        model_type="llmpath-bert",
        config="configuration_bert.LLMPathBertConfig",
        classes={
            "AutoModel": "modeling_bert.LLMPathBertModel",
            "AutoModelForMaskedLM": "modeling_bert.LLMPathBertForMaskedLM",
            "AutoModelForSequenceClassification": "modeling_bert.LLMPathBertForSequenceClassification",
            "AutoModelForTokenClassification": "modeling_bert.LLMPathBertForTokenClassification",
            "AutoModelForQuestionAnswering": "modeling_bert.LLMPathBertForQuestionAnswering",
        },
        summary="bidirectional encoder: masked language model, classifiers and question answering",
    ),
    ModelRow(
        model_type="llmpath-transformer",
        config="configuration_transformer.LLMPathTransformerConfig",
        classes={
            "AutoModel": "modeling_transformer.LLMPathTransformerModel",
            "AutoModelForSeq2SeqLM": "modeling_transformer.LLMPathTransformerForConditionalGeneration",
            "AutoModelForSequenceClassification": (
                "modeling_transformer.LLMPathTransformerForSequenceClassification"
            ),
        },
        summary="encoder-decoder Transformer, and its encoder as a text classifier",
    ),
    ModelRow(
        model_type="llmpath-summarizer",
        config="configuration_summarizer.LLMPathSummarizerConfig",
        classes={
            "AutoModel": "modeling_summarizer.LLMPathSummarizerModel",
            "AutoModelForSeq2SeqLM": "modeling_summarizer.LLMPathSummarizerForConditionalGeneration",
        },
        summary="recurrent encoder-decoder with attention",
    ),
    ModelRow(
        model_type="llmpath-word2vec",
        config="configuration_word2vec.LLMPathWord2VecConfig",
        classes={"AutoModel": "modeling_word2vec.LLMPathWord2VecModel"},
        summary="word vectors: skip-gram, CBOW or GloVe",
    ),
    ModelRow(
        model_type="llmpath-gpt",
        config="configuration_gpt.LLMPathGPTConfig",
        classes={
            "AutoModel": "modeling_gpt.LLMPathGPTModel",
            "AutoModelForCausalLM": "modeling_gpt.LLMPathGPTForCausalLM",
            "AutoModelForSequenceClassification": "modeling_gpt.LLMPathGPTForSequenceClassification",
        },
        summary="decoder-only language model, in GPT-2's layout and in today's",
    ),
    ModelRow(
        model_type="llmpath-t5",
        config="configuration_t5.LLMPathT5Config",
        classes={
            "AutoModel": "modeling_t5.LLMPathT5Model",
            "AutoModelForSeq2SeqLM": "modeling_t5.LLMPathT5ForConditionalGeneration",
        },
        summary="text-to-text encoder-decoder with relative positions, in the layout of T5 and of T5 1.1",
    ),
)
