"""Stage 10: the Transformer. An encoder-decoder learns to rewrite, and an encoder learns to read reviews."""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
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
    intermediate_size: int = setting(128, "inner width of its feed-forward layers", minimum=1)
    num_encoder_layers: int = setting(2, "layers of its encoder", minimum=1)
    num_decoder_layers: int = setting(2, "layers of its decoder", minimum=1)
    num_attention_heads: int = setting(4, "heads of every attention", minimum=1)
    position_embedding_type: Literal["sinusoidal", "learned", "rotary"] = setting(
        "rotary", "how it knows positions"
    )
    norm_first: bool = setting(True, "layer norm before each sublayer (pre-norm), or after it (post-norm)")
    examples: int = setting(10_000, "training examples of each toy task", minimum=10)
    max_steps: int = setting(380, "optimizer steps of the encoder-decoder", minimum=1)
    batch_size: int = setting(64, "examples per step", minimum=1)
    learning_rate: float = setting(4e-3, "peak of the cosine schedule", minimum=0)
    comparisons: tuple[Literal["sinusoidal", "learned", "rotary", "post-norm"], ...] = setting(
        (), "variants of the encoder-decoder that are trained beside it"
    )
    reader_hidden_size: int = setting(64, "width of the encoder that reads reviews", minimum=4)
    reader_layers: int = setting(2, "its layers", minimum=1)
    reader_steps: int = setting(580, "its optimizer steps", minimum=1)
    reader_batch_size: int = setting(64, "texts per step", minimum=1)
    reader_learning_rate: float = setting(4e-3, "peak of its cosine schedule", minimum=0)
    reader_dropout: float = setting(0.0, "its dropout", minimum=0, maximum=0.9)
    vocab_size: int = setting(10_000, "most words of its vocabulary", minimum=10)
    context: int = setting(64, "tokens of the longest text that it reads", minimum=8)
    seeds: int = setting(1, "seeds of both, the mean of which is reported", minimum=1)

    @classmethod
    def full(cls) -> "TransformerSettings":
        return replace(
            cls(),
            tasks=("reverse", "sort", "date"),
            examples=20_000,
            max_steps=2500,
            batch_size=96,
            comparisons=("sinusoidal", "learned", "post-norm"),
            reader_steps=1000,
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
