"""Stage 2: gradients are derived by hand and checked, and gradient descent unrolls two spirals."""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class BackpropagationSettings(Settings):
    dataset: str = setting(
        "spirals", "xor, moons, circles, spirals, or a table with columns x1, x2, and label"
    )
    x1_column: str | None = setting(None, "column of the table that holds the first coordinate")
    x2_column: str | None = setting(None, "column of the table that holds the second coordinate")
    label_column: str | None = setting(None, "column of the table that holds the class")
    hidden_sizes: tuple[int, ...] = setting((32, 32), "units of each hidden layer", minimum=1)
    activation: Literal["sigmoid", "tanh", "relu", "gelu"] = setting("relu", "activation of hidden layers")
    learning_rate: float = setting(0.1, "learning rate of gradient descent", minimum=0)
    epochs: int = setting(500, "passes over the training points", minimum=1)
    batch_size: int = setting(32, "points per step", minimum=1)
    points: int = setting(500, "number of training points, and of test points", minimum=8)
    noise: float = setting(0.02, "standard deviation of the noise on the points", minimum=0, maximum=10)
    rates: tuple[float, ...] = setting(
        (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0), "learning rates that are compared", minimum=0
    )
    sweep_epochs: int = setting(60, "epochs of each learning rate that is compared", minimum=1)
    seeds: int = setting(1, "seeds of the classifier", minimum=1)

    @classmethod
    def full(cls) -> "BackpropagationSettings":
        return replace(cls(), seeds=5, sweep_epochs=200, epochs=1000)


STAGE = Stage(
    number=2,
    slug="backpropagation",
    title="Backpropagation and gradient descent",
    phase="Foundations of neural networks",
    summary="Every gradient is worked out by hand and checked; then small steps downhill unroll two spirals.",
    model_type="llmpath-mlp",
    auto_class="AutoModelForImageClassification",
    main="accuracy",
    concepts=(
        Concept("chain rule", "hf_llmpath.stages.s02_backpropagation.computation_graph.Value"),
        Concept("backpropagation", "hf_llmpath.scratch.network.Network"),
        Concept("gradients", "hf_llmpath.stages.s02_backpropagation.gradient_check.check_gradients"),
        Concept("gradient descent", "hf_llmpath.scratch.optimizers.SGD"),
        Concept("learning rate", "hf_llmpath.training.numpy_loop.fit_numpy"),
    ),
    settings=BackpropagationSettings,
    package=__name__,
)
