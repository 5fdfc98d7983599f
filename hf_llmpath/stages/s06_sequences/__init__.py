"""Stage 6: one kind of cell predicts the next character of a text and the next value of a time series."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage


@dataclass(frozen=True)
class SequencesSettings(Settings):
    text_column: str | None = setting(None, "column of a table that holds the text")
    sample_by: Literal["document", "line"] = setting(
        "document", "what a text is in a .txt file: all of it, or each line"
    )
    cell: Literal["rnn", "lstm", "gru"] = setting("gru", "recurrent cell of the language model")
    hidden_size: int = setting(256, "units in the recurrent layer", minimum=1)
    embedding_size: int = setting(32, "width of the character embeddings", minimum=1)
    initializer_range: float = setting(1.0, "embeddings start between minus this and this", minimum=0)
    dropout: float = setting(0.0, "dropout on embeddings and hidden states", minimum=0, maximum=0.9)
    context: int = setting(64, "characters per window", minimum=2)
    training: Recipe = group(
        Recipe(steps=600, batch_size=32, learning_rate=4e-3, weight_decay=0.01),
        "training of the language model",
    )
    seeds: int = setting(1, "number of seeds; the numbers are their means", minimum=1)
    byte_fallback: bool = setting(False, "whether unknown characters are spelled in bytes (256 more tokens)")
    series: tuple[str, ...] = setting(
        (), "CSV files of time series, as PATH:PERIOD; the embedded series if none are given"
    )

    renamed: ClassVar[dict[str, str]] = {
        "max_steps": "training.steps",
        "batch_size": "training.batch_size",
        "learning_rate": "training.learning_rate",
        "weight_decay": "training.weight_decay",
    }

    @classmethod
    def full(cls) -> "SequencesSettings":
        recipe = {"steps": 6000, "batch_size": 128, "learning_rate": 6e-3, "weight_decay": 0.1}
        return cls().updated(
            sample_by="line",
            hidden_size=144,
            embedding_size=24,
            initializer_range=0.1,
            dropout=0.2,
            seeds=3,
            **{f"training.{name}": value for name, value in recipe.items()},
        )


STAGE = Stage(
    number=6,
    slug="sequences",
    title="Understanding sequential data",
    phase="Sequence models",
    summary="One cell reads characters and months alike, and predicts the next one.",
    model_type="llmpath-rnn",
    auto_class="AutoModelForCausalLM",
    main="bits_per_character",
    concepts=(
        Concept("time series", "hf_llmpath.stages.s06_sequences.series.Series"),
        Concept("sequential dependency", "hf_llmpath.training.baselines.ngram_loss"),
        Concept("one-hot encoding", "hf_llmpath.training.probes.one_hot"),
        Concept("character tokenizer", "hf_llmpath.data.tokenizers.characters.train_character_tokenizer"),
        Concept("next-step prediction", "hf_llmpath.models.modeling_rnn.LLMPathRNNForCausalLM"),
        Concept("temperature", "hf_llmpath.training.probes.next_characters"),
        Concept("next-value forecast", "hf_llmpath.models.modeling_rnn.LLMPathRNNForTimeSeriesPrediction"),
    ),
    settings=SequencesSettings,
    package=__name__,
)
