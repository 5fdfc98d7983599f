"""Stage 7: a recurrent network reads a text character by character, and we look into its memory."""

from dataclasses import dataclass
from typing import ClassVar

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
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
    training: Recipe = group(
        Recipe(steps=900, batch_size=32, learning_rate=3e-3, weight_decay=0.01),
        "training of the language model",
    )
    byte_fallback: bool = setting(False, "whether unknown characters are spelled in bytes (256 more tokens)")

    renamed: ClassVar[dict[str, str]] = {
        "max_steps": "training.steps",
        "batch_size": "training.batch_size",
        "learning_rate": "training.learning_rate",
        "max_grad_norm": "training.max_grad_norm",
    }

    @classmethod
    def full(cls) -> "RNNSettings":
        return cls().updated(hidden_size=640, dropout=0.1, **{"training.steps": 4000})


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
        Concept("gradient clipping", "hf_llmpath.training.recipe.Recipe"),
        Concept("truncated back-propagation through time", "hf_llmpath.data.batches.streams.StreamWindows"),
        Concept("state kept through generate()", "hf_llmpath.models.layers_recurrence.RecurrentCache"),
    ),
    settings=RNNSettings,
    package=__name__,
)
