"""Stage 8: the gates of LSTM and GRU keep what a plain RNN forgets."""

from dataclasses import dataclass
from typing import ClassVar

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage


@dataclass(frozen=True)
class LSTMGRUSettings(Settings):
    text_column: str | None = setting(None, "column of a table that holds the text")
    parameters: int = setting(
        100_000, "number of weights that the RNN, the GRU, and the LSTM of the table each have", minimum=1000
    )
    embedding_size: int = setting(32, "width of the character embeddings", minimum=1)
    hidden_size: int | None = setting(
        None, "units of the main LSTM; if none, the LSTM of the table is the main one", minimum=1
    )
    initializer_range: float = setting(
        1.0, "embeddings of LSTM and GRU start between minus this and this", minimum=0
    )
    rnn_initializer_range: float = setting(
        0.1, "embeddings of the plain RNN, whose units saturate, start between minus this and this", minimum=0
    )
    dropout: float = setting(0.0, "dropout on embeddings and hidden states", minimum=0, maximum=0.9)
    context: int = setting(48, "characters per window", minimum=2)
    training: Recipe = group(
        Recipe(steps=650, batch_size=32, learning_rate=1e-2, weight_decay=0.01),
        "training of the LSTM of the table",
    )
    rnn_learning_rate: float = setting(
        3e-3, "peak learning rate of the plain RNN, which tolerates less", minimum=0
    )
    rnn_share: float = setting(
        1.6, "steps of the RNN for each step of the LSTM: as many as take equal time", minimum=0
    )
    gru_share: float = setting(
        1.0, "steps of the GRU for each step of the LSTM: as many as take equal time", minimum=0
    )
    main_steps: int = setting(
        1500, "optimizer steps of the main LSTM, where it is not the LSTM of the table", minimum=1
    )
    byte_fallback: bool = setting(False, "whether unknown characters are spelled in bytes (256 more tokens)")
    adding_length: int = setting(100, "numbers in a sequence of the adding problem", minimum=4)
    adding_steps: int = setting(500, "most optimizer steps on the adding problem", minimum=1)
    adding_learning_rate: float = setting(1e-2, "learning rate on the adding problem", minimum=0)
    seeds: int = setting(1, "number of seeds of the table and of the adding problem", minimum=1)

    renamed: ClassVar[dict[str, str]] = {
        "max_steps": "training.steps",
        "batch_size": "training.batch_size",
        "learning_rate": "training.learning_rate",
    }

    @classmethod
    def full(cls) -> "LSTMGRUSettings":
        return cls().updated(
            parameters=250_000,
            context=64,
            hidden_size=512,
            embedding_size=128,
            initializer_range=0.1,
            dropout=0.2,
            main_steps=1150,
            rnn_learning_rate=2e-3,
            adding_steps=1500,
            seeds=3,
            **{"training.steps": 600, "training.learning_rate": 4e-3},
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
