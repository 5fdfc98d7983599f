"""Stage 1: networks of a few neurons learn XOR, which one neuron cannot, and moons, circles, and spirals."""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class NeuralNetworkSettings(Settings):
    dataset: str = setting("xor", "xor, moons, circles, spirals, or a table with columns x1, x2, and label")
    x1_column: str | None = setting(None, "column of the table that holds the first coordinate")
    x2_column: str | None = setting(None, "column of the table that holds the second coordinate")
    label_column: str | None = setting(None, "column of the table that holds the class")
    hidden_size: int = setting(64, "units of the hidden layer", minimum=1)
    activation: Literal["sigmoid", "tanh", "relu", "gelu"] = setting("relu", "activation of the hidden layer")
    learning_rate: float = setting(0.3, "learning rate of gradient descent", minimum=0)
    epochs: int = setting(500, "passes over the training points", minimum=1)
    batch_size: int = setting(32, "points per step", minimum=1)
    points: int = setting(500, "number of training points, and of test points", minimum=8)
    noise: float = setting(0.03, "standard deviation of the noise on the points", minimum=0, maximum=10)
    xor_hidden_size: int = setting(8, "units of the hidden layer for XOR", minimum=1)
    xor_epochs: int = setting(300, "steps on the four points of XOR", minimum=1)
    xor_seeds: int = setting(20, "networks that try XOR, each with other initial weights", minimum=1)
    seeds: int = setting(1, "seeds in the table of activations; 1 leaves the table out", minimum=1)

    @classmethod
    def full(cls) -> "NeuralNetworkSettings":
        return replace(cls(), seeds=3)


STAGE = Stage(
    number=1,
    slug="neural-network",
    title="Introduction to neural networks",
    phase="Foundations of neural networks",
    summary="One neuron cannot learn XOR, but a hidden layer can: watch where each unit draws its line.",
    model_type="llmpath-mlp",
    auto_class="AutoModelForImageClassification",
    main="accuracy",
    concepts=(
        Concept("neuron", "hf_llmpath.scratch.layers.Dense"),
        Concept("layer", "hf_llmpath.scratch.layers.Layer"),
        Concept("sigmoid", "hf_llmpath.scratch.activations.Sigmoid"),
        Concept("tanh", "hf_llmpath.scratch.activations.Tanh"),
        Concept("ReLU", "hf_llmpath.scratch.activations.ReLU"),
        Concept("GELU", "hf_llmpath.scratch.activations.GELU"),
        Concept("softmax", "hf_llmpath.scratch.activations.Softmax"),
        Concept("forward propagation", "hf_llmpath.scratch.network.Network"),
        Concept("mean squared error", "hf_llmpath.scratch.losses.MeanSquaredError"),
        Concept("binary cross-entropy", "hf_llmpath.scratch.losses.BinaryCrossEntropy"),
        Concept("categorical cross-entropy", "hf_llmpath.scratch.losses.CategoricalCrossEntropy"),
    ),
    settings=NeuralNetworkSettings,
    package=__name__,
)
