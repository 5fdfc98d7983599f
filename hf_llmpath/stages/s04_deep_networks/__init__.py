"""Stage 4: why deep networks fail to learn, what fixes them, and a network that reads digits."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ...settings import Settings, group, setting
from ...training.recipe import EpochRecipe
from ..stage import Concept, Stage

ACTIVATIONS = ("sigmoid", "tanh", "relu", "gelu")
INITIALIZATIONS = ("normal", "xavier", "he")
# The deep networks to train: name -> the settings that differ. Depth, width, and steps are the same.
DEEP = {
    "sigmoid_xavier": {"hidden_act": "sigmoid", "initialization": "xavier"},
    "relu_normal": {"hidden_act": "relu", "initialization": "normal"},
    "relu_he": {"hidden_act": "relu", "initialization": "he"},
    "relu_he_residual": {"hidden_act": "relu", "initialization": "he", "residual": True},
}


def shown(name: str) -> str:
    """Returns a network's name for pages: `relu_he_residual` -> `ReLU, He, residual`."""
    words = {"relu": "ReLU", "gelu": "GELU", "he": "He", "xavier": "Xavier", "normal": "normal 0.05"}
    return ", ".join(words.get(word, word) for word in name.split("_"))


@dataclass(frozen=True)
class DeepNetworksSettings(Settings):
    dataset: str = setting(
        "digits", "digits, a parquet file or folder, a folder of class folders, or a Hub id"
    )
    image_column: str | None = setting(None, "column of the table that holds the images")
    label_column: str | None = setting(None, "column of the table that holds the class")
    seeds: int = setting(1, "seeds of the digit reader", minimum=1)
    training: EpochRecipe = group(EpochRecipe(40, 64, 2e-3), "digit reader")
    hidden_sizes: tuple[int, ...] = setting((512, 512), "hidden layers of the digit reader", minimum=1)
    weight_decay: float = setting(0.01, "weight decay of AdamW, on weight matrices only", minimum=0)
    dropout: float = setting(0.2, "dropout on hidden units", minimum=0, maximum=0.95)
    input_dropout: float = setting(0.2, "dropout on pixels", minimum=0, maximum=0.95)
    accumulation: int = setting(1, "pieces of a batch whose gradients are summed for a step", minimum=1)
    mixed_precision: Literal["no", "bf16"] = setting("no", "bf16 computes matrix products in 16 bits")
    numpy: EpochRecipe = group(EpochRecipe(30, 64, 1e-3), "NumPy network, trained by Adam")
    numpy_hidden_sizes: tuple[int, ...] = setting((128,), "hidden layers of the NumPy network", minimum=1)
    deep: EpochRecipe = group(EpochRecipe(15, 64, 1e-3), "deep networks")
    depth: int = setting(20, "hidden layers of the deep networks", minimum=2)
    width: int = setting(64, "units in each layer of the deep networks", minimum=1)

    renamed: ClassVar[dict[str, str]] = {
        "epochs": "training.epochs",
        "batch_size": "training.batch_size",
        "learning_rate": "training.learning_rate",
        "numpy_epochs": "numpy.epochs",
        "numpy_batch_size": "numpy.batch_size",
        "numpy_learning_rate": "numpy.learning_rate",
        "deep_epochs": "deep.epochs",
        "deep_learning_rate": "deep.learning_rate",
    }

    @classmethod
    def full(cls) -> "DeepNetworksSettings":
        return replace(
            cls(),
            seeds=3,
            training=EpochRecipe(12, 256, 2e-3),
            hidden_sizes=(800, 800),
            dropout=0.3,
            input_dropout=0.1,
            numpy=EpochRecipe(10, 128, 1e-3),
            numpy_hidden_sizes=(256,),
            deep=EpochRecipe(3, 256, 1e-3),
        )


STAGE = Stage(
    number=4,
    slug="deep-networks",
    title="Understanding deep neural networks",
    phase="Introduction to deep learning",
    summary="Twenty layers that learn nothing, two small changes that fix them, and a reader of your digits.",
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
        Concept("a training loop with Accelerate", "hf_llmpath.training.accelerate_loop.AcceleratedTraining"),
    ),
    settings=DeepNetworksSettings,
    package=__name__,
)
