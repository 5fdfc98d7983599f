"""Stage 11: an encoder learns a language by filling in blanks; then a task needs only a few labels."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
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
    vocab_size: int = setting(1000, "largest number of tokens in the vocabulary", minimum=50)
    hidden_size: int = setting(64, "width of the encoder", minimum=4)
    num_hidden_layers: int = setting(2, "layers of the encoder", minimum=1)
    num_attention_heads: int = setting(4, "attention heads of a layer", minimum=1)
    intermediate_size: int = setting(128, "width of the feed-forward part of a layer", minimum=1)
    position_embedding_type: Literal["learned", "rotary"] = setting(
        "rotary", "how the encoder knows positions"
    )
    norm_position: Literal["post", "pre"] = setting(
        "pre", "layer norm after each residual sum, or before each sublayer"
    )
    initializer_range: float = setting(0.08, "standard deviation of the first weights", minimum=0)
    dropout: float = setting(0.0, "dropout during pretraining", minimum=0, maximum=0.9)
    context: int = setting(64, "tokens of the longest text", minimum=8)
    mask_rate: float = setting(0.2, "share of the tokens that are to be guessed", minimum=0.01, maximum=0.9)
    pretraining: Recipe = group(
        Recipe(
            steps=1000, batch_size=64, learning_rate=8e-3, weight_decay=0.01, adam_beta2=0.98, evaluations=8
        ),
        "pretraining",
    )
    label_counts: tuple[int, ...] = setting(
        (300,), "numbers of labeled texts to fine-tune on; 0 for all", minimum=0
    )
    fine_tuning: Recipe = group(
        Recipe(steps=360, batch_size=64, learning_rate=3e-3, weight_decay=0.01, adam_beta2=0.98, saves=1),
        "fine-tuning (more steps for many labels, smaller batches for few)",
    )
    fine_tuning_epochs: int = setting(3, "smallest number of epochs of a fine-tuning", minimum=1)
    seeds: int = setting(
        1, "fine-tunings per number of labels, each with its own rows and its own new classifier", minimum=1
    )

    renamed: ClassVar[dict[str, str]] = {
        "max_steps": "pretraining.steps",
        "batch_size": "pretraining.batch_size",
        "learning_rate": "pretraining.learning_rate",
        "fine_tuning_steps": "fine_tuning.steps",
        "fine_tuning_batch_size": "fine_tuning.batch_size",
        "fine_tuning_learning_rate": "fine_tuning.learning_rate",
    }

    @classmethod
    def full(cls) -> "PretrainingSettings":
        return cls().updated(
            corpus="world/stories",
            label_counts=(100, 300, 1000, 0),
            seeds=3,
            vocab_size=2000,
            **{"pretraining.steps": 3000},
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
