"""Stage 11: an encoder learns a language by filling in blanks, and then needs only a few labels for a task."""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class PretrainingSettings(Settings):
    dataset: str = setting("world/reviews", "labeled texts: embedded name, Hub id, or local file or folder")
    text_column: str | None = setting(None, "column of a table that holds the text")
    label_column: str | None = setting(None, "column of a table that holds the class")
    corpus: str | None = setting(
        None, "more text to pretrain on: embedded name, Hub id, local file or folder"
    )
    tokenizer: Literal["wordpiece", "bpe"] = setting("wordpiece", "how words are cut into tokens")
    vocab_size: int = setting(1000, "most tokens of the tokenizer", minimum=50)
    hidden_size: int = setting(64, "width of the encoder", minimum=4)
    num_hidden_layers: int = setting(2, "layers of the encoder", minimum=1)
    num_attention_heads: int = setting(4, "attention heads of a layer", minimum=1)
    intermediate_size: int = setting(128, "width of the feed-forward part of a layer", minimum=1)
    position_embedding_type: Literal["learned", "rotary"] = setting(
        "rotary", "how the encoder knows positions"
    )
    norm_position: Literal["post", "pre"] = setting(
        "pre", "layer norm after each residual sum, or before each part"
    )
    initializer_range: float = setting(0.08, "standard deviation of the first weights", minimum=0)
    dropout: float = setting(0.0, "dropout while pretraining", minimum=0, maximum=0.9)
    context: int = setting(64, "tokens of the longest text", minimum=8)
    mask_rate: float = setting(0.2, "share of the tokens that are to be guessed", minimum=0.01, maximum=0.9)
    max_steps: int = setting(1000, "optimizer steps of the pretraining", minimum=1)
    batch_size: int = setting(64, "texts per step of the pretraining", minimum=1)
    learning_rate: float = setting(8e-3, "peak of the cosine schedule of the pretraining", minimum=0)
    label_counts: tuple[int, ...] = setting(
        (300,), "numbers of labeled texts to fine-tune on; 0 for all", minimum=0
    )
    fine_tuning_steps: int = setting(360, "least steps of a fine-tuning", minimum=1)
    fine_tuning_epochs: int = setting(3, "least number of times that a fine-tuning reads a text", minimum=1)
    fine_tuning_batch_size: int = setting(
        64, "most texts per step of a fine-tuning; of few labels an epoch has 20 steps", minimum=1
    )
    fine_tuning_learning_rate: float = setting(
        3e-3, "peak of the cosine schedule of a fine-tuning", minimum=0
    )
    seeds: int = setting(
        1, "fine-tunings per number of labels, each with rows and a classifier of its own", minimum=1
    )

    @classmethod
    def full(cls) -> "PretrainingSettings":
        return replace(
            cls(),
            corpus="world/stories",
            max_steps=3000,
            label_counts=(100, 300, 1000, 0),
            seeds=3,
            vocab_size=2000,
        )


STAGE = Stage(
    number=11,
    slug="pretraining",
    title="Pretraining and transfer learning",
    phase="Attention and transformers",
    summary="An encoder fills in blanks until it knows the language; then a few hundred labels are enough.",
    model_type="llmpath-bert",
    auto_class="AutoModelForMaskedLM",
    main="accuracy_300",
    concepts=(
        Concept("masked language modeling", "hf_llmpath.data.batches.collators.Masking"),
        Concept("bidirectional encoder", "hf_llmpath.models.modeling_bert.LLMPathBertForMaskedLM"),
        Concept("autoregressive modeling", "hf_llmpath.models.modeling_rnn.LLMPathRNNForCausalLM"),
        Concept("subword tokenizer", "hf_llmpath.data.tokenizers.subwords.train_subwords"),
        Concept("packing and streaming", "hf_llmpath.data.batches.packing.packed"),
        Concept("transfer", "hf_llmpath.training.recipes.classifier.fine_tune"),
        Concept("fine-tuning", "hf_llmpath.models.modeling_bert.LLMPathBertForSequenceClassification"),
    ),
    settings=PretrainingSettings,
    package=__name__,
)
