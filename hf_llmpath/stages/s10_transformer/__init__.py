"""Stage 10: a Transformer encoder-decoder learns to rewrite, and an encoder learns to read reviews."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage


@dataclass(frozen=True)
class TransformerSettings(Settings):
    dataset: str = setting("world/reviews", "labeled texts: embedded name, Hub id, or local file or folder")
    text_column: str | None = setting(None, "column of a table that holds the text")
    label_column: str | None = setting(None, "column of a table that holds the class")
    tasks: tuple[Literal["reverse", "sort", "date"], ...] = setting(
        ("date",), "toy tasks of the encoder-decoder"
    )
    hidden_size: int = setting(64, "width of the encoder-decoder", minimum=4)
    intermediate_size: int = setting(
        128, "inner width of the feed-forward layers of the encoder-decoder", minimum=1
    )
    num_encoder_layers: int = setting(2, "layers of the encoder of the encoder-decoder", minimum=1)
    num_decoder_layers: int = setting(2, "layers of the decoder of the encoder-decoder", minimum=1)
    num_attention_heads: int = setting(4, "heads of every attention", minimum=1)
    position_embedding_type: Literal["sinusoidal", "learned", "rotary"] = setting(
        "rotary", "how both models know positions"
    )
    norm_first: bool = setting(True, "layer norm before each sublayer (pre-norm), or after it (post-norm)")
    examples: int = setting(10_000, "training examples of each toy task", minimum=10)
    rewriting: Recipe = group(
        Recipe(steps=380, batch_size=64, learning_rate=4e-3), "training of the encoder-decoder"
    )
    comparisons: tuple[Literal["sinusoidal", "learned", "rotary", "post-norm"], ...] = setting(
        (), "variants of the encoder-decoder that are trained for comparison"
    )
    reader_hidden_size: int = setting(64, "width of the encoder that reads reviews", minimum=4)
    reader_layers: int = setting(2, "layers of the encoder that reads reviews", minimum=1)
    reader_dropout: float = setting(0.0, "dropout of the encoder that reads reviews", minimum=0, maximum=0.9)
    reading: Recipe = group(
        Recipe(steps=580, batch_size=64, learning_rate=4e-3, weight_decay=0.01),
        "training of the encoder that reads reviews",
    )
    vocab_size: int = setting(10_000, "largest number of words in the vocabulary of the reviews", minimum=10)
    context: int = setting(64, "tokens of the longest review that is read", minimum=8)
    seeds: int = setting(1, "number of seeds for each model; the numbers are their means", minimum=1)

    renamed: ClassVar[dict[str, str]] = {
        "max_steps": "rewriting.steps",
        "batch_size": "rewriting.batch_size",
        "learning_rate": "rewriting.learning_rate",
        "reader_steps": "reading.steps",
        "reader_batch_size": "reading.batch_size",
        "reader_learning_rate": "reading.learning_rate",
    }

    @classmethod
    def full(cls) -> "TransformerSettings":
        return cls().updated(
            tasks=("reverse", "sort", "date"),
            examples=20_000,
            comparisons=("sinusoidal", "learned", "post-norm"),
            **{"rewriting.steps": 2500, "rewriting.batch_size": 96, "reading.steps": 1000},
        )


STAGE = Stage(
    number=10,
    slug="transformer",
    title="Transformers",
    phase="Attention and transformers",
    summary="Attention alone reads, rewrites dates letter by letter, and understands that “not bad” is good.",
    model_type="llmpath-transformer",
    auto_class="AutoModelForSeq2SeqLM",
    main="accuracy",
    concepts=(
        Concept("encoder–decoder", "hf_llmpath.models.modeling_transformer.LLMPathTransformerModel"),
        Concept("multi-head attention", "hf_llmpath.models.layers_attention.MultiHeadAttention"),
        Concept("sinusoidal positions", "hf_llmpath.models.layers_positions.sinusoidal_positions"),
        Concept("learned positions", "hf_llmpath.models.layers_positions.LearnedPositions"),
        Concept("rotary positions", "hf_llmpath.models.layers_positions.RotaryPositions"),
        Concept(
            "residual stream and layer norm, pre and post", "hf_llmpath.models.layers_transformer.Residual"
        ),
        Concept("feed-forward layer", "hf_llmpath.models.layers_transformer.FeedForward"),
        Concept("causal mask", "hf_llmpath.models.layers_attention.causal_mask"),
        Concept(
            "teacher forcing",
            "hf_llmpath.models.modeling_transformer.LLMPathTransformerForConditionalGeneration",
        ),
        Concept("attention rollout", "hf_llmpath.training.attention_probes.attention_rollout"),
    ),
    settings=TransformerSettings,
    package=__name__,
)
