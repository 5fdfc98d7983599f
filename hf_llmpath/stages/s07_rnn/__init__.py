"""Stage 7: a recurrent network reads a text character by character, and we look into its memory."""

from dataclasses import dataclass, replace

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class RNNSettings(Settings):
    text_column: str | None = setting(None, "column of a table that holds the text")
    hidden_size: int = setting(512, "units in the recurrent layer", minimum=1)
    embedding_size: int = setting(64, "width of the character embeddings", minimum=1)
    dropout: float = setting(0.0, "dropout on embeddings and hidden states", minimum=0, maximum=0.9)
    context: int = setting(
        64, "characters per window: how far back-propagation through time is truncated", minimum=2
    )
    batch_size: int = setting(32, "pieces of the text that are read side by side", minimum=1)
    max_steps: int = setting(900, "optimizer steps", minimum=1)
    learning_rate: float = setting(3e-3, "peak of the cosine schedule", minimum=0)
    max_grad_norm: float = setting(1.0, "gradients longer than this are scaled down", minimum=0)
    byte_fallback: bool = setting(False, "spell unknown characters in bytes (256 more tokens)")

    @classmethod
    def full(cls) -> "RNNSettings":
        return replace(cls(), hidden_size=640, max_steps=4000, dropout=0.1)


STAGE = Stage(
    number=7,
    slug="rnn",
    title="Recurrent neural networks",
    phase="Sequence models",
    summary="A network with a memory writes stories, and one of its units turns out to mean something.",
    model_type="llmpath-rnn",
    auto_class="AutoModelForCausalLM",
    main="bits_per_character",
    concepts=(
        Concept("hidden state", "hf_llmpath.models.layers_recurrence.rnn_step"),
        Concept("back-propagation through time", "hf_llmpath.models.ops_bptt.RNNThroughTime"),
        Concept("vanishing gradients through time", "hf_llmpath.training.probes.gradient_by_lag"),
        Concept("gradient clipping", "hf_llmpath.training.trainer.Recipe"),
        Concept("truncated back-propagation through time", "hf_llmpath.data.batches.streams.StreamWindows"),
        Concept("state kept through generate()", "hf_llmpath.models.layers_recurrence.RecurrentCache"),
    ),
    settings=RNNSettings,
    package=__name__,
)
