"""Stage 9: a network learns to look back while it writes, and we see where it looks."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage


@dataclass(frozen=True)
class AttentionSettings(Settings):
    dataset: str = setting("world/summaries", "embedded name, Hub id, or local file or folder")
    document_column: str | None = setting(
        None, "column that holds the documents (texts, or lists of sentences)"
    )
    summary_column: str | None = setting(
        None, "column that holds the summaries (texts, or lists of equally right texts)"
    )
    tokens: Literal["words", "pieces"] = setting(
        "words", "whole words, or pieces of words for a large vocabulary"
    )
    vocab_size: int = setting(8000, "largest number of tokens in the vocabulary", minimum=50)
    max_source: int = setting(256, "tokens of a document that are read", minimum=4)
    max_target: int = setting(64, "tokens of a summary that are learned", minimum=4)
    cell: Literal["gru", "lstm", "rnn"] = setting("gru", "recurrent cell of encoder and decoder")
    hidden_size: int = setting(
        128, "units of the decoder, and of both directions of the encoder together", minimum=2
    )
    embedding_size: int = setting(64, "width of the token embeddings", minimum=1)
    num_hidden_layers: int = setting(1, "recurrent layers of the encoder, and of the decoder", minimum=1)
    dropout: float = setting(0.0, "dropout on embeddings and hidden states", minimum=0, maximum=0.9)
    hidden_words: float = setting(
        0.02, "share of the vocabulary hidden from each training pair", minimum=0, maximum=0.9
    )
    training: Recipe = group(
        Recipe(steps=250, batch_size=32, learning_rate=3e-3, weight_decay=0.01), "training of each model"
    )
    num_beams: int = setting(1, "beam width for writing the summaries; 1 is greedy", minimum=1, maximum=32)
    additive: bool = setting(False, "whether to train the model with additive attention as well")
    ablation: bool = setting(
        False, "whether to train the model with attention but without the copy mechanism as well"
    )
    seeds: int = setting(1, "number of seeds for each model; the numbers are their means", minimum=1)

    renamed: ClassVar[dict[str, str]] = {
        "max_steps": "training.steps",
        "batch_size": "training.batch_size",
        "learning_rate": "training.learning_rate",
    }

    @classmethod
    def full(cls) -> "AttentionSettings":
        return cls().updated(**{"training.steps": 600}, seeds=3, additive=True, ablation=True, num_beams=4)


STAGE = Stage(
    number=9,
    slug="attention",
    title="Attention",
    phase="Attention and transformers",
    summary="A network reads a report, sums it up in a sentence, and shows where it looked for each word.",
    model_type="llmpath-summarizer",
    auto_class="AutoModelForSeq2SeqLM",
    main="rougeL",
    concepts=(
        Concept("query", "hf_llmpath.models.layers_summarizer.SourceAttention.forward"),
        Concept("key and value", "hf_llmpath.models.layers_summarizer.SourceAttention.keys_and_values"),
        Concept(
            "scaled dot-product attention", "hf_llmpath.models.layers_attention.scaled_dot_product_attention"
        ),
        Concept("additive attention", "hf_llmpath.models.layers_attention.AdditiveAttention"),
        Concept("alignment", "hf_llmpath.stages.s09_attention.source_alignment.align"),
        Concept("attention entropy", "hf_llmpath.stages.s09_attention.source_alignment.attention_entropy"),
        Concept(
            "copy mechanism",
            "hf_llmpath.models.modeling_summarizer.LLMPathSummarizerForConditionalGeneration._with_copies",
        ),
        Concept("beam search", "hf_llmpath.stages.s09_attention.summary_training.summarize"),
    ),
    settings=AttentionSettings,
    package=__name__,
    prompt=(
        "Ada the teacher had been dreaming of a red kite. It cost ten coins, and Ada had a button. At the "
        "mill, where the wheel turned, Ada told Ben the shepherd about it. Ben worked at it for two days."
    ),
)
