"""Stage 4: what goes wrong when a network gets deep, what mends it, and a network that reads handwritten
digits.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage

ACTIVATIONS = ("sigmoid", "tanh", "relu", "gelu")
INITIALIZATIONS = ("normal", "xavier", "he")
# The deep networks that are trained: name -> what differs. All have the same depth, width and steps.
DEEP = {
    "sigmoid_xavier": {"hidden_act": "sigmoid", "initialization": "xavier"},
    "relu_normal": {"hidden_act": "relu", "initialization": "normal"},
    "relu_he": {"hidden_act": "relu", "initialization": "he"},
    "relu_he_residual": {"hidden_act": "relu", "initialization": "he", "residual": True},
}


def shown(name: str) -> str:
    """A network's name for people: `relu_he_residual` -> `ReLU, He, residual`."""
    words = {"relu": "ReLU", "gelu": "GELU", "he": "He", "xavier": "Xavier", "normal": "normal 0.05"}
    return ", ".join(words.get(word, word) for word in name.split("_"))


@dataclass(frozen=True)
class DeepNetworksSettings(Settings):
    dataset: str = setting(
        "digits", "digits, a parquet file or folder, a folder of class folders, or a Hub id"
    )
    image_column: str | None = setting(None, "column of a table that holds the images")
    label_column: str | None = setting(None, "column of a table that holds the class")
    hidden_sizes: tuple[int, ...] = setting((512, 512), "units of the hidden layers", minimum=1)
    epochs: int = setting(40, "passes over the images", minimum=1)
    batch_size: int = setting(64, "images per step", minimum=2)
    learning_rate: float = setting(2e-3, "peak of the one-cycle schedule", minimum=0)
    weight_decay: float = setting(0.01, "weight decay of AdamW, on weight matrices alone", minimum=0)
    dropout: float = setting(0.2, "dropout on hidden units", minimum=0, maximum=0.95)
    input_dropout: float = setting(0.2, "dropout on pixels", minimum=0, maximum=0.95)
    accumulation: int = setting(1, "pieces in which a batch goes through the model", minimum=1)
    mixed_precision: Literal["no", "bf16"] = setting("no", "bf16: matrix products in 16 bits")
    seeds: int = setting(1, "seeds of the network", minimum=1)
    numpy_hidden_sizes: tuple[int, ...] = setting((128,), "hidden layers of the NumPy network", minimum=1)
    numpy_epochs: int = setting(30, "passes of the NumPy network", minimum=1)
    numpy_batch_size: int = setting(64, "its images per step", minimum=1)
    numpy_learning_rate: float = setting(1e-3, "its rate (Adam)", minimum=0)
    depth: int = setting(20, "hidden layers of the deep networks", minimum=2)
    width: int = setting(64, "units in each of their layers", minimum=1)
    deep_epochs: int = setting(15, "passes over the images in their training", minimum=1)
    deep_learning_rate: float = setting(1e-3, "peak rate of their training", minimum=0)

    @classmethod
    def full(cls) -> "DeepNetworksSettings":
        return replace(
            cls(),
            hidden_sizes=(800, 800),
            epochs=12,
            dropout=0.3,
            input_dropout=0.1,
            batch_size=256,
            seeds=3,
            numpy_hidden_sizes=(256,),
            numpy_epochs=10,
            numpy_batch_size=128,
            deep_epochs=3,
        )


STAGE = Stage(
    number=4,
    slug="deep-networks",
    title="Understanding deep neural networks",
    phase="Introduction to deep learning",
    summary="Twenty layers that learn nothing, two small changes that mend them, and a network that reads your digits.",
    model_type="llmpath-mlp",
    auto_class="AutoModelForImageClassification",
    main="accuracy",
    concepts=(
        Concept("deep architecture", "hf_llmpath.models.modeling_mlp.MLPLayer"),
        Concept(
            "vanishing and exploding gradients", "hf_llmpath.stages.s04_deep_networks.depth.gradient_norms"
        ),
        Concept("ReLU", "hf_llmpath.scratch.activations.ReLU"),
        Concept("initialization", "hf_llmpath.models.modeling_mlp.LLMPathMLPPreTrainedModel"),
        Concept("residual connection", "hf_llmpath.models.configuration_mlp.LLMPathMLPConfig"),
        Concept("a training loop with Accelerate", "hf_llmpath.training.accelerate_loop.Training"),
    ),
    settings=DeepNetworksSettings,
    package=__name__,
)
