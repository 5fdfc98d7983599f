"""Stage 8: gates. What an RNN forgets, an LSTM and a GRU keep."""

from dataclasses import dataclass, replace

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class LSTMGRUSettings(Settings):
    text_column: str | None = setting(None, "column of a table that holds the text")
    parameters: int = setting(
        100_000, "size that the RNN, the GRU and the LSTM of the table all have", minimum=1000
    )
    embedding_size: int = setting(32, "width of the character embeddings", minimum=1)
    hidden_size: int | None = setting(None, "units of the main LSTM; the table's if none", minimum=1)
    initializer_range: float = setting(
        1.0, "embeddings of LSTM and GRU start between minus this and this", minimum=0
    )
    rnn_initializer_range: float = setting(0.1, "the same for the plain RNN, whose units saturate", minimum=0)
    dropout: float = setting(0.0, "dropout on embeddings and hidden states", minimum=0, maximum=0.9)
    context: int = setting(48, "characters per window", minimum=2)
    batch_size: int = setting(32, "pieces of the text that are read side by side", minimum=1)
    max_steps: int = setting(650, "optimizer steps of the table's LSTM", minimum=1)
    rnn_share: float = setting(
        1.6, "steps of the table's RNN for each of the LSTM: as many as take equal time", minimum=0
    )
    gru_share: float = setting(1.0, "the same for the GRU", minimum=0)
    main_steps: int = setting(
        1500, "optimizer steps of the main LSTM, where it differs from the table's", minimum=1
    )
    learning_rate: float = setting(1e-2, "peak of the cosine schedule of LSTM and GRU", minimum=0)
    rnn_learning_rate: float = setting(3e-3, "the same for the plain RNN, which bears less", minimum=0)
    byte_fallback: bool = setting(False, "spell unknown characters in bytes (256 more tokens)")
    adding_length: int = setting(100, "steps of the adding problem", minimum=4)
    adding_steps: int = setting(500, "most optimizer steps on the adding problem", minimum=1)
    adding_learning_rate: float = setting(1e-2, "step size of Adam on the adding problem", minimum=0)
    seeds: int = setting(1, "seeds of the table and of the adding problem", minimum=1)

    @classmethod
    def full(cls) -> "LSTMGRUSettings":
        return replace(
            cls(),
            parameters=250_000,
            context=64,
            hidden_size=512,
            embedding_size=128,
            initializer_range=0.1,
            dropout=0.2,
            batch_size=32,
            max_steps=600,
            main_steps=1150,
            learning_rate=4e-3,
            rnn_learning_rate=2e-3,
            adding_steps=1500,
            seeds=3,
        )


STAGE = Stage(
    number=8,
    slug="lstm-gru",
    title="Long short-term memory and gated recurrent units",
    phase="Sequence models",
    summary="Gates decide what to keep, and a memory of a hundred steps becomes possible.",
    model_type="llmpath-rnn",
    auto_class="AutoModelForCausalLM",
    main="adding/lstm/mean_squared_error",
    concepts=(
        Concept("gates (input, forget, output)", "hf_llmpath.models.layers_recurrence.lstm_step"),
        Concept("gates (reset, update)", "hf_llmpath.models.layers_recurrence.gru_step"),
        Concept("cell state", "hf_llmpath.models.ops_bptt.LSTMThroughTime"),
        Concept("long-term dependencies", "hf_llmpath.data.algorithmic.adding_problem"),
        Concept("gates over text", "hf_llmpath.training.probes.gates_of"),
    ),
    settings=LSTMGRUSettings,
    package=__name__,
)
